# Between two rounds: on at once, a little later, or asleep while nothing comes in.
#
# A worker that looks at the rings all the time finds frames one by one, pays for a call of the kernel for each, and
# takes the line of the next slot away from the processor that is about to write there.  So while frames come one upon
# the other it waits after a small round until some more have gathered.  It sleeps only when nothing has come for a
# while: to wake it costs whoever sends, and where processors are busy it may wait long for its turn.

from libc.stdint cimport uint32_t, uint64_t

from native.account cimport is_behind
from native.engine cimport Work
from native.forward cimport monotonic
from native.port cimport IO_CLOSED, IO_LINK, IO_MEMORY, TICK_MS, IoPort
from native.port_link cimport link_clear_error
from native.record cimport NO_PORT
from native.ring cimport fall_asleep, has_been_handed, wake_up
from native.turn cimport Turn, turn_enter, turn_leave

cdef extern from "poll.h" nogil:
    struct pollfd:
        int fd
        short events
        short revents
    int POLLIN
    int POLLERR
    int POLLHUP
    int poll(pollfd *fds, unsigned long count, int timeout)

cdef extern from "unistd.h" nogil:
    ssize_t c_read "read"(int fd, void *buffer, size_t size)

cdef extern from *:
    """
    /* Leaves the processor's units to its other thread, if it has one. */
    static inline void t1_relax(void) {
    #if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
    #elif defined(__aarch64__)
        __asm__ volatile("yield");
    #endif
    }
    """
    void relax "t1_relax"() noexcept nogil

cdef enum:
    WATCHED = 512               # ports beyond these are looked at once a tick
    ENOUGH = 64                 # frames of a round that is not waited after
    GATHER_NS = 5_000           # that a round of fewer frames is waited after, where
    CLOSE_NS = 10_000           # the latest frames came no longer ago: a single one, as of a ping, waits for nobody
    LINGER_NS = 50_000          # without a frame before the worker sleeps


cdef inline void between_rounds(Work *work, Turn *turn, uint32_t frames, uint64_t *heard) noexcept nogil:
    # After a round of so many frames; `heard` is when the latest ones came.
    cdef uint64_t now = monotonic()
    if frames:
        if frames < ENOUGH and now - heard[0] < CLOSE_NS:
            gather(now + GATHER_NS)
        heard[0] = now
    elif now - heard[0] >= LINGER_NS and not is_behind(work.state):
        rest(work, turn)


cdef inline void gather(uint64_t until) noexcept nogil:
    while monotonic() < until:
        relax()


cdef inline void rest(Work *work, Turn *turn) noexcept nogil:
    # Until a port has something, somebody calls, or for a tick.
    cdef pollfd watched[1 + WATCHED]
    cdef uint32_t slots[1 + WATCHED]
    cdef uint32_t count = 1
    cdef uint32_t i
    cdef uint64_t calls
    cdef IoPort *port
    watched[0].fd = work.table.wake_fd
    watched[0].events = <short>POLLIN
    for i in range(work.table.count):
        port = &work.table.ports[i]
        if port.kind == IO_CLOSED or port.kind == IO_MEMORY or port.failed or port.silent or port.number == NO_PORT:
            continue
        if count > WATCHED:
            break
        watched[count].fd = port.fd
        watched[count].events = <short>POLLIN
        slots[count] = i
        count += 1
    if work.hands != NULL:
        fall_asleep(&work.hands.sleepers[work.hands.worker].asleep)
        if has_been_handed(work.hands):
            wake_up(&work.hands.sleepers[work.hands.worker].asleep)
            return
    turn_leave(turn)
    poll(watched, count, TICK_MS)
    turn_enter(turn)
    if work.hands != NULL:
        wake_up(&work.hands.sleepers[work.hands.worker].asleep)
    if watched[0].revents:
        c_read(work.table.wake_fd, &calls, sizeof(calls))
    for i in range(1, count):
        port = &work.table.ports[slots[i]]
        if watched[i].revents & (POLLERR | POLLHUP) and port.fd == watched[i].fd:
            note_trouble(port, watched[i].revents)


cdef inline void note_trouble(IoPort *port, int events) noexcept nogil:
    # A link that goes down says so once and goes on when it comes up.  Anything else does not come back by itself.
    if port.kind == IO_LINK:
        link_clear_error(port.fd)
    else:
        port.failed = True
