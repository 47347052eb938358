# Sleep, while nothing comes in: the engine is free meanwhile.

from libc.stdint cimport uint32_t, uint64_t

from native.engine cimport Work
from native.port cimport IO_CLOSED, IO_LINK, IO_MEMORY, TICK_MS, IoPort
from native.port_link cimport link_clear_error
from native.record cimport NO_PORT
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

cdef enum:
    WATCHED = 512               # ports beyond these are looked at once a tick


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
        if port.kind == IO_CLOSED or port.kind == IO_MEMORY or port.failed or port.number == NO_PORT:
            continue
        if count > WATCHED:
            break
        watched[count].fd = port.fd
        watched[count].events = <short>POLLIN
        slots[count] = i
        count += 1
    turn_leave(turn)
    poll(watched, count, TICK_MS)
    turn_enter(turn)
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
