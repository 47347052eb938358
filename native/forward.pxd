# Forwarding: frames from the edge's ports through the link layer and the pipeline and out of its ports, burst by burst,
# for ever.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from native.account cimport clear_up, expire, is_behind
from native.ahead cimport ask_ahead
from native.answer cimport ANSWER_ROOM
from native.cut cimport next_piece
from native.engine cimport BURST, Result, Work
from native.fragment cimport set_pieces
from native.handing cimport hand_over, look_at, owner_here, take_wave
from native.io cimport port_flush, port_receive, port_release, port_send
from native.limits cimport error_clock
from native.linkway cimport link_input, link_output, lock_neighbours, unlock_neighbours
from native.mss cimport clamp_mss
from native.neighbour cimport (
    L_PASS, L_SEND, OFFLOAD_SIZE, OUT_ERROR, OutFrame, Neighbours, Outbox, neighbours_tick,
)
from native.neighbour_send cimport refuse_too_big
from native.packet cimport PARSED, Packet, parse
from native.pipeline cimport may_send, pipeline
from native.port cimport FRAME_HEAD, Arrival, IoPort, port_of
from native.program cimport ProgramData, side_of
from native.rebind cimport has_followed
from native.record cimport NO_PORT
from native.ring cimport (
    HANDED_FRAME, HANDED_LARGE, HANDED_WHOLE, Handed, HandedWith, Ring, may_take_in, publish_all, ring_done, ring_of,
)
from native.segment cimport Segments, begin_segments, next_segment
from native.session cimport (
    NONE, RW_ALG, RW_HAIRPIN, WAVE, Session, flow_of, is_over, prefetch_bucket, prefetch_session, set_hash,
)
from native.stats cimport R_NOT_IP
from native.traffic cimport count_received, count_sent
from native.vnet cimport Vnet, finish_checksum, is_segmentable, leave_unfinished, segment_span
from native.wire cimport be16, likely, unlikely

cdef enum:
    ARENA_SIZE = (1 << 20) + 131072     # of what the rings have no room for
    IDLE_LOOKS = 128                    # at sessions that may be over, in a round without frames
    EACH_TICK = 10_000_000              # ns between two looks at the neighbours' timers
    NOT_CUT = 0x7fff                    # of IPv4's flags and offset: not to be cut, or a piece already
    SMALLEST_MTU = 68                   # RFC 791 3.2

cdef extern from *:
    """
    #include <time.h>
    static inline uint64_t t1_monotonic(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    """
    uint64_t monotonic "t1_monotonic"() noexcept nogil


# ---------------------------------------------------------------- out

cdef inline void to_port(
    Work *work, uint16_t number, uint8_t *frame, uint32_t length, const Packet *packet, Vnet *vnet
) noexcept nogil:
    # Both MAC addresses are written.  `packet` is what a frame of many segments was parsed as, NULL: one that was held.
    cdef IoPort *port = port_of(work.table, number)
    cdef Segments cut
    cdef Packet again
    cdef uint32_t size
    if unlikely(port == NULL):
        return
    if likely(port_send(port, frame, length, vnet)):
        return
    if packet == NULL:
        parse(&again, frame, length, 0, True)
        packet = &again
        if again.error != PARSED or not is_segmentable(packet, vnet):
            return
    begin_segments(&cut, packet, frame, vnet)
    while True:
        size = next_segment(&cut, work.spare)
        if size == 0:
            return
        port_send(port, work.spare, size, NULL)


cdef inline void empty_outbox(Work *work) noexcept nogil:
    # What the link layer wants sent.  Errors about what it held may add to it; they are judged behind the others.
    cdef OutFrame *out
    cdef Vnet vnet
    cdef uint32_t i = 0
    while i < work.outbox.count:
        out = &work.outbox.frames[i]
        if unlikely(out.kind == OUT_ERROR):
            if may_send(work.program, error_clock(work.state), work.state):
                memcpy(work.cut, work.outbox.bytes + out.at, out.length)
                bring(work, out.port, work.cut, out.length)
        else:
            memcpy(&vnet, out.offload, sizeof(Vnet))        # where it stands it is not aligned
            to_port(work, out.port, work.outbox.bytes + out.at, out.length, NULL, &vnet if vnet.gso_type else NULL)
        i += 1
    work.outbox.count = 0
    work.outbox.used = 0


