"""Several workers: engines that have their sessions each to itself, and pass on what belongs to another."""

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

from native.account cimport clear_up_together, expire
from native.ahead cimport WORTHWHILE, ask_together
from native.engine cimport BURST, Change, Engine, Result, State
from native.fragment cimport set_pieces
from native.handing cimport hand_over, look_at, owner_here, take_wave
from native.limits cimport watch_limits
from native.memory cimport release, reserve
from native.moving cimport have_one_owner, pass_fragments, pass_sessions
from native.outputs cimport note_pieces, output_tuple
from native.owner cimport owner_of
from native.packet cimport PARSED, Packet, parse
from native.pipeline cimport pipeline
from native.program cimport Program, ProgramData, side_of
from native.record cimport NO_PORT, Recorder
from native.ring cimport (
    HANDED_NOTHING, Handed, Hands, Ring, Sleeper, handed_at, may_take_in, publish_all, ring_done, ring_of,
)
from native.room cimport make_room
from native.session cimport CLAIM, NONE, WAVE, prefetch_bucket, prefetch_session, set_hash
from native.shared cimport Shared, shared_add32
from native.stats cimport V_ALLOW, V_HELD
from native.steer cimport Steerer
from native.traffic cimport count_received, count_sent
from native.turn cimport turn_free, turn_give, turn_init
from native.view cimport step_tuple
from native.wire cimport unlikely

from native.engine import ONE_THREAD

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


assert sizeof(Handed) == 128, "a frame that is handed over begins on a cache line"
assert sizeof(Ring) % 64 == 0 and sizeof(Sleeper) == 64 and sizeof(Shared) % 8 == 0, "cache lines"


cdef class Common:
    """What ``workers`` workers share, and the rings between them."""

    def __cinit__(self, uint32_t workers):
        cdef uint32_t worker
        self.workers = workers
        if turn_init(&self.turn) != 0:
            raise MemoryError("no memory for workers")
        self.rings = <Ring *>reserve(<size_t>workers * workers * sizeof(Ring))
        self.sleepers = <Sleeper *>reserve(workers * sizeof(Sleeper))
        self.shared = <Shared *>reserve(sizeof(Shared))
        self.hands = <Hands *>calloc(workers, sizeof(Hands))
        if self.shared == NULL or self.rings == NULL or self.sleepers == NULL or self.hands == NULL:
            raise MemoryError("no memory for workers")
        for worker in range(workers):
            self.sleepers[worker].wake_fd = -1
            self.hands[worker].rings = self.rings
            self.hands[worker].sleepers = self.sleepers
            self.hands[worker].workers = workers
            self.hands[worker].worker = worker

    def __dealloc__(self):
        turn_free(&self.turn)
        release(self.shared, sizeof(Shared))
        release(self.rings, <size_t>self.workers * self.workers * sizeof(Ring))
        release(self.sleepers, self.workers * sizeof(Sleeper))
        free(self.hands)


