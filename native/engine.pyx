"""The engine: owns what outlives programs, takes packets through the pipeline one, a burst or a capture at a time."""

from array import array

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from native.capture cimport CaptureReader
from native.account cimport clear_up_together, expire, watch_fragments
from native.addresses cimport addresses_free
from native.ahead cimport ask_ahead
from native.answer cimport ANSWER_ROOM, FRAME_MAX
from native.engine cimport BURST, Change, PortCounter, Result, State, Work
from native.entry cimport port_of_source, set_and_parse
from native.events cimport EVENT_ENTRIES, Event, watch_nothing
from native.expect cimport expectations_free, expectations_init
from native.forward cimport empty_outbox, flush_all, forward_round, put_out
from native.fragment cimport fragments_free, fragments_init, set_limits, set_pieces
from native.handing cimport take_over
from native.limits cimport limits_of, watch_limits
from native.link cimport MAX_FRAME
from native.mapped cimport turn_into_reply
from native.measure cimport time_trials
from native.memory cimport release, reserve
from native.outputs cimport note_pieces, output_tuple
from native.packet cimport PARSED, Key, Packet, parse, set_side
from native.pipeline cimport pipeline
from native.neighbour cimport NeighbourTable
from native.port cimport Ports, load_flag
from native.port_blocks cimport port_blocks_free
from native.program cimport Program, ProgramData, side_of
from native.rebind cimport bring_all_over, renumber_fragments
from native.record cimport NO_PORT, Recorder
from native.room cimport make_room
from native.session cimport WAVE, prefetch_bucket, prefetch_session, set_hash, table_free, table_init
from native.rest cimport between_rounds
from native.stepping cimport bring_over_in_steps, may_take_steps
from native.stream cimport C_FRAME
from native.traffic cimport count_received, count_sent
from native.turn cimport (
    turn_begin_work, turn_end_work, turn_free, turn_give, turn_init, turn_let_in, turn_mine, turn_take,
    turn_waiting, turn_working,
)
from native.view cimport step_tuple
from native.wire cimport unlikely
from native.work cimport prepare

cdef enum:
    LOOKS_EACH = 2
    LOOKS_MOST = 128

assert sizeof(Key) == 40

AT_WORK = "this engine is at work in another thread"
ONE_THREAD = "workers that do what a single one would are run by one thread, not each in its own"