cdef inline bint is_narrow(const Work *work, const IoPort *port) noexcept nogil:
    return port.longest < FRAME_HEAD + work.program.mtu


cdef inline void clamp(Work *work, const IoPort *port, uint8_t *frame, uint32_t length, bint unfinished) noexcept nogil:
    # A device that carries less than the edge allows: connections across it agree on segments that fit, either way.
    if unlikely(is_narrow(work, port)) and length >= FRAME_HEAD + 20:
        clamp_mss(frame + FRAME_HEAD, length - FRAME_HEAD, port.longest - FRAME_HEAD, unfinished)


cdef inline void to_link(
    Work *work, IoPort *port, uint16_t number, uint8_t *frame, uint32_t length, const Packet *packet, Vnet *vnet
) noexcept nogil:
    cdef uint8_t offload[OFFLOAD_SIZE]
    clamp(work, port, frame, length, vnet != NULL)
    if unlikely(vnet != NULL):
        memset(offload, 0, OFFLOAD_SIZE)
        memcpy(offload, vnet, sizeof(Vnet))
    if likely(link_output(
            work.neighbours, work.program, number, port.mac, frame, length, work.state.now, work.outbox,
            offload if vnet != NULL else NULL) == L_SEND):
        to_port(work, number, frame, length, packet, vnet)


cdef inline void put_fitting(
    Work *work, IoPort *port, const Result *result, const Packet *packet, Vnet *vnet
) noexcept nogil:
    # What the device has room for, whole or in pieces.
    cdef uint32_t done = 0
    cdef uint32_t length
    if likely(not (result.sized and result.limit)):
        to_link(work, port, result.out_port, result.frame, result.length, packet, vnet)
        return
    while True:
        length = next_piece(result, &done, work.spare)
        if length == 0:
            return
        to_link(work, port, result.out_port, work.spare, length, NULL, NULL)


cdef inline void put_narrow(Work *work, IoPort *port, const Result *given) noexcept nogil:
    # By a device that carries less than the edge allows.  As a router before it would: what is too large is cut where
    # that is allowed, else its sender is told.
    cdef Result result = given[0]
    cdef const uint8_t *l3 = result.frame + FRAME_HEAD
    cdef uint32_t most = port.longest - FRAME_HEAD
    cdef bint in_pieces = result.sized and result.limit
    if (result.limit if in_pieces else result.length - FRAME_HEAD) > most:
        if l3[0] >> 4 != 4 or be16(l3 + 6) & NOT_CUT or most < SMALLEST_MTU:
            lock_neighbours(work.neighbours, work.state.now)
            refuse_too_big(
                work.neighbours, work.program, result.out_port, result.frame, result.length, most, work.outbox)
            unlock_neighbours(work.neighbours)
            return
        result.length = FRAME_HEAD + <uint32_t>be16(l3 + 2)
        result.sized = True
        result.limit = most
    put_fitting(work, port, &result, NULL, NULL)


cdef inline void put_segments(
    Work *work, IoPort *port, const Result *result, const Packet *packet, Vnet *vnet
) noexcept nogil:
    # Of many segments, each of which is too large.
    cdef Result one = result[0]
    cdef Segments cut
    one.frame = work.cut
    begin_segments(&cut, packet, result.frame, vnet)
    while True:
        one.length = next_segment(&cut, work.cut)
        if one.length == 0:
            return
        put_narrow(work, port, &one)


cdef inline void put_out(Work *work, Result *result, const Packet *packet, Vnet *vnet) noexcept nogil:
    # What the pipeline gives out.
    cdef IoPort *port
    if result.out_port == NO_PORT:
        return
    port = port_of(work.table, result.out_port)
    if unlikely(port == NULL):
        return
    if likely(not is_narrow(work, port)):
        put_fitting(work, port, result, packet, vnet)
    elif vnet == NULL:
        put_narrow(work, port, result)
    elif segment_span(packet, vnet) > port.longest - FRAME_HEAD:
        put_segments(work, port, result, packet, vnet)
    else:
        put_fitting(work, port, result, packet, vnet)