cdef class Team:
    """``engines``, new ones with one seed and without a program, as the workers that ``steerer`` knows.

    They share what limits are about, and hand over what belongs to another.  What they have room for and what they run
    they are told by the team, all of them at once, and a turn of one is a turn of all.  ``one_sequence``, for one
    thread that runs all: what is drawn at random, and which sessions end before a packet, is as with the first engine
    alone.  Raises ValueError for engines that cannot be workers, MemoryError.
    """

    def __cinit__(self, list engines not None, Steerer steerer not None, bint one_sequence=False):
        cdef Engine engine
        cdef uint32_t worker
        if steerer.workers > len(engines) or len(set(map(id, engines))) != len(engines) or not engines:
            raise ValueError(f"{len(engines)} engines are not {steerer.workers} workers")
        self.first = engines[0]
        for engine in engines:
            if engine.program is not None or engine.team is not None or engine.state.table.sessions != NULL:
                raise ValueError("only a new engine can become a worker")
            if engine.state.table.seed[0] != self.first.state.table.seed[0]:
                raise ValueError("the workers of one edge have one seed")
        self.engines = engines
        self.steerer = steerer
        self.workers = <uint32_t>len(engines)
        self.one_sequence = one_sequence
        self.random = self.first.state.random
        self.common = Common(self.workers)
        self.common.shared.steering = &steerer.data
        self.common.shared.workers = self.workers
        for worker in range(self.workers):
            engine = engines[worker]
            self.common.shared.states[worker] = &engine.state
            engine.team = self.common
            engine.hands = &self.common.hands[worker]
            engine.turn = &self.common.turn
            engine.state.worker = worker
            engine.state.shared = self.common.shared
            engine.state.table.mark = <uint8_t>(worker + 1)
            engine.state.table.claimed = &self.common.shared.numbers
            engine.state.fragments.all_units = &self.common.shared.fragments
            engine.state.expectations.all = &self.common.shared.expected
            engine.state.random += worker * 0xA0761D6478BD642FULL
            engine.state.paced_together = one_sequence

    def set_pace(self, uint32_t each, uint32_t most) -> None:
        """As that of an engine."""
        cdef Engine engine
        for engine in self.engines:
            engine.set_pace(each, most)

    @property
    def created(self) -> list:
        """How many sessions each worker has made."""
        cdef Engine engine
        return [engine.state.totals.created for engine in self.engines]

    @property
    def moved(self) -> dict:
        """What has gone from one worker to another because configurations divide it otherwise, by what it is."""
        return {"sessions": self.common.shared.moved_sessions, "datagrams": self.common.shared.moved_datagrams}

    @property
    def handed(self) -> int:
        """Frames that workers have handed over to others."""
        return sum([self.common.hands[worker].handed for worker in range(self.workers)])

    @property
    def called(self) -> int:
        """How often a worker that slept was woken for them."""
        return sum([self.common.hands[worker].called for worker in range(self.workers)])

    # -------------------------------------------------------------- programs

    cdef void _share(self):
        # What the first worker has memory for is everybody's.
        cdef Engine engine
        for engine in self.engines:
            if engine is not self.first:
                engine.state.table.sessions = self.first.state.table.sessions
                engine.state.table.capacity = self.first.state.table.capacity
                engine.state.usage = self.first.state.usage
                engine.state.exhausted = self.first.state.exhausted

    def reserve(self, uint32_t slots, uint32_t usage, uint32_t sessions, uint32_t fragments, uint32_t mappings=0,
                bint sources=False, uint32_t ports=0) -> None:
        """Make room at every worker, as :meth:`native.engine.Engine.reserve` does."""
        cdef Engine engine
        if self.first.program is not None:
            self.first._idle()
        for engine in self.engines:     # the first one first
            try:
                make_room(&engine.state, slots, usage, sessions, (sessions + CLAIM) * self.workers, fragments, mappings,
                          sources, ports)
            finally:
                self._share()

    def swap(self, Program program not None, list port_map, bint flush, Steerer narrow not None,
             Steerer wide not None, bint sources=False):
        """Run ``program`` at every worker from the next packet on, as :meth:`native.engine.Engine.swap` does, and
        divide packets as ``narrow`` says if every session is one worker's by that, else as ``wide`` does: what a worker
        has that is another's then goes there; no worker goes on before that.  The program that ran until now, and
        whether it was ``narrow``.
        """
        cdef Program old = self.first.program
        cdef Engine engine
        cdef uint16_t[:] numbers
        cdef Change change
        cdef bint look
        if program.data.port_count > self.first.state.port_count:
            raise ValueError("there is no room for the counters of the program's ports")
        if max(narrow.workers, wide.workers) > self.workers:
            raise ValueError(f"there are {self.workers} workers")
        if old is not None:
            self.first._enter()
        try:
            self._one_time()
            if old is not None:
                numbers = self.first._begin_swap(program, port_map)
                look = flush or not self.first._stands_alike(program, port_map)
                change = Change(&old.data, &program.data, &numbers[0], flush, 0, NULL)
                with nogil:
                    self._renumber_rings(&numbers[0])
                for engine in self.engines:
                    with nogil:
                        engine._rebind(&change, look)
                self.steerer = narrow if self._fits(narrow) else wide
            else:
                self.steerer = narrow
            if self.common.shared.steering != &self.steerer.data:
                self.common.shared.steering = &self.steerer.data
                with nogil:
                    self._move()
            for engine in self.engines:
                engine._settle(program, sources)
            if old is not None and self.first.links is not None:
                self.first.links.swap(old, program, port_map, self.first.state.now)
            watch_limits(&self.first.state, &program.data)
        finally:
            if old is not None:
                turn_give(self.first.turn)
        return old, self.steerer is narrow

    def _one_time(self):
        # The latest of all clocks is everybody's.
        cdef Engine engine
        cdef uint64_t now = 0
        for engine in self.engines:
            now = max(now, engine.state.now)
        for engine in self.engines:
            engine.state.now = now

    def _fits(self, Steerer steerer not None):
        cdef Engine engine
        cdef bint fits
        if steerer is self.steerer:
            return True
        for engine in self.engines:
            with nogil:
                fits = have_one_owner(&steerer.data, &engine.state)
            if not fits:
                return False
        return True

    cdef void _renumber_rings(self, const uint16_t *port_map) noexcept nogil:
        # What is on its way has come in by a port that may have another number now, or be gone.
        cdef Ring *ring
        cdef Handed *handed
        cdef uint64_t at
        cdef uint32_t i
        for i in range(self.workers * self.workers):
            ring = &self.common.rings[i]
            at = ring.taken
            while at != ring.ahead:
                handed = handed_at(ring, at)
                if handed.kind != HANDED_NOTHING:
                    handed.port = port_map[handed.port]
                    if handed.port == NO_PORT:
                        handed.kind = HANDED_NOTHING
                at += handed.size

    cdef void _move(self) noexcept nogil:
        cdef State **states = <State **>self.common.shared.states
        cdef uint32_t worker
        for worker in range(self.workers):
            pass_sessions(&self.steerer.data, states[worker], states)
            pass_fragments(&self.steerer.data, states[worker], states)

    # -------------------------------------------------------------- packets

    cdef Engine _come_to(self, uint32_t owner, uint64_t now_ns):
        # A worker at a time, when all have had a look at what is due.
        cdef Engine engine
        for engine in self.engines:
            engine._idle()
            if now_ns > engine.state.now:
                engine.state.now = now_ns
        if self.one_sequence:
            clear_up_together(&self.first.state)
        for engine in self.engines:
            expire(&engine.state)
        engine = self.engines[owner]
        if self.one_sequence:
            engine.state.random = self.random
        return engine

    def map_reply(self, uint16_t port, bytes frame not None, uint64_t now_ns):
        """As that of an engine."""
        return self._come_to(self.steerer.owner(frame, True), now_ns).map_reply(port, frame, now_ns)

    def process(self, uint16_t port, bytes frame not None, uint64_t now_ns, bint unsegmented=False,
                bint map_replies=False, fragmentation=None):
        """One frame, by its worker: what :meth:`native.engine.Engine.process` tells."""
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
            note_pieces(&engine.state.fragments, packet, fragmentation)
        count_received(&engine.state, port, packet, <uint32_t>len(frame))
        pipeline(&engine.state, program, packet, port, map_replies, engine.answers, &result, &recorder)
        if result.passed_on:
            other = self.engines[owner_of(&self.steerer.data, packet)]
            if self.one_sequence:
                other.state.random = engine.state.random
            set_pieces(&other.state.fragments, packet, &engine.state.fragments.came)
            engine = other
            pipeline(&engine.state, program, packet, port, map_replies, engine.answers, &result, &recorder)
        count_sent(&engine.state, &result, engine._room(&result))
        self.random = engine.state.random
        steps = [step_tuple(&recorder.steps[i]) for i in range(recorder.count)]
        return result.verdict, result.reason, steps, output_tuple(&result, engine._room(&result))

    def process_batch(self, list frames not None, uint64_t now_ns, bint outputs) -> list:
        """Frames by their workers, as :meth:`native.engine.Engine.process_batch` does it."""
        cdef Engine engine
        cdef Py_ssize_t first = 0
        cdef Py_ssize_t end
        self.first._idle()
        for port, frame in frames:
            self.first._port(port)
            self.first._fits(len(frame))
        owners = [self.steerer.owner(frame) for _, frame in frames]
        done = []
        while first < len(frames):
            end = first + 1
            while end < len(frames) and owners[end] == owners[first] and not self.one_sequence:
                end += 1
            engine = self._come_to(owners[first], now_ns)
            done += engine.process_batch(frames[first:end], now_ns, outputs)
            self.random = engine.state.random
            first = end
        return done

    # -------------------------------------------------------------- measuring

    def lane(self, uint32_t worker) -> Lane:
        """A worker that :meth:`Lane.time_bursts` runs.  Raises ValueError where there is none, RuntimeError with
        ``one_sequence``, MemoryError."""
        if self.one_sequence:
            raise RuntimeError(ONE_THREAD)
        if worker >= self.workers:
            raise ValueError(f"there is no worker {worker}")
        return Lane(self, worker)


