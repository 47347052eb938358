"""The engine: owns what outlives programs, takes packets through the pipeline one, a burst or a capture at a time."""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from native.capture cimport CaptureReader
from native.account cimport end_session, expire, fold_session
from native.answer cimport ANSWER_SIZE
from native.decide cimport is_local, is_owned
from native.engine cimport BURST, LOG_ENTRIES, LogEntry, Result, State
from native.expect cimport expectations_free, expectations_init, expectations_reserve
from native.kinds cimport PORT_ISOLATED, PORT_UPLINK, ROUTE_BROADCAST, ROUTE_ISOLATED
from native.link cimport MAX_FRAME
from native.machine cimport ticks
from native.packet cimport (
    K_ICMP_ERROR, K_ICMP_OTHER, K_ICMP_QUERY, K_ICMP_REPLY, K_TCP, K_UDP, PARSED, Key, Packet, key_dport, key_family,
    key_proto, key_sport, parse,
)
from native.pipeline cimport pipeline
from native.program cimport Program, ProgramData
from native.record cimport NO_PORT, NO_SLOT, Recorder, StepRecord
from native.rewrite cimport rewrite_as
from native.route cimport NOWHERE, map_lookup
from native.session cimport (
    NONE, ORIGINAL, REPLY, Session, hash_key, key_reversed, lookup, prefetch_bucket, prefetch_session,
    table_free, table_init, table_reserve,
)
from native.stats cimport REASONS, VERDICTS, V_ALLOW, RuleCounter, Totals
from native.stream cimport C_FRAME
from native.wire cimport unlikely

cdef enum:
    ARENA = 1 << 20             # bytes of frames in one burst
    ANSWER_ROOM = MAX_FRAME + ANSWER_SIZE

assert sizeof(Key) == 40


cdef inline uint8_t side_of(const ProgramData *program, uint16_t port) noexcept nogil:
    # Sessions are looked up by the side a packet comes from; nothing is ever found for an isolated network's.
    if program.ports[port].kind == PORT_UPLINK:
        return 1
    return 2 if program.ports[port].kind == PORT_ISOLATED else 0


cdef inline uint16_t port_of_source(const ProgramData *program, const Packet *packet) noexcept nogil:
    # The network that contains the source, else the first port.
    cdef uint32_t port = NOWHERE
    if packet.error == PARSED or packet.reassembly:
        port = map_lookup(&program.ingress_map[packet.family == 6], packet.key.src_hi, packet.key.src_lo)
    return program.default_port if port == NOWHERE else <uint16_t>port


cdef inline void set_side(Packet *packet, uint8_t side) noexcept nogil:
    packet.key.meta = packet.key.meta & 0xffffffffffffff00ULL | side


cdef inline bint turn_into_reply(
    State *state, const ProgramData *program, Packet *packet, uint16_t *in_port
) noexcept nogil:
    # A capture taken behind the edge shows replies with private destinations.  A packet that hits no session itself but
    # reverses a session's original tuple becomes the reply to its translated tuple, and enters by the session's
    # far port.
    cdef Key original
    cdef Session *session
    cdef uint32_t found
    cdef uint8_t side
    if packet.error != PARSED or packet.kind == K_ICMP_ERROR:
        return False
    if lookup(&state.table, &packet.key, hash_key(&state.table, &packet.key)) != NONE:
        return False
    for side in range(2):
        key_reversed(&packet.key, side, &original)
        found = lookup(&state.table, &original, hash_key(&state.table, &original))
        if found != NONE and found & 1 == ORIGINAL:
            session = &state.table.sessions[found >> 1]
            rewrite_as(packet, &session.flow[REPLY].key)
            in_port[0] = session.flow[ORIGINAL].out_port
            return True
    return False


cdef inline void set_and_parse(
    State *state, const ProgramData *program, Packet *packet, uint8_t *frame, uint32_t size, uint16_t port
) noexcept nogil:
    parse(packet, frame, size, side_of(program, port))
    packet.hash = hash_key(&state.table, &packet.key)