# ---------------------------------------------------------------- through

cdef inline void give(
    Work *work, uint32_t owner, const Packet *packet, uint16_t port, const uint8_t *frame, uint32_t length,
    uint8_t kind, const HandedWith *extra
) noexcept nogil:
    # To the worker whose it is; NULL: there is no more to it.
    cdef Handed *handed = hand_over(work.hands, owner, port, packet, frame, length)
    cdef IoPort *lost
    if likely(handed != NULL):
        handed.kind = kind
        if unlikely(extra != NULL):
            handed.extra = extra[0]
        return
    lost = port_of(work.table, port)
    if lost != NULL:
        lost.counters.rx_dropped += 1


cdef inline void give_whole(Work *work, Packet *packet, uint16_t port) noexcept nogil:
    # What came in pieces that were this worker's, and is another's.
    cdef HandedWith extra
    extra.pieces = work.state.fragments.came
    give(work, owner_here(work.state, packet), packet, port, packet.l3 - FRAME_HEAD, FRAME_HEAD + packet.ip_len,
         HANDED_WHOLE, &extra)


cdef inline void judge(
    Work *work, Packet *packet, uint16_t port, uint32_t length, Vnet *vnet, bint counted
) noexcept nogil:
    # A parsed frame of so many bytes through the pipeline and out; `vnet` of one with many segments, else NULL.  What
    # the provider's router would send back comes back.
    cdef Result result
    cdef uint8_t *buffer = work.answers
    while True:     # ends: a forwarded packet loses a hop each time, an answer is answered once
        if likely(not counted):
            count_received(work.state, port, packet, length)
        counted = False
        pipeline(work.state, work.program, packet, port, False, buffer, &result, NULL)
        if unlikely(result.passed_on):
            give_whole(work, packet, port)
            return
        count_sent(work.state, &result, work.spare)
        if likely(not result.hairpin):
            break
        port = result.out_port
        buffer = work.answers
        if buffer <= result.frame < buffer + ANSWER_ROOM:       # what is answered must not be written over
            buffer += ANSWER_ROOM
        length = result.length
        parse(packet, result.frame, length, side_of(work.program, port), False)
        set_hash(&work.state.table, packet)
        if result.sized and result.pieces.size:
            set_pieces(&work.state.fragments, packet, &result.pieces)
    if unlikely(vnet != NULL) and result.out_port != NO_PORT and result.frame == packet.l3 - FRAME_HEAD:
        leave_unfinished(packet, vnet)
        put_out(work, &result, packet, vnet)
    else:
        put_out(work, &result, NULL, NULL)


cdef inline void through(Work *work, uint16_t port, uint8_t *frame, uint32_t length) noexcept nogil:
    cdef Packet packet
    parse(&packet, frame, length, side_of(work.program, port), False)
    set_hash(&work.state.table, &packet)
    judge(work, &packet, port, length, NULL, False)


cdef inline void bring(Work *work, uint16_t port, uint8_t *frame, uint32_t length) noexcept nogil:
    # The same at the worker whose it is.
    cdef Packet packet
    cdef uint32_t owner
    if likely(work.hands == NULL):
        through(work, port, frame, length)
        return
    parse(&packet, frame, length, side_of(work.program, port), False)
    set_hash(&work.state.table, &packet)
    owner = owner_here(work.state, &packet)
    if owner == work.hands.worker:
        judge(work, &packet, port, length, NULL, False)
    else:
        give(work, owner, &packet, port, frame, length, HANDED_FRAME, NULL)


