"""Several workers: engines that have their sessions each to itself, and pass on what belongs to another."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from native.account cimport expire, look_at_one, looks_in
from native.engine cimport BURST, Engine, Result, State
from native.fragment cimport set_pieces
from native.owner cimport owner_of
from native.packet cimport K_ICMP_ERROR, PARSED, Packet, parse
from native.pipeline cimport pipeline
from native.program cimport ProgramData, side_of
from native.record cimport Recorder
from native.ring cimport RING_SLOTS, Handed, Ring, acquire, ring_done, ring_look, ring_publish, ring_put
from native.session cimport (
    FIRST_DUE, NONE, WAVE, flow_of, is_over, next_look, prefetch_bucket, prefetch_session, set_hash, sooner,
)
from native.shared cimport Shared, shared_add32, shared_load
from native.stats cimport V_ALLOW, V_HELD
from native.steer cimport Steerer
from native.team cimport BUFFERS
from native.traffic cimport count_received, count_sent
from native.view cimport step_tuple
from native.wire cimport likely, prefetch, unlikely

cdef enum:
    FRAME_ROOM = 2048           # of a frame in a burst that is measured

cdef extern from *:
    """
    #include <time.h>
    static inline uint64_t t1_thread_time(void) {
        struct timespec t;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    static inline void t1_nap(void) {
        struct timespec t = {0, 20000};
        nanosleep(&t, NULL);
    }
    """
    uint64_t thread_time "t1_thread_time"() noexcept nogil
    void nap "t1_nap"() noexcept nogil


assert BUFFERS * BURST <= RING_SLOTS, "a burst that is handed over has room in every ring"


cdef class Team:
    """``engines``, new ones that run the same program, as the workers that ``steerer`` knows.

    They share what limits are about, and hand over what belongs to another.  None of them may get another program, nor
    room for more external addresses.  Raises ValueError for engines of another number or with sessions, MemoryError.
    """

    def __cinit__(self, list engines not None, Steerer steerer not None):
        cdef Engine engine
        cdef Engine first
        cdef uint32_t worker
        if steerer.workers != len(engines) or len(set(map(id, engines))) != len(engines):
            raise ValueError(f"{len(engines)} engines are not {steerer.workers} workers")
        first = engines[0]
        for engine in engines:
            engine._idle()
            if engine.state.totals.created or engine.team is not None:
                raise ValueError("only a new engine can become a worker")
            if (engine.state.usage_count != first.state.usage_count or engine.state.slot_count != first.state.slot_count
                    or engine.state.port_count != first.state.port_count):
                raise ValueError("the workers of one edge have room for the same rules, addresses and ports")
        self.engines = engines
        self.steerer = steerer
        self.workers = <uint32_t>len(engines)
        self.shared = <Shared *>calloc(1, sizeof(Shared))
        self.rings = <Ring *>calloc(<size_t>self.workers * self.workers, sizeof(Ring))
        if self.shared == NULL or self.rings == NULL:
            raise MemoryError("no memory for workers")
        self.shared.steering = &steerer.data
        self.shared.limits = first.state.limits
        self.random = first.state.random
        self.looks = first.state.looks
        self.looks_each = first.state.looks_each
        self.looks_most = first.state.looks_most
        for worker in range(self.workers):
            engine = engines[worker]
            engine.team = self
            engine.state.shared = self.shared
            engine.state.fragments.all_units = &self.shared.fragments
            engine.state.expectations.all = &self.shared.expected
            engine.state.worker = worker
            if worker:
                engine.state.random += worker * 0xA0761D6478BD642FULL
                free(engine.state.usage)
                free(engine.state.exhausted)
                engine.state.usage = first.state.usage
                engine.state.exhausted = first.state.exhausted

    def __dealloc__(self):
        free(self.shared)
        free(self.rings)

    cdef Ring *ring(self, uint32_t giver, uint32_t taker) noexcept nogil:
        return &self.rings[giver * self.workers + taker]

    def set_pace(self, uint32_t each, uint32_t most) -> None:
        """As that of an engine."""
        self.looks_each = each
        self.looks_most = most
        self.looks = most

    @property
    def peak(self) -> int:
        """The most sessions that all workers together have had at once."""
        return shared_load(&self.shared.peak)

    cdef Engine _come_to(self, uint32_t owner, uint64_t now_ns):
        # A worker at a time, when all have let go of what is due: the one that draws next of what is drawn at random.
        cdef Engine engine
        for engine in self.engines:
            engine._idle()
            if now_ns > engine.state.now:
                engine.state.now = now_ns
        self._clear_up()
        for engine in self.engines:
            engine.state.paced_elsewhere = True
            expire(&engine.state)
        engine = self.engines[owner]
        engine.state.random = self.random
        return engine

    cdef int _clear_up(self) except -1:
        # What a single engine does with sessions whose time is over, in the order in which it does it.
        cdef Engine engine
        cdef Engine next
        cdef uint64_t now = (<Engine>self.engines[0]).state.now
        self.looks = <uint32_t>min(
            <uint64_t>self.looks + self.looks_each + looks_in(self.looked, now), <uint64_t>self.looks_most)
        self.looked = now
        while True:
            next = self.engines[0]
            for engine in self.engines:
                if engine.state.table.last_due >= FIRST_DUE and (
                        next.state.table.last_due < FIRST_DUE
                        or sooner(&engine.state.table.due[FIRST_DUE], &next.state.table.due[FIRST_DUE])):
                    next = engine
            if next_look(&next.state.table) > next.state.now:
                self.looks = self.looks_most
            if self.looks == 0 or next_look(&next.state.table) > next.state.now:
                return 0
            self.looks -= 1
            look_at_one(&next.state)

    def map_reply(self, uint16_t port, bytes frame not None, uint64_t now_ns):
        """As that of an engine."""
        return self._come_to(self.steerer.owner(frame, True), now_ns).map_reply(port, frame, now_ns)

    def process(self, uint16_t port, bytes frame not None, uint64_t now_ns, bint unsegmented=False,
                bint map_replies=False, fragmentation=None):
        """One frame, by its worker: that one's number, and what :meth:`native.engine.Engine.process` tells.

        What a single engine draws at random is drawn in the same order here, so that with the seed of the first engine
        it would do the same.
        """
        cdef uint32_t owner = self.steerer.owner(frame, unsegmented)
        cdef Engine engine = self._come_to(owner, now_ns)
        cdef Engine other
        cdef Packet *packet = &engine.packets[0]
        cdef Recorder recorder
        cdef Result result
        cdef const ProgramData *program = &engine.program.data
        engine._load(frame, now_ns)
        engine._port(port)
        recorder.count = 0
        recorder.kind = 0
        parse(packet, engine.arena, <uint32_t>len(frame), side_of(program, port), unsegmented)
        set_hash(&engine.state.table, packet)
        if fragmentation is not None and packet.error == PARSED:
            engine._came_in(packet, fragmentation)
        count_received(&engine.state, port, packet, <uint32_t>len(frame))
        pipeline(&engine.state, program, packet, port, map_replies, engine.answers, &result, &recorder)
        if result.passed_on:
            owner = owner_of(&self.steerer.data, packet)
            other = self.engines[owner]
            other.state.random = engine.state.random
            set_pieces(&other.state.fragments, packet, &engine.state.fragments.came)
            set_hash(&other.state.table, packet)
            engine = other
            pipeline(&engine.state, program, packet, port, map_replies, engine.answers, &result, &recorder)
        count_sent(&engine.state, &result, engine._room(&result))
        self.random = engine.state.random
        steps = [step_tuple(&recorder.steps[i]) for i in range(recorder.count)]
        return owner, (result.verdict, result.reason, steps, engine._output(&result))

    # -------------------------------------------------------------- measuring

    def lane(self, uint32_t worker) -> Lane:
        """A worker that :meth:`Lane.time_bursts` runs.  Raises ValueError where there is none, MemoryError."""
        if worker >= self.workers:
            raise ValueError(f"there is no worker {worker}")
        return Lane(self, worker)


cdef class Lane:
    """One worker of a team; each runs in a thread of its own."""

    def __cinit__(self, Team team not None, uint32_t worker):
        self.team = team
        self.engine = team.engines[worker]
        self.worker = worker
        self.items = <Handed *>calloc(2 * BURST, sizeof(Handed))
        self.arenas = <uint8_t *>malloc(<size_t>BUFFERS * BURST * FRAME_ROOM)
        self.marks = <uint64_t *>calloc(<size_t>BUFFERS * team.workers, 8)
        if self.items == NULL or self.arenas == NULL or self.marks == NULL:
            raise MemoryError("no memory for a worker")
        self.taken = self.items + BURST

    def __dealloc__(self):
        free(self.items)
        free(self.arenas)
        free(self.marks)

    def time_bursts(self, list frames not None, const uint16_t[::1] ports not None,
                    const uint32_t[::1] order not None, uint32_t first, uint32_t bursts, uint64_t step_ns):
        """(nanoseconds of this thread's processor time, packets handed to others) of ``bursts`` bursts of 256 frames.

        ``order`` names the frame (and port) of each packet and is walked round and round from place ``first`` on;
        neither copying frames into the burst nor waiting is counted.  Ends when all workers' packets are done:
        every worker of the team has to be run at the same time, with as many bursts.  Raises ValueError when a packet
        was not allowed; the clock moves ``step_ns`` a burst.  Raises RuntimeError where another thread is at work with
        the engine, and, in the others, where one of the workers could not begin: the team is of no use any more.
        """
        try:
            return self._time_bursts(frames, ports, order, first, bursts, step_ns)
        except BaseException:
            shared_add32(&self.team.broken, 1)
            raise

    cdef tuple _time_bursts(self, list frames, const uint16_t[::1] ports, const uint32_t[::1] order, uint32_t first,
                            uint32_t bursts, uint64_t step_ns):
        cdef uint32_t count = len(frames)
        cdef uint32_t i
        cdef uint32_t buffer = 0
        cdef uint32_t at = first
        cdef uint32_t _burst
        cdef uint32_t which
        cdef uint64_t start
        cdef uint64_t spent = 0
        cdef uint8_t *arena
        cdef uint32_t *begin
        cdef uint8_t *all_frames
        if len(ports) != count or order.shape[0] <= first or max(order) >= count or max(map(len, frames)) > FRAME_ROOM:
            raise ValueError(f"each frame, of {FRAME_ROOM} bytes at the most, needs a port, and order has to name them")
        for port in ports:
            self.engine._port(port)
        joined = b"".join(frames)
        all_frames = joined
        self.engine._enter_alone()
        self.engine.state.paced_elsewhere = False
        begin = <uint32_t *>malloc(4 * (<size_t>count + 1))
        if begin == NULL:
            self.engine.busy = False
            raise MemoryError("no memory for a worker")
        begin[0] = 0
        for i in range(count):
            begin[i + 1] = begin[i] + <uint32_t>len(frames[i])
        self.refused = 0
        self.handed = 0
        with nogil:
            self._meet()
            for _burst in range(bursts):
                if unlikely(self._broken()):
                    break
                spent += self._await_buffer(buffer)
                arena = self.arenas + <size_t>buffer * BURST * FRAME_ROOM
                for i in range(BURST):
                    which = order[at]
                    at = 0 if at + 1 == order.shape[0] else at + 1
                    self.items[i].frame = arena
                    self.items[i].length = begin[which + 1] - begin[which]
                    self.items[i].port = ports[which]
                    memcpy(arena, all_frames + begin[which], self.items[i].length)
                    arena += (self.items[i].length + 63) & ~<uint32_t>63
                self.engine.state.now += step_ns
                start = thread_time()
                self._serve(self.items, BURST, True)
                self._publish()
                self._mark(buffer)
                self._take()
                spent += thread_time() - start
                buffer = (buffer + 1) % BUFFERS
            for i in range(BUFFERS):
                spent += self._await_buffer(i)
            spent += self._leave()
        free(begin)
        self.engine.busy = False
        if self._broken():
            raise RuntimeError("another worker of the team could not go on")
        if self.refused:
            raise ValueError(f"{self.refused} packets were not allowed")
        return spent, self.handed

    cdef void _meet(self) noexcept nogil:
        # Waits until every worker has come.
        cdef uint32_t workers = self.team.workers
        cdef uint32_t mine = shared_add32(&self.team.arrived, 1)
        cdef uint32_t all_there = (mine + workers - 1) // workers * workers
        while <int32_t>(shared_add32(&self.team.arrived, 0) - all_there) < 0 and not self._broken():
            nap()

    cdef bint _broken(self) noexcept nogil:
        # Has a worker raised something, so that nobody may wait for it?
        return shared_add32(&self.team.broken, 0) != 0

    cdef uint64_t _leave(self) noexcept nogil:
        # Takes what the others still hand over until all of them are through; how long that took.
        cdef uint32_t workers = self.team.workers
        cdef uint32_t mine = shared_add32(&self.team.left, 1)
        cdef uint32_t all_gone = (mine + workers - 1) // workers * workers
        cdef uint64_t spent = 0
        while <int32_t>(shared_add32(&self.team.left, 0) - all_gone) < 0 and not self._broken():
            spent += self._wait()
        return spent

    cdef uint64_t _wait(self) noexcept nogil:
        # Nanoseconds of this thread's processor time that went into what others have handed over; a nap if nothing did.
        cdef uint64_t start = thread_time()
        if self._take():
            return thread_time() - start
        nap()
        return 0

    cdef uint64_t _await_buffer(self, uint32_t buffer) noexcept nogil:
        # Until nobody is at work on the frames of a buffer any more; how long work for others took.
        cdef uint64_t spent = 0
        cdef uint32_t worker
        for worker in range(self.team.workers):
            while <int64_t>(acquire(&self.team.ring(self.worker, worker).done)
                            - self.marks[buffer * self.team.workers + worker]) < 0 and not self._broken():
                spent += self._wait()
        return spent

    cdef void _mark(self, uint32_t buffer) noexcept nogil:
        # Frames of this buffer may have been handed over up to now.
        cdef uint32_t worker
        for worker in range(self.team.workers):
            self.marks[buffer * self.team.workers + worker] = self.team.ring(self.worker, worker).written

    cdef void _publish(self) noexcept nogil:
        cdef uint32_t worker
        for worker in range(self.team.workers):
            ring_publish(self.team.ring(self.worker, worker))

    cdef void _give(self, uint32_t owner, const Handed *item) noexcept nogil:
        cdef Ring *ring = self.team.ring(self.worker, owner)
        self.handed += 1
        ring_put(ring, item)            # has room: no more frames are under way than RING_SLOTS

    cdef uint32_t _take(self) noexcept nogil:
        # A burst of what each other worker has handed over; how many frames that was.
        cdef Ring *ring
        cdef uint32_t taken = 0
        cdef uint32_t count
        cdef uint32_t worker
        cdef uint32_t i
        for worker in range(self.team.workers):
            ring = self.team.ring(worker, self.worker)
            while True:
                count = ring_look(ring, self.taken, BURST)
                if count == 0:
                    break
                for i in range(count):
                    prefetch(self.taken[i].frame)
                self._serve(self.taken, count, False)
                ring_done(ring, count)
                taken += count
        return taken

    cdef void _serve(self, const Handed *items, uint32_t count, bint arrived) noexcept nogil:
        # Frames in waves through the pipeline; those that have arrived at this worker but are another's to that one.
        # What a session of this worker has is its own: only for the rest the owner is worked out.
        cdef State *state = &self.engine.state
        cdef const ProgramData *program = &self.engine.program.data
        cdef Packet *packets = self.engine.packets
        cdef Result result
        cdef uint32_t first = 0
        cdef uint32_t end
        cdef uint32_t owner
        cdef uint32_t i
        while first < count:
            end = min(first + WAVE, count)
            for i in range(first, end):
                parse(&packets[i], items[i].frame, items[i].length, side_of(program, items[i].port), False)
                set_hash(&state.table, &packets[i])
                prefetch_bucket(&state.table, &packets[i])
            for i in range(first, end):
                prefetch_session(&state.table, &packets[i])
            for i in range(first, end):
                if arrived and unlikely(not is_known(state, &packets[i])):
                    owner = owner_of(&self.team.steerer.data, &packets[i])
                    if owner != self.worker:
                        self._give(owner, &items[i])
                        continue
                pipeline(state, program, &packets[i], items[i].port, False, self.engine.answers, &result, NULL)
                self.refused += unlikely(result.verdict != V_ALLOW) and result.verdict != V_HELD
            first = end


cdef inline bint is_known(const State *state, const Packet *packet) noexcept nogil:
    # Does it belong to a session of this worker's?
    cdef uint32_t found
    if unlikely(packet.error != PARSED or packet.kind == K_ICMP_ERROR):
        return False
    found = flow_of(&state.table, packet)
    return likely(found != NONE and not is_over(&state.table, found, state.now))