cdef class Engine:
    """State and a way through it.  ``seed`` starts everything random; the clock starts at 0."""

    def __cinit__(self, seed: int):
        cdef uint64_t start = seed & 0xffffffffffffffff
        memset(&self.state, 0, sizeof(State))
        self.state.random = start
        self.state.log = <LogEntry *>calloc(LOG_ENTRIES, sizeof(LogEntry))
        self.arena = <uint8_t *>malloc(ARENA + MAX_FRAME)
        self.answers = <uint8_t *>malloc(2 * ANSWER_ROOM)
        self.packets = <Packet *>calloc(BURST, sizeof(Packet))
        self.offsets = <uint32_t *>calloc(BURST, 4)
        self.lengths = <uint32_t *>calloc(BURST, 4)
        self.in_ports = <uint16_t *>calloc(BURST, 2)
        self.times = <uint64_t *>calloc(BURST, 8)
        if (self.state.log == NULL or self.arena == NULL or self.answers == NULL or self.packets == NULL
                or self.offsets == NULL or self.lengths == NULL or self.in_ports == NULL or self.times == NULL
                or table_init(&self.state.table, start) != 0
                or expectations_init(&self.state.expectations) != 0):
            raise MemoryError("no memory for an engine")

    def __dealloc__(self):
        table_free(&self.state.table)
        expectations_free(&self.state.expectations)
        free(self.state.counters)
        free(self.state.usage)
        free(self.state.log)
        free(self.arena)
        free(self.answers)
        free(self.packets)
        free(self.offsets)
        free(self.lengths)
        free(self.in_ports)
        free(self.times)

    # -------------------------------------------------------------- programs

    def reserve(self, uint32_t slots, uint32_t usage, uint32_t sessions) -> None:
        """Make room for so many counter slots, usage slots and sessions; what is there stays.

        Raises MemoryError, the engine being as before or roomier.
        """
        cdef RuleCounter *counters
        cdef uint32_t *used
        if self.program is not None:
            self._idle()
        if (table_reserve(&self.state.table, sessions) != 0
                or expectations_reserve(&self.state.expectations, sessions) != 0):
            raise MemoryError(f"no address space for {sessions} sessions")
        if slots > self.state.slot_count:
            counters = <RuleCounter *>realloc(self.state.counters, slots * sizeof(RuleCounter))
            if counters == NULL:
                raise MemoryError("no memory for rule counters")
            memset(counters + self.state.slot_count, 0, (slots - self.state.slot_count) * sizeof(RuleCounter))
            self.state.counters = counters
            self.state.slot_count = slots
        if usage > self.state.usage_count:
            used = <uint32_t *>realloc(self.state.usage, <size_t>usage * 4)
            if used == NULL:
                raise MemoryError("no memory for the usage of external addresses")
            memset(used + self.state.usage_count, 0, <size_t>(usage - self.state.usage_count) * 4)
            self.state.usage = used
            self.state.usage_count = usage

    def swap(self, Program program not None, list port_map, bint flush) -> None:
        """Run ``program`` from the next packet on.

        ``port_map[old port]`` is the port's number in the new program, None where it is gone or of another kind;
        ``flush`` ends every session, otherwise those end that lost a port, their route or an external address.
        """
        cdef Program old = self.program
        cdef uint32_t number
        cdef Session *session
        if old is not None:
            self._idle()
            if len(port_map) != old.data.port_count:
                raise ValueError("port_map has to name every port of the program that runs")
            for number in range(self.state.table.top):
                session = &self.state.table.sessions[number]
                if not session.live:
                    continue
                out_port = port_map[session.flow[ORIGINAL].out_port]
                in_port = port_map[session.flow[REPLY].out_port]
                if flush or out_port is None or in_port is None:
                    end_session(&self.state, number)
                    continue
                session.flow[ORIGINAL].out_port = out_port
                session.flow[REPLY].out_port = in_port
                if not survives(&old.data, &program.data, session):
                    end_session(&self.state, number)
        self.program = program

    # -------------------------------------------------------------- packets

    def process(self, uint16_t port, const unsigned char[::1] frame, uint64_t now_ns, bint record=True,
                bint unsegmented=False):
        """One frame, with the recorder attached: (verdict, reason, steps, (out port, frame, hairpin) or None).

        A step is (stage, result, rule slot or None, port or None, after, saw, logged, DNAT slot or None, SNAT slot or
        None); endpoints are (family, src, sport, dst, dport) with addresses as integers.
        """
        cdef Packet *packet = &self.packets[0]
        cdef Recorder recorder
        cdef Result result
        cdef const ProgramData *program
        self._load(frame, now_ns)
        self._port(port)
        program = &self.program.data
        recorder.count = 0
        set_and_parse(&self.state, program, packet, self.arena, <uint32_t>frame.shape[0], port)
        packet.unsegmented = unsegmented
        pipeline(&self.state, program, packet, port, self.answers, &result, &recorder if record else NULL)
        steps = [step_tuple(&recorder.steps[i], packet.kind) for i in range(recorder.count)]
        if result.out_port == NO_PORT:
            return result.verdict, result.reason, steps, None
        output = PyBytes_FromStringAndSize(<char *>result.frame, result.length)
        return result.verdict, result.reason, steps, (result.out_port, output, result.hairpin)

    cdef int _idle(self) except -1:
        # An engine belongs to one thread at a time: replay() runs without the GIL, and nothing may move under it.
        if self.busy:
            raise RuntimeError("this engine is at work in another thread")
        if self.program is None:
            raise RuntimeError("this engine has no program yet")
        return 0

    cdef int _port(self, port) except -1:
        if not 0 <= port < self.program.data.port_count:
            raise ValueError(f"there is no port {port}")
        return port

    cdef int _load(self, const unsigned char[::1] frame, uint64_t now_ns) except -1:
        self._idle()
        if frame.shape[0] > MAX_FRAME:
            raise ValueError(f"a frame of {frame.shape[0]} bytes is larger than any that Ethernet and IP can make")
        if frame.shape[0]:
            memcpy(self.arena, &frame[0], frame.shape[0])
        if now_ns > self.state.now:
            self.state.now = now_ns
        return 0

    def ingress_port(self, const unsigned char[::1] frame) -> int:
        """Number of the port that a frame enters by when nobody says: the network of its source, else the first."""
        self._load(frame, 0)
        parse(&self.packets[0], self.arena, <uint32_t>frame.shape[0], 0)
        return port_of_source(&self.program.data, &self.packets[0])

    def map_reply(self, uint16_t port, const unsigned char[::1] frame, uint64_t now_ns):
        """(port, frame) as a capture taken behind the edge means it: a reply to a session's original tuple becomes
        the reply to its translated tuple; anything else comes back as it is."""
        self._load(frame, now_ns)
        self._port(port)
        expire(&self.state)
        parse(&self.packets[0], self.arena, <uint32_t>frame.shape[0], side_of(&self.program.data, port))
        if not turn_into_reply(&self.state, &self.program.data, &self.packets[0], &port):
            return port, bytes(frame)
        return port, PyBytes_FromStringAndSize(<char *>self.arena, frame.shape[0])

    def replay(self, CaptureReader reader not None, in_port, bint map_replies, uint64_t max_packets):
        """Take up to ``max_packets`` records of a capture through the pipeline: (packets, bytes, more to come).

        ``in_port`` None lets each packet's source decide.  Time stamps drive the clock, never backwards.
        """
        cdef int fixed = -1 if in_port is None else self._port(in_port)
        cdef uint64_t packets = 0
        cdef uint64_t size = 0
        cdef bint more = True
        self._idle()
        self.busy = True
        with nogil:
            while more and packets < max_packets:
                more = self._replay_burst(reader, fixed, map_replies, max_packets - packets, &packets, &size)
        self.busy = False
        return packets, size, more

    cdef bint _replay_burst(
        self, CaptureReader reader, int fixed, bint map_replies, uint64_t most, uint64_t *packets, uint64_t *size
    ) noexcept nogil:
        cdef const ProgramData *program = &self.program.data
        cdef Packet *packet
        cdef uint32_t count = 0
        cdef uint32_t used = 0
        cdef uint32_t i
        cdef bint more = True
        while count < BURST and used < ARENA and count < most:
            if reader.next_frame(self.arena + used, MAX_FRAME, &self.lengths[count], &self.times[count]) != C_FRAME:
                more = False
                break
            packet = &self.packets[count]
            parse(packet, self.arena + used, self.lengths[count], 0)
            packet.unsegmented = True
            self.in_ports[count] = <uint16_t>fixed if fixed >= 0 else port_of_source(program, packet)
            if packet.error == PARSED:
                set_side(packet, side_of(program, self.in_ports[count]))
                packet.hash = hash_key(&self.state.table, &packet.key)
                prefetch_bucket(&self.state.table, packet.hash)
            size[0] += reader.wire_length
            used += (self.lengths[count] + 63) & ~<uint32_t>63
            count += 1
        packets[0] += count
        for i in range(count):
            if self.packets[i].error == PARSED:
                prefetch_session(&self.state.table, self.packets[i].hash)
        for i in range(count):
            if self.times[i] > self.state.now:
                self.state.now = self.times[i]
            self._replay_one(&self.packets[i], self.in_ports[i], map_replies)
        return more

    cdef void _replay_one(self, Packet *packet, uint16_t port, bint map_replies) noexcept nogil:
        cdef const ProgramData *program = &self.program.data
        cdef Result result
        cdef uint8_t *buffer
        if map_replies:
            expire(&self.state)
            if turn_into_reply(&self.state, program, packet, &port):
                set_side(packet, side_of(program, port))
                packet.hash = hash_key(&self.state.table, &packet.key)
        pipeline(&self.state, program, packet, port, self.answers, &result, NULL)
        while unlikely(result.hairpin):     # ends: a forwarded packet loses a hop each time, an answer is answered once
            port = result.out_port
            buffer = self.answers
            if buffer <= result.frame < buffer + ANSWER_ROOM:       # what is answered must not be written over
                buffer += ANSWER_ROOM
            set_and_parse(&self.state, program, packet, result.frame, result.length, port)
            packet.unsegmented = True
            pipeline(&self.state, program, packet, port, buffer, &result, NULL)

    # -------------------------------------------------------------- measuring

    def time_bursts(self, list frames, const uint16_t[::1] ports, const uint32_t[::1] order, int trials, int bursts):
        """Clocks of each of ``trials`` runs of ``bursts`` bursts of 256 frames.

        ``order`` names the frame (and port) of each packet and is walked round and round; copying frames into the
        burst is not timed.  Raises ValueError when a packet is not allowed.  The clock moves 50 us a burst.
        """
        cdef const ProgramData *program
        cdef Result result
        cdef uint32_t count = len(frames)
        cdef uint32_t i
        cdef Py_ssize_t at = 0
        cdef uint32_t used
        cdef uint32_t which
        cdef uint64_t start
        cdef uint64_t spent
        cdef uint64_t refused
        cdef int _burst
        cdef uint32_t *begin
        cdef uint8_t *all_frames
        self._idle()
        if len(ports) != len(frames) or order.shape[0] == 0 or max(order) >= len(frames):
            raise ValueError("every frame needs a port, and order has to name frames")
        if max(map(len, frames)) > ARENA // BURST:
            raise ValueError(f"a burst has room for frames of at most {ARENA // BURST} bytes")
        for port in ports:
            self._port(port)
        program = &self.program.data
        joined = b"".join(frames)
        all_frames = joined
        begin = <uint32_t *>malloc(4 * (<size_t>count + 1))
        if begin == NULL:
            raise MemoryError
        begin[0] = 0
        for i in range(count):
            begin[i + 1] = begin[i] + <uint32_t>len(frames[i])
        clocks = []
        try:
            for _ in range(trials):
                spent = 0
                refused = 0
                self.busy = True
                with nogil:
                    for _burst in range(bursts):
                        used = 0
                        for i in range(BURST):
                            which = order[at]
                            at = 0 if at + 1 == order.shape[0] else at + 1
                            self.offsets[i] = used
                            self.lengths[i] = begin[which + 1] - begin[which]
                            self.in_ports[i] = ports[which]
                            memcpy(self.arena + used, all_frames + begin[which], self.lengths[i])
                            used += (self.lengths[i] + 63) & ~<uint32_t>63
                        self.state.now += 50_000
                        start = ticks()
                        refused += self._burst(program, &result)
                        spent += ticks() - start
                self.busy = False
                if refused:
                    raise ValueError(f"{refused} packets of a trial were not allowed")
                clocks.append(spent)
        finally:
            free(begin)
        return clocks

    cdef uint32_t _burst(self, const ProgramData *program, Result *result) noexcept nogil:
        # 256 frames of the arena, from raw frame to rewritten frame; how many were not allowed.
        cdef uint32_t i
        cdef uint32_t refused = 0
        cdef Packet *packet
        for i in range(BURST):
            packet = &self.packets[i]
            set_and_parse(&self.state, program, packet, self.arena + self.offsets[i], self.lengths[i], self.in_ports[i])
            prefetch_bucket(&self.state.table, packet.hash)
        for i in range(BURST):
            prefetch_session(&self.state.table, self.packets[i].hash)
        for i in range(BURST):
            pipeline(&self.state, program, &self.packets[i], self.in_ports[i], self.answers, result, NULL)
            refused += result.verdict != V_ALLOW
        return refused

    # -------------------------------------------------------------- what is known

    def usage(self, uint32_t slot) -> int:
        """How many sessions hold the external address of a usage slot; none hold one there is no room for yet."""
        return self.state.usage[slot] if slot < self.state.usage_count else 0

    def counters(self) -> list:
        """(hits, packets, bytes) by slot, exact as of the last packet."""
        cdef uint32_t number
        self._idle()
        for number in range(self.state.table.top):
            if self.state.table.sessions[number].live:
                fold_session(&self.state, &self.state.table.sessions[number])
        return [
            (self.state.counters[i].hits, self.state.counters[i].packets, self.state.counters[i].bytes)
            for i in range(self.state.slot_count)
        ]

    def totals(self):
        """(packets by verdict, packets by reason, sessions created, peak, open, ICMP errors not sent for the limit)."""
        cdef Totals *totals = &self.state.totals
        cdef int i
        self._idle()
        return (
            [totals.verdicts[i] for i in range(<int>VERDICTS)],
            [totals.reasons[i] for i in range(<int>REASONS)],
            totals.created,
            totals.peak,
            self.state.table.count,
            totals.errors_limited,
        )

    def sessions(self) -> list:
        """One tuple a live session, in no order: (protocol, kind, in port, out port, original, translated endpoints,
        states, fw slot, dnat slot, snat slot, revision, created, expires, packets, bytes, ICMP type)."""
        found = []
        cdef uint32_t number
        cdef Session *session
        cdef Key translated
        self._idle()
        for number in range(self.state.table.top):
            session = &self.state.table.sessions[number]
            if not session.live:
                continue
            key_reversed(&session.flow[REPLY].key, 0, &translated)
            found.append((
                key_proto(&translated), session.kind, session.flow[REPLY].out_port, session.flow[ORIGINAL].out_port,
                endpoints(&session.flow[ORIGINAL].key, session.kind), endpoints(&translated, session.kind),
                (session.state[0], session.state[1]),
                slot_or_none(session.fw_slot), slot_or_none(session.dnat_slot), slot_or_none(session.snat_slot),
                session.revision, session.created, session.expires,
                (session.packets[0], session.packets[1]), (session.bytes[0], session.bytes[1]),
                icmp_type_of(session),
            ))
        return found

    def events(self):
        """Log entries since the last call, oldest first, and how many were lost because nobody asked in time:
        ([(now, slot, revision, verdict, protocol, endpoints)], lost)."""
        found = []
        cdef LogEntry *entry
        self._idle()
        while self.state.log_read < self.state.log_written:
            entry = &self.state.log[self.state.log_read % LOG_ENTRIES]
            self.state.log_read += 1
            found.append((
                entry.now, entry.slot, entry.revision, entry.verdict, key_proto(&entry.saw),
                endpoints(&entry.saw, entry.kind)))
        lost = self.state.log_lost
        self.state.log_lost = 0
        return found, lost