cdef inline bint passes_whole(Work *work, const Packet *packet, const Vnet *vnet) noexcept nogil:
    # Can a frame of many segments go through as one packet?  Where it belongs to a session and each of them would be
    # treated alike: none is too large, dies or has anything rewritten but its addresses and ports.
    cdef uint32_t found
    cdef const Session *session
    if packet.ttl <= 1 or segment_span(packet, vnet) > work.program.mtu:
        return False
    found = flow_of(&work.state.table, packet)
    if found == NONE or is_over(&work.state.table, found, work.state.now):
        return False
    session = &work.state.table.sessions[found >> 1]
    if unlikely(work.state.change != NULL) and not has_followed(work.state.change, found >> 1):
        return False        # it may not outlive that
    return (not session.flow[found & 1].rewrite & (RW_ALG | RW_HAIRPIN)
            and (not work.program.recheck or session.revision == work.program.revision))


cdef inline void judge_large(
    Work *work, Packet *packet, uint16_t port, uint8_t *frame, uint32_t size, Vnet *vnet
) noexcept nogil:
    cdef Segments cut
    cdef uint32_t length
    if packet.error != PARSED:          # the pipeline counts it
        judge(work, packet, port, size, NULL, False)
        return
    if not is_segmentable(packet, vnet):
        parse(packet, frame, 0, 0, False)       # not what it claims to be: malformed
        judge(work, packet, port, size, NULL, False)
        return
    if passes_whole(work, packet, vnet):
        judge(work, packet, port, size, vnet, False)
        return
    begin_segments(&cut, packet, packet.l3 - FRAME_HEAD, vnet)
    while True:
        length = next_segment(&cut, work.cut)
        if length == 0:
            return
        through(work, port, work.cut, length)


# ---------------------------------------------------------------- in

cdef inline void admit_frame(
    Work *work, uint16_t number, IoPort *port, Arrival *arrival, Packet *packet
) noexcept nogil:
    # The link layer's look at a frame, which has no length afterwards where it goes no further.
    cdef bint large = arrival.vnet.gso_type != 0
    packet.error = R_NOT_IP
    if unlikely(not large and arrival.vnet.flags):
        if not finish_checksum(arrival.frame, arrival.length, &arrival.vnet):
            port.counters.rx_dropped += 1
            arrival.length = 0
            return
    if unlikely(link_input(
            work.neighbours, work.program, number, port.mac, arrival.frame, arrival.length, work.state.now,
            work.outbox) != L_PASS):
        if work.outbox.count:
            empty_outbox(work)
        arrival.length = 0
        return
    if be16(arrival.frame + 12) == 0x0800 or be16(arrival.frame + 12) == 0x86dd:
        clamp(work, port, arrival.frame, arrival.length, large)
    parse(packet, arrival.frame, arrival.length, side_of(work.program, number), large)
    set_hash(&work.state.table, packet)
    if likely(packet.error == PARSED):
        prefetch_bucket(&work.state.table, packet)


cdef inline uint32_t serve_port(Work *work, IoPort *port) noexcept nogil:
    # One burst of one port; how many frames had come, or 1 where they have to wait.
    cdef uint32_t count
    cdef uint32_t first = 0
    if unlikely(work.hands != NULL) and not may_take_in(work.hands):
        return 1
    count = port_receive(port, work.arrivals, work.arena, ARENA_SIZE)
    while first < count:
        serve_wave(work, port, first, min(first + WAVE, count))
        first += WAVE
    port_release(port)
    if unlikely(work.hands != NULL):
        publish_all(work.hands)
    return count


cdef inline void give_away(Work *work, IoPort *port, uint32_t first, uint32_t end) noexcept nogil:
    # What of a wave is another worker's, which goes no further here.
    cdef Arrival *arrival
    cdef HandedWith extra
    cdef uint32_t owner
    cdef uint32_t i
    for i in range(first, end):
        arrival = &work.arrivals[i]
        if unlikely(arrival.length == 0):
            continue
        owner = owner_here(work.state, &work.packets[i])
        if owner != work.hands.worker:
            extra.vnet = arrival.vnet
            give(work, owner, &work.packets[i], port.number, arrival.frame, arrival.length,
                 HANDED_LARGE if arrival.vnet.gso_type else HANDED_FRAME, &extra)
            arrival.length = 0
            work.packets[i].error = R_NOT_IP