cdef class Engine:
    """State and a way through it.  ``seed`` starts everything random; the clock starts at 0."""

    def __cinit__(self, seed: int):
        cdef uint64_t start = seed & 0xffffffffffffffff
        memset(&self.state, 0, sizeof(State))
        if turn_init(&self.own_turn) != 0:
            raise MemoryError("no memory for an engine")
        self.turn = &self.own_turn
        self.state.random = start
        self.set_pace(LOOKS_EACH, LOOKS_MOST)
        self.state.events.ring = <Event *>reserve(EVENT_ENTRIES * sizeof(Event))
        self.arena = <uint8_t *>malloc(ARENA + FRAME_MAX)
        self.answers = <uint8_t *>malloc(2 * ANSWER_ROOM)
        self.packets = <Packet *>calloc(BURST, sizeof(Packet))
        self.offsets = <uint32_t *>calloc(BURST, 4)
        self.lengths = <uint32_t *>calloc(BURST, 4)
        self.in_ports = <uint16_t *>calloc(BURST, 2)
        self.times = <uint64_t *>calloc(BURST, 8)
        if (self.state.events.ring == NULL or self.arena == NULL or self.answers == NULL or self.packets == NULL
                or self.offsets == NULL or self.lengths == NULL or self.in_ports == NULL or self.times == NULL
                or table_init(&self.state.table, start) != 0 or fragments_init(&self.state.fragments) != 0
                or expectations_init(&self.state.expectations) != 0):
            raise MemoryError("no memory for an engine")

    def __dealloc__(self):
        turn_free(&self.own_turn)
        table_free(&self.state.table)
        table_free(&self.state.mappings.table)
        port_blocks_free(&self.state.taken)
        port_blocks_free(&self.state.mappings.taken)
        addresses_free(&self.state.mappings.holders)
        addresses_free(&self.state.sources)
        fragments_free(&self.state.fragments)
        expectations_free(&self.state.expectations)
        free(self.state.counters)
        if not self.state.worker:       # what those of other workers count in is the first one's
            free(self.state.usage)
            free(self.state.exhausted)
        free(self.state.pool_order)
        free(self.state.port_counters)
        release(self.state.events.ring, EVENT_ENTRIES * sizeof(Event))
        free(self.arena)
        free(self.answers)
        free(self.packets)
        free(self.offsets)
        free(self.lengths)
        free(self.in_ports)
        free(self.times)

    # -------------------------------------------------------------- programs

    def set_pace(self, uint32_t each, uint32_t most) -> None:
        """Before a packet, look at ``each`` sessions whose time may be over, and what looks were not needed before, up
        to ``most``.  A session that is looked at ends, or is found to live on."""
        self.state.looks_each = each
        self.state.looks_most = most
        self.state.looks = most

    def reserve(self, uint32_t slots, uint32_t usage, uint32_t sessions, uint32_t fragments, uint32_t mappings=0,
                bint sources=False, uint32_t ports=0) -> None:
        """Make room for so many counter slots, usage slots, sessions, units of held fragments, endpoint-independent
        mappings and ports, and from now on count sessions by source if ``sources``; what is there stays.

        Raises MemoryError, the engine being as before or roomier.
        """
        if self.program is not None:
            self._idle()
        self._no_worker()
        make_room(&self.state, slots, usage, sessions, sessions, fragments, mappings, sources, ports)

    def swap(self, Program program not None, list port_map, bint flush, bint sources=False,
             between=None) -> Program | None:
        """Run ``program`` from the next packet on; the one that ran until now, which takes a while to let go of.

        ``port_map[old port]`` is the port's number in the new program, None where it is gone or of another kind;
        ``flush`` ends every session, otherwise those end that lost a port, their route or an external address.
        Datagrams that wait for pieces go with their port only.  Counters of ports begin anew.  ``sources``: count
        sessions by source in any case.

        Where sessions have to be looked at and each port keeps its number, a worker that forwards goes on after every
        few of them; ``between`` is called then, too.  Otherwise events of those that end have the old numbers.
        """
        self._no_worker()
        if program.data.port_count > self.state.port_count:
            raise ValueError("there is no room for the counters of the program's ports")
        if self.program is not None:
            self._enter()
            try:
                return self._swap(program, port_map, flush, sources, between)
            finally:
                turn_give(self.turn)
        return self._swap(program, port_map, flush, sources, between)

    cdef Program _swap(self, Program program, list port_map, bint flush, bint sources, between):
        cdef Program old = self.program
        cdef uint16_t[:] numbers
        cdef Change change
        cdef bint look
        cdef bint in_steps = False
        if old is not None:
            numbers = self._begin_swap(program, port_map)
            look = flush or not self._stands_alike(program, port_map)
            in_steps = look and may_take_steps(&self.state, port_map)
            change = Change(&old.data, &program.data, &numbers[0], flush, 0, NULL)
            with nogil:
                self._rebind(&change, look and not in_steps)
        self._settle(program, sources)
        if old is not None and self.links is not None:
            self.links.swap(old, program, port_map, self.state.now)
        if in_steps:
            bring_over_in_steps(&self.state, self.turn, &change, between)
        watch_limits(&self.state, &program.data)
        return old

    cdef uint16_t[:] _begin_swap(self, Program program, list port_map):
        # What may fail; the port map for native code.
        if self.links is not None:
            self.links.reserve(program)
        if len(port_map) != self.program.data.port_count:
            raise ValueError("port_map has to name every port of the program that runs")
        return array("H", [NO_PORT if port is None else port for port in port_map] + [NO_PORT])

    cdef bint _stands_alike(self, Program program, list port_map):
        # Sessions stand on ports, routes and NAT alone: where these are the same objects there is none to look at.
        return (program.routing_parts is self.program.routing_parts and program.nat_parts is self.program.nat_parts
                and port_map == list(range(len(port_map))))

    cdef void _rebind(self, const Change *change, bint look) noexcept nogil:
        # Sessions, if there is a reason to look at them, and datagrams become the new program's, or end; nobody hears
        # of limits meanwhile.
        watch_nothing(limits_of(&self.state))
        if look:
            bring_all_over(&self.state, change)
        renumber_fragments(&self.state.fragments, change.port_map)

    cdef void _settle(self, Program program, bint sources):
        # It runs from now on.
        if not (sources or program.data.max_sessions_per_source):
            addresses_free(&self.state.sources)
        self.program = program
        memset(self.state.port_counters, 0, program.data.port_count * sizeof(PortCounter))
        set_limits(&self.state.fragments, program.data.max_fragments, program.data.fragment_timeout)
        watch_fragments(&self.state)

    # -------------------------------------------------------------- packets

    def process(self, uint16_t port, const unsigned char[::1] frame, uint64_t now_ns, bint record=True,
                bint unsegmented=False, bint map_replies=False, fragmentation=None):
        """One frame, with the recorder attached: (verdict, reason, steps, output or None).

        A step is (stage, result, rule slot or None, port or None, after, saw, logged, DNAT slot or None, SNAT slot or
        None); endpoints are (family, src, sport, dst, dport) with addresses as integers.  An output is (out port,
        frame, hairpin, frames of its pieces, fragmentation or None); a fragmentation, of the frame that enters too, is
        (size of the largest piece, identification, offset of the Fragment header).  Raises ValueError for one that
        cannot be.
        """
        cdef Packet *packet = &self.packets[0]
        cdef Recorder recorder
        cdef Result result
        cdef const ProgramData *program
        self._load(frame, now_ns)
        self._port(port)
        program = &self.program.data
        recorder.count = 0
        recorder.kind = 0
        set_and_parse(&self.state, program, packet, self.arena, <uint32_t>frame.shape[0], port, unsegmented)
        if fragmentation is not None and packet.error == PARSED:
            note_pieces(&self.state.fragments, packet, fragmentation)
        count_received(&self.state, port, packet, <uint32_t>frame.shape[0])
        pipeline(&self.state, program, packet, port, map_replies, self.answers, &result, &recorder if record else NULL)
        count_sent(&self.state, &result, self._room(&result))
        steps = [step_tuple(&recorder.steps[i]) for i in range(recorder.count)]
        return result.verdict, result.reason, steps, output_tuple(&result, self._room(&result))

    def process_batch(self, list frames, uint64_t now_ns, bint outputs) -> list:
        """Frames, as (port, bytes), at one time and without the recorder; what the provider's router would send back
        in enters again at once.  A tuple each: (verdict, reason, output or None) as of :meth:`process`, the output
        only if ``outputs``.  Raises ValueError before anything has happened.
        """
        cdef Py_ssize_t first = 0
        self._idle()
        for port, frame in frames:
            self._port(port)
            self._fits(len(frame))
        done = []
        if frames and now_ns > self.state.now:
            self.state.now = now_ns
        while first < len(frames):
            first += self._batch_burst(frames, first, outputs, done)
        return done

    cdef uint32_t _batch_burst(self, list frames, Py_ssize_t first, bint outputs, list done) except 0:
        # As many of the frames, from `first` on, as a wave has room for.
        cdef const ProgramData *program = &self.program.data
        cdef Result result
        cdef uint32_t count = 0
        cdef uint32_t used = 0
        cdef uint32_t i
        cdef bytes frame
        while count < WAVE and used < ARENA and first + count < len(frames):
            self.in_ports[count], frame = frames[first + count]
            self.lengths[count] = <uint32_t>len(frame)
            memcpy(self.arena + used, <const char *>frame, self.lengths[count])
            set_and_parse(&self.state, program, &self.packets[count], self.arena + used, self.lengths[count],
                          self.in_ports[count], False)
            prefetch_bucket(&self.state.table, &self.packets[count])
            used += (self.lengths[count] + 63) & ~<uint32_t>63
            count += 1
        for i in range(count):
            prefetch_session(&self.state.table, &self.packets[i])
        ask_ahead(&self.state, program, self.packets, count)
        for i in range(count):
            self._pass_through(&self.packets[i], self.lengths[i], self.in_ports[i], False, &result)
            output = output_tuple(&result, self._room(&result)) if outputs else None
            done.append((result.verdict, result.reason, output))
        return count

    def asked_ahead(self, list frames) -> list:
        """What the firewall tells a wave of frames, as (port, bytes), that come in together: the number of a rule each,
        0xffffffff where none matches, 0xfffffffe where it was not asked.  Nothing else happens to them."""
        cdef const ProgramData *program = &self.program.data
        cdef uint32_t count = 0
        cdef bytes frame
        self._idle()
        if len(frames) > WAVE:
            raise ValueError(f"a wave has {WAVE} frames at the most")
        for port, frame in frames:
            self._port(port)
            self._fits(len(frame))
            memcpy(self.arena + count * (ARENA // BURST), <const char *>frame, min(len(frame), ARENA // BURST))
            set_and_parse(&self.state, program, &self.packets[count], self.arena + count * (ARENA // BURST),
                          min(<uint32_t>len(frame), ARENA // BURST), port, False)
            prefetch_session(&self.state.table, &self.packets[count])
            count += 1
        ask_ahead(&self.state, program, self.packets, count)
        return [self.packets[i].asked for i in range(count)]

    cdef uint8_t *_room(self, const Result *result) noexcept nogil:
        # Where a piece may be written: the half where no answer is.
        return self.answers + ANSWER_ROOM if result.frame == self.answers else self.answers

    cdef int _idle(self) except -1:
        # An engine belongs to one thread at a time: replay() runs without the GIL, and nothing may move under it.
        if self.busy or (turn_working(self.turn) and not turn_mine(self.turn)):
            raise RuntimeError(AT_WORK)
        if self.program is None:
            raise RuntimeError("this engine has no program yet")
        return 0

    cdef int _take(self) except -1:
        # Waits for the turn, refused where a thread is inside without one: it may have gone in just before.
        if self.busy:
            raise RuntimeError(AT_WORK)
        with nogil:
            turn_take(self.turn)
        if self.busy:
            turn_give(self.turn)
            raise RuntimeError(AT_WORK)
        return 0

    cdef int _enter(self) except -1:
        # For what runs without the GIL.  Who has a turn may do so too, hence it is waited for, and has to be given
        # back; but where a worker forwards, it has to be there already.
        cdef bint mine = turn_mine(self.turn)
        self._idle()
        self._take()
        if turn_working(self.turn) and not mine:
            turn_give(self.turn)
            raise RuntimeError(AT_WORK)
        return 0

    cdef int _enter_alone(self) except -1:
        # Likewise, for as long as it may take: others are refused, and do not wait, until `busy` is taken back.
        self._enter()
        self.busy = True
        turn_give(self.turn)
        return 0

    cdef int _no_worker(self) except -1:
        if self.team is not None:
            raise RuntimeError("one of several workers gets its configuration with the others, from their team")
        return 0

    cdef int _port(self, port) except -1:
        if not 0 <= port < self.program.data.port_count:
            raise ValueError(f"there is no port {port}")
        return port

    cdef int _fits(self, Py_ssize_t size) except -1:
        if size > FRAME_MAX:
            raise ValueError(f"a frame of {size} bytes is larger than any that Ethernet and IP can make")
        return 0

    cdef int _load(self, const unsigned char[::1] frame, uint64_t now_ns) except -1:
        self._idle()
        self._fits(frame.shape[0])
        if frame.shape[0]:
            memcpy(self.arena, &frame[0], frame.shape[0])
        if now_ns > self.state.now:
            self.state.now = now_ns
        return 0

    def ingress_port(self, const unsigned char[::1] frame) -> int:
        """Number of the port that a frame enters by when nobody says: the network of its source, else the first."""
        self._load(frame, 0)
        parse(&self.packets[0], self.arena, <uint32_t>frame.shape[0], 0, True)
        return port_of_source(&self.program.data, &self.packets[0])

    def map_reply(self, uint16_t port, const unsigned char[::1] frame, uint64_t now_ns):
        """(port, frame) as a capture taken behind the edge means it: a reply to a session's original tuple becomes
        the reply to its translated tuple; anything else comes back as it is."""
        self._load(frame, now_ns)
        self._port(port)
        expire(&self.state)
        parse(&self.packets[0], self.arena, <uint32_t>frame.shape[0], side_of(&self.program.data, port), True)
        if self.packets[0].error != PARSED or not turn_into_reply(
                &self.state, &self.program.data, &self.packets[0], &port):
            return port, bytes(frame)
        return port, PyBytes_FromStringAndSize(<char *>self.arena, frame.shape[0])

    def replay(self, CaptureReader reader not None, in_port, bint map_replies, uint64_t max_packets):
        """Take up to ``max_packets`` records of a capture through the pipeline: (packets, bytes, more to come).

        ``in_port`` None lets each packet's source decide.  Time stamps drive the clock, never backwards.
        """
        cdef int fixed = -1
        cdef uint64_t packets = 0
        cdef uint64_t size = 0
        cdef bint more = True
        self._enter_alone()
        try:
            if in_port is not None:
                fixed = self._port(in_port)
            with nogil:
                while more and packets < max_packets:
                    more = self._replay_burst(reader, fixed, map_replies, max_packets - packets, &packets, &size)
        finally:
            self.busy = False
        return packets, size, more

    cdef bint _replay_burst(
        self, CaptureReader reader, int fixed, bint map_replies, uint64_t most, uint64_t *packets, uint64_t *size
    ) noexcept nogil:
        cdef const ProgramData *program = &self.program.data
        cdef Packet *packet
        cdef Result result
        cdef uint32_t count = 0
        cdef uint32_t used = 0
        cdef uint32_t i
        cdef bint more = True
        while count < WAVE and used < ARENA and count < most:
            if reader.next_frame(self.arena + used, MAX_FRAME, &self.lengths[count], &self.times[count]) != C_FRAME:
                more = False
                break
            packet = &self.packets[count]
            parse(packet, self.arena + used, self.lengths[count], 0, True)
            self.in_ports[count] = <uint16_t>fixed if fixed >= 0 else port_of_source(program, packet)
            # What did not parse is asked for as well: to find that out would cost more where fragments are many.
            set_side(packet, side_of(program, self.in_ports[count]))
            set_hash(&self.state.table, packet)
            prefetch_bucket(&self.state.table, packet)
            size[0] += reader.wire_length
            used += (self.lengths[count] + 63) & ~<uint32_t>63
            count += 1
        packets[0] += count
        for i in range(count):
            prefetch_session(&self.state.table, &self.packets[i])
        ask_ahead(&self.state, program, self.packets, count)
        for i in range(count):
            if self.times[i] > self.state.now:
                self.state.now = self.times[i]
            self._pass_through(&self.packets[i], self.lengths[i], self.in_ports[i], map_replies, &result)
        return more

    cdef void _pass_through(
        self, Packet *packet, uint32_t length, uint16_t port, bint map_replies, Result *result
    ) noexcept nogil:
        # A packet and, pass after pass, what the provider's router sends back in.  Verdict and reason become those of
        # the packet's last pass; what becomes of an answer to it only shows in the output.
        cdef const ProgramData *program = &self.program.data
        cdef State *state = &self.state
        cdef bint unsegmented = packet.unsegmented
        cdef bint answered = False
        cdef uint8_t verdict = 0
        cdef uint8_t reason = 0
        cdef uint8_t *buffer
        count_received(state, port, packet, length)
        pipeline(state, program, packet, port, map_replies, self.answers, result, NULL)
        if unlikely(result.passed_on):
            state = take_over(state, packet)
            pipeline(state, program, packet, port, map_replies, self.answers, result, NULL)
        count_sent(state, result, self._room(result))
        while unlikely(result.hairpin):     # ends: a forwarded packet loses a hop each time, an answer is answered once
            if result.own and not answered:
                answered = True
                verdict = result.verdict
                reason = result.reason
            port = result.out_port
            buffer = self.answers
            if buffer <= result.frame < buffer + ANSWER_ROOM:       # what is answered must not be written over
                buffer += ANSWER_ROOM
            set_and_parse(state, program, packet, result.frame, result.length, port, unsegmented)
            if result.sized and result.pieces.size:
                set_pieces(&state.fragments, packet, &result.pieces)
            count_received(state, port, packet, result.length)
            if unlikely(state.paced_together):
                clear_up_together(<State *>state.shared.states[0])
            pipeline(state, program, packet, port, False, buffer, result, NULL)
            count_sent(state, result, self._room(result))
        if unlikely(answered):
            result.verdict = verdict
            result.reason = reason

    # -------------------------------------------------------------- ports

    def take_turn(self) -> None:
        """Have the engine for this thread alone, as soon as whoever asked before has given it back; the thread that has
        it takes it once more at once.  While :meth:`forward` runs every other method needs it.

        Raises RuntimeError where another thread is inside without one, as :meth:`replay` may be.
        """
        self._take()

    def give_turn(self) -> None:
        """Give back what :meth:`take_turn` took, as often.  Raises RuntimeError in a thread that has not got it."""
        if turn_give(self.turn) != 0:
            raise RuntimeError("this thread has not got the turn that it gives back")

    @property
    def forwarding(self) -> bool:
        """Is a thread inside :meth:`forward`?"""
        return self.forwards and turn_working(self.turn)

    @property
    def waiting_turns(self) -> int:
        """How many threads have a turn or wait for one, the worker apart."""
        return turn_waiting(self.turn)

    def __enter__(self):
        """``with engine:`` has the turn."""
        self.take_turn()
        return self

    def __exit__(self, *_) -> None:
        self.give_turn()

    @property
    def neighbours(self):
        """Who is on the links, None before :meth:`attach`."""
        return self.links

    def reserve_links(self, Program program not None) -> None:
        """Make room for what the link layer, if there is one, has to know of a program.  Raises MemoryError."""
        if self.links is not None:
            self.links.reserve(program)

    def attach(self, NeighbourTable neighbours not None) -> None:
        """Have a link layer from now on, which follows the programs.  Raises MemoryError."""
        self._idle()
        neighbours.reserve(self.program)
        self.links = neighbours

    def emit(self, Ports ports not None, list frames not None) -> None:
        """Send frames that :meth:`process` gave out, as (port, frame): Ethernet headers with IP packets."""
        cdef Work work
        cdef Result result
        cdef const unsigned char[::1] frame
        self._idle()
        memset(&result, 0, sizeof(result))
        prepare(self, &work, ports)
        try:
            for number, frame in frames:
                result.out_port = self._port(number)
                if not 34 <= frame.shape[0] <= FRAME_MAX:
                    raise ValueError("this frame holds no IP packet")
                memcpy(work.cut, &frame[0], frame.shape[0])
                result.frame = work.cut
                result.length = <uint32_t>frame.shape[0]
                put_out(&work, &result, NULL, NULL)
                empty_outbox(&work)
            flush_all(&work)
        finally:
            free(work.room)

    def forward(self, Ports ports not None) -> None:
        """Forward between ports until Ports.stop() is called, by the clock CLOCK_MONOTONIC.  One thread at a time."""
        cdef Work work
        cdef uint64_t heard = 0
        if turn_mine(self.turn):
            raise RuntimeError("a thread that has the turn cannot forward: it would wait for itself")
        if self.forwards:
            raise RuntimeError("this engine forwards already")
        if self.program is None:
            raise RuntimeError("this engine has no program yet")
        if self.state.paced_together:
            raise RuntimeError(ONE_THREAD)
        self.forwards = True
        with nogil:
            turn_begin_work(self.turn)
        memset(&work, 0, sizeof(work))
        try:
            if self.busy:       # since the turn was asked for
                raise RuntimeError(AT_WORK)
            prepare(self, &work, ports)
            with nogil:
                while not load_flag(&ports.table.stop):
                    work.program = &self.program.data
                    between_rounds(&work, self.turn, forward_round(&work), &heard)
                    turn_let_in(self.turn)
        finally:
            free(work.room)
            turn_end_work(self.turn)
            self.forwards = False

    # -------------------------------------------------------------- measuring

    def time_bursts(self, list frames, const uint16_t[::1] ports, const uint32_t[::1] order, int trials, int bursts,
                    uint64_t step_ns=50_000, const uint8_t[::1] aside=None):
        """Clocks of each of ``trials`` runs of ``bursts`` bursts of 256 frames.

        ``order`` names the frame (and port) of each packet and is walked round and round; copying frames into the
        burst is not timed.  The clock moves ``step_ns`` a burst.  With ``aside``, 1 for some packets of ``order``, each
        packet is timed by itself, the reading of the clock included, and clocks of the others are told.  Raises
        ValueError when a packet is neither allowed nor held.
        """
        self._enter_alone()
        try:
            return time_trials(self, frames, ports, order, trials, bursts, step_ns, aside)
        finally:
            self.busy = False