cdef bint survives(const ProgramData *old, const ProgramData *new, const Session *session) noexcept nogil:
    # Do the session's route and external addresses still stand under the new program?  Its ports do.
    cdef const Key *original = &session.flow[ORIGINAL].key
    cdef const Key *reply = &session.flow[REPLY].key
    cdef uint8_t family = key_family(original)
    cdef uint16_t in_port = session.flow[REPLY].out_port
    cdef Packet packet
    cdef Key forwarded
    cdef uint32_t row
    cdef uint8_t kind
    key_reversed(reply, 0, &forwarded)
    row = map_lookup(&new.route_map[family == 6], forwarded.dst_hi, forwarded.dst_lo)
    if row == NOWHERE or new.routes[row].port != session.flow[ORIGINAL].out_port:
        return False
    packet.kind = session.kind
    packet.icmp_type = <uint8_t>icmp_kind(session)
    packet.icmp_code = 0
    kind = new.routes[row].kind
    if kind == ROUTE_ISOLATED or kind == ROUTE_BROADCAST or is_local(new, &packet, original, in_port, kind):
        return False
    if (forwarded.src_hi != original.src_hi or forwarded.src_lo != original.src_lo) and (
            is_owned(old, family, forwarded.src_hi, forwarded.src_lo)
            and not is_owned(new, family, forwarded.src_hi, forwarded.src_lo)):
        return False
    if (forwarded.dst_hi != original.dst_hi or forwarded.dst_lo != original.dst_lo) and (
            is_owned(old, family, original.dst_hi, original.dst_lo)
            and not is_owned(new, family, original.dst_hi, original.dst_lo)):
        return False
    return True