cdef inline void serve_wave(Work *work, IoPort *port, uint32_t first, uint32_t end) noexcept nogil:
    cdef Arrival *arrival
    cdef uint32_t i
    for i in range(first, end):
        admit_frame(work, port.number, port, &work.arrivals[i], &work.packets[i])
    for i in range(first, end):
        if likely(work.packets[i].error == PARSED):
            prefetch_session(&work.state.table, &work.packets[i])
    if unlikely(work.hands != NULL):
        give_away(work, port, first, end)
    ask_ahead(work.state, work.program, work.packets + first, end - first)
    for i in range(first, end):
        arrival = &work.arrivals[i]
        if unlikely(arrival.length == 0):
            continue
        if unlikely(arrival.vnet.gso_type):
            judge_large(work, &work.packets[i], port.number, arrival.frame, arrival.length, &arrival.vnet)
        else:
            judge(work, &work.packets[i], port.number, arrival.length, NULL, False)
        if unlikely(work.outbox.count):
            empty_outbox(work)


cdef inline void serve_handed(Work *work, Handed *handed) noexcept nogil:
    # Whose it is may have changed on its way.
    cdef uint8_t *frame = <uint8_t *>&handed[1]
    cdef uint32_t owner = owner_here(work.state, &handed.packet)
    if unlikely(owner != work.hands.worker):
        give(work, owner, &handed.packet, handed.port, frame, handed.length, handed.kind, &handed.extra)
    elif unlikely(handed.kind == HANDED_LARGE):
        judge_large(work, &handed.packet, handed.port, frame, handed.length, &handed.extra.vnet)
    elif unlikely(handed.kind == HANDED_WHOLE):
        set_pieces(&work.state.fragments, &handed.packet, &handed.extra.pieces)
        judge(work, &handed.packet, handed.port, handed.length, NULL, True)
    else:
        judge(work, &handed.packet, handed.port, handed.length, NULL, False)
    if unlikely(work.outbox.count):
        empty_outbox(work)


cdef inline uint32_t serve_ring(Work *work, Ring *ring) noexcept nogil:
    # A burst of what another worker has handed over; how many frames that were.
    cdef Handed *wave[WAVE]
    cdef uint32_t frames = 0
    cdef uint32_t count = WAVE
    cdef uint32_t i
    while count == WAVE and frames < BURST:
        count = take_wave(ring, wave)
        look_at(work.state, work.program, wave, count)
        for i in range(count):
            serve_handed(work, wave[i])
        ring_done(ring)
        frames += count
    return frames


cdef inline uint32_t forward_round(Work *work) noexcept nogil:
    # A burst of each port, and what time brings; how many frames had come.
    cdef IoPort *port
    cdef uint32_t i
    cdef uint32_t frames = 0
    cdef uint64_t now = monotonic()
    if now > work.state.now:
        work.state.now = now
    if work.state.now >= work.next_tick:
        work.next_tick = work.state.now + EACH_TICK
        if work.state.worker == 0:
            neighbours_tick(
                work.neighbours, work.program, lock_neighbours(work.neighbours, work.state.now), work.outbox)
            unlock_neighbours(work.neighbours)
        expire(work.state)
    if unlikely(work.hands != NULL):
        for i in range(work.hands.workers):
            frames += serve_ring(work, ring_of(work.hands, i, work.hands.worker))
    for i in range(work.table.count):
        port = &work.table.ports[i]
        if port.kind and port.number != NO_PORT:
            frames += serve_port(work, port)
    if unlikely(work.outbox.count):
        empty_outbox(work)
    flush_all(work)
    if frames == 0 and is_behind(work.state):
        clear_up(work.state, IDLE_LOOKS)
    return frames


cdef inline void flush_all(Work *work) noexcept nogil:
    # Out of the ports, and to the other workers.
    cdef uint32_t i
    if unlikely(work.hands != NULL):
        publish_all(work.hands)
    for i in range(work.table.count):
        port_flush(&work.table.ports[i])