cdef class Lane:
    """One worker of a team; each runs in a thread of its own."""

    def __cinit__(self, Team team not None, uint32_t worker):
        self.team = team
        self.engine = team.engines[worker]
        self.hands = &team.common.hands[worker]
        self.arena = <uint8_t *>malloc(<size_t>BURST * FRAME_ROOM)
        if self.arena == NULL:
            raise MemoryError("no memory for a worker")

    def __dealloc__(self):
        free(self.arena)

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
        cdef uint32_t at = first
        cdef uint32_t _burst
        cdef uint32_t which
        cdef uint64_t start
        cdef uint64_t spent = 0
        cdef uint64_t handed
        cdef uint32_t *begin
        cdef uint8_t *all_frames
        cdef uint32_t lengths[BURST]
        cdef uint16_t in_ports[BURST]
        if len(ports) != count or order.shape[0] <= first or max(order) >= count or max(map(len, frames)) > FRAME_ROOM:
            raise ValueError(f"each frame, of {FRAME_ROOM} bytes at the most, needs a port, and order has to name them")
        for port in ports:
            self.engine._port(port)
        joined = b"".join(frames)
        all_frames = joined
        self.engine._enter_alone()
        begin = <uint32_t *>malloc(4 * (<size_t>count + 1))
        if begin == NULL:
            self.engine.busy = False
            raise MemoryError("no memory for a worker")
        begin[0] = 0
        for i in range(count):
            begin[i + 1] = begin[i] + <uint32_t>len(frames[i])
        shared_add32(&self.engine.state.shared.lanes, 1)
        self.refused = 0
        handed = self.hands.handed
        with nogil:
            self._meet()
            for _burst in range(bursts):
                while not may_take_in(self.hands) and not self._broken():
                    spent += self._wait()
                if unlikely(self._broken()):
                    break
                for i in range(BURST):
                    which = order[at]
                    at = 0 if at + 1 == order.shape[0] else at + 1
                    lengths[i] = begin[which + 1] - begin[which]
                    in_ports[i] = ports[which]
                    memcpy(self.arena + i * FRAME_ROOM, all_frames + begin[which], lengths[i])
                self.engine.state.now += step_ns
                start = thread_time()
                self._serve(lengths, in_ports)
                publish_all(self.hands)
                self._take()
                spent += thread_time() - start
            spent += self._leave()
        free(begin)
        shared_add32(&self.engine.state.shared.lanes, -1)
        self.engine.busy = False
        if self._broken():
            raise RuntimeError("another worker of the team could not go on")
        if self.refused:
            raise ValueError(f"{self.refused} packets were not allowed")
        return spent, self.hands.handed - handed

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
        while self._take():             # what came just before they left
            pass
        return spent

    cdef uint64_t _wait(self) noexcept nogil:
        # Nanoseconds of this thread's processor time that went into what others have handed over; a nap if nothing did.
        cdef uint64_t start = thread_time()
        if self._take():
            return thread_time() - start
        nap()
        return 0

    cdef uint32_t _take(self) noexcept nogil:
        # What each other worker has handed over; how many frames that was.
        cdef State *state = &self.engine.state
        cdef Handed *wave[WAVE]
        cdef Ring *ring
        cdef uint32_t taken = 0
        cdef uint32_t count
        cdef uint32_t giver
        cdef uint32_t i
        for giver in range(self.team.workers):
            ring = ring_of(self.hands, giver, self.hands.worker)
            count = WAVE
            while count == WAVE:
                count = take_wave(ring, wave)
                look_at(state, &self.engine.program.data, wave, count)
                for i in range(count):
                    self._judge(&wave[i].packet, wave[i].port)
                ring_done(ring)
                taken += count
        return taken

    cdef void _serve(self, const uint32_t *lengths, const uint16_t *ports) noexcept nogil:
        # A burst in waves through the pipeline; what is another's to that one.
        cdef State *state = &self.engine.state
        cdef const ProgramData *program = &self.engine.program.data
        cdef Packet *packets = self.engine.packets
        cdef Packet *here[WAVE]
        cdef Packet *new[WAVE]
        cdef uint16_t ports_here[WAVE]
        cdef uint8_t *frame
        cdef uint32_t first = 0
        cdef uint32_t mine
        cdef uint32_t asking
        cdef uint32_t owner
        cdef uint32_t i
        while first < BURST:
            for i in range(first, first + WAVE):
                frame = self.arena + i * FRAME_ROOM
                parse(&packets[i], frame, lengths[i], side_of(program, ports[i]), False)
                set_hash(&state.table, &packets[i])
                prefetch_bucket(&state.table, &packets[i])
            for i in range(first, first + WAVE):
                prefetch_session(&state.table, &packets[i])
            mine = 0
            asking = 0
            for i in range(first, first + WAVE):
                owner = owner_here(state, &packets[i])
                if owner == self.hands.worker:
                    ports_here[mine] = ports[i]
                    here[mine] = &packets[i]
                    mine += 1
                    new[asking] = &packets[i]
                    asking += packets[i].guess == NONE
                else:       # has room: a burst is taken in only where there is
                    hand_over(self.hands, owner, ports[i], &packets[i], self.arena + i * FRAME_ROOM, lengths[i])
            if asking >= WORTHWHILE:
                ask_together(state, program, new, asking)
            for i in range(mine):
                self._judge(here[i], ports_here[i])
            first += WAVE

    cdef void _judge(self, Packet *packet, uint16_t port) noexcept nogil:
        cdef Result result
        pipeline(&self.engine.state, &self.engine.program.data, packet, port, False, self.engine.answers, &result, NULL)
        self.refused += unlikely(result.verdict != V_ALLOW) and result.verdict != V_HELD