cdef int icmp_kind(const Session *session) noexcept nogil:
    # Type of the ICMP message that made the session, -1 for other protocols.
    cdef const Key *original = &session.flow[ORIGINAL].key
    if session.kind == K_ICMP_QUERY or session.kind == K_ICMP_OTHER:
        return key_dport(original) >> 8
    if session.kind == K_ICMP_REPLY:
        # A reply bears the type of its request.
        if key_family(original) == 6:
            return 129
        return 0 if key_sport(original) >> 8 == 8 else (key_sport(original) >> 8) + 1
    return -1


cdef object icmp_type_of(const Session *session):
    cdef int number = icmp_kind(session)
    return None if number < 0 else number


cdef object slot_or_none(uint32_t slot):
    return None if slot == NO_SLOT else slot


cdef object wide(uint64_t hi, uint64_t lo):
    return <object>hi << 64 | lo if hi else lo


cdef tuple endpoints(const Key *key, uint8_t kind):
    # (family, src, sport, dst, dport) as people see it: of ICMP only the identifier, as the source port.
    sport, dport = key_sport(key), key_dport(key)
    if kind == K_ICMP_QUERY:
        dport = 0
    elif kind == K_ICMP_REPLY:
        sport, dport = dport, 0
    elif kind != K_TCP and kind != K_UDP:
        sport = dport = 0
    return key_family(key), wide(key.src_hi, key.src_lo), sport, wide(key.dst_hi, key.dst_lo), dport


cdef object step_tuple(const StepRecord *step, uint8_t kind):
    return (
        step.stage, step.result,
        None if step.slot == NO_SLOT else step.slot,
        None if step.port == NO_PORT else step.port,
        endpoints(&step.after, kind) if step.has_after else None,
        endpoints(&step.saw, kind) if step.has_saw else None,
        bool(step.logged),
        slot_or_none(step.dnat_slot),
        slot_or_none(step.snat_slot),
    )
