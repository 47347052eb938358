# TCP windows: may this segment come from where it says it does?
#
# Each side of a session has a highest end seen (seqlo) and a highest end that the other side's window permits (seqhi);
# what lies too far from them is not part of the conversation (Guido van Rooij, "Real Stateful TCP Packet Filtering in
# IP Filter", 2000; RFC 5961 for RST and SYN).  Only sessions whose SYN passed here are held to that: windows of others
# may be scaled by factors that nobody saw.
#
# What a packet reads and rarely changes stands in the flow it hits, for both sides: the largest window each has
# advertised, as it was on the wire, and its scale.  own_win is 0 where a side has not been seen; a session without
# windows has zeros everywhere.  Scales are zero until both sides have offered one; until then the reply flow keeps
# the originator's offer in its upper half.

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

from native.packet cimport ACK, FIN, RST, SYN, Packet, end_of, is_odd
from native.session cimport ORIGINAL, REPLY, TCP_ESTABLISHED, Flow, Session
from native.wire cimport be16, be32, likely, unlikely

cdef enum:
    NO_SCALE = 15           # no window scale was offered
    SCALE_MAX = 14          # RFC 7323 2.3
    OPTION_SCALE = 3
    FIRST_WINDOW = 65535    # what the originator may send before the other side has said anything
    MARGIN = 66035          # how far acknowledgements and quotes may be off: a window and a segment of Ethernet

cdef enum Judgement:
    W_GOOD = 0
    W_STATE = 1             # flags that make no sense here
    W_STATE_CHALLENGE = 2
    W_WINDOW = 3            # outside the window
    W_WINDOW_CHALLENGE = 4


cdef inline bint after(uint32_t a, uint32_t b) noexcept nogil:
    # Sequence numbers: a > b.
    return <int32_t>(a - b) > 0


cdef inline bint before(uint32_t a, uint32_t b) noexcept nogil:
    return <int32_t>(a - b) < 0


cdef inline uint16_t advertised(const Packet *packet) noexcept nogil:
    # The window on the wire; a closed one still lets a probe of one byte in.
    cdef uint16_t window = be16(packet.l4 + 14)
    return window if window else 1


cdef inline uint8_t offered_scale(const Packet *packet) noexcept nogil:
    # The window scale that a SYN offers.  Options that run out of the header end the search.
    cdef const uint8_t *l4 = packet.l4
    cdef uint32_t at = 20
    cdef uint32_t end = <uint32_t>(l4[12] >> 4) * 4
    while at < end and l4[at] != 0:
        if l4[at] == 1:
            at += 1
            continue
        if end - at < 2 or l4[at + 1] < 2 or l4[at + 1] > end - at:
            break
        if l4[at] == OPTION_SCALE and l4[at + 1] == 3:
            return min(l4[at + 2], <uint8_t>SCALE_MAX)
        at += l4[at + 1]
    return NO_SCALE


cdef inline void advertise(Session *session, int me, uint16_t window) noexcept nogil:
    session.flow[me].own_win = window
    session.flow[1 - me].peer_win = window


cdef inline void open_windows(Session *session, const Packet *packet) noexcept nogil:
    # The first packet of a session, from the originator.
    if packet.tcp_flags & (SYN | ACK | RST | FIN) != SYN:
        return
    advertise(session, ORIGINAL, advertised(packet))
    session.flow[REPLY].scales = <uint8_t>(offered_scale(packet) << 4)
    session.seqlo[ORIGINAL] = end_of(packet)
    session.seqhi[ORIGINAL] = session.seqlo[ORIGINAL] + FIRST_WINDOW


cdef inline bint handshake_over(const Session *session) noexcept nogil:
    return session.state[0] >= TCP_ESTABLISHED and session.state[1] >= TCP_ESTABLISHED


cdef inline uint8_t first_answer(Session *session, const Packet *packet) noexcept nogil:
    # The responder's first packet: it must answer the SYN (RFC 9293 3.10.7.3), or cross it with one of its own.
    cdef Flow *originator = &session.flow[ORIGINAL]
    cdef Flow *responder = &session.flow[REPLY]
    cdef uint32_t acked = be32(packet.l4 + 8)
    cdef uint8_t offer = responder.scales >> 4
    cdef uint8_t scale = NO_SCALE
    if packet.tcp_flags & SYN and handshake_over(session):
        return W_STATE
    if packet.tcp_flags & ACK:
        if acked != session.seqlo[ORIGINAL]:
            return W_WINDOW
    elif packet.tcp_flags & RST or not packet.tcp_flags & SYN:
        return W_WINDOW
    else:
        acked = session.seqlo[ORIGINAL]
    if packet.tcp_flags & RST:
        return W_GOOD
    if packet.tcp_flags & SYN:
        scale = offered_scale(packet)
    if offer == NO_SCALE or scale == NO_SCALE:
        offer = 0
        scale = 0
    originator.scales = offer | <uint8_t>(scale << 4)
    responder.scales = scale | <uint8_t>(offer << 4)
    advertise(session, REPLY, advertised(packet))
    session.seqlo[REPLY] = end_of(packet)
    session.seqhi[REPLY] = session.seqlo[REPLY] + originator.own_win
    session.seqhi[ORIGINAL] = acked + responder.own_win
    return W_GOOD


cdef inline bint is_acceptable(const Session *session, int me, const Packet *packet, uint32_t end) noexcept nogil:
    # Not beyond what the other side can take, not more than one of its windows back, and an acknowledgement of about
    # what it has sent.  Of a side that has sent nothing here, nothing is known to compare acknowledgements with.
    cdef const Flow *flow = &session.flow[me]
    cdef uint32_t window = <uint32_t>(flow.peer_win if flow.peer_win else 1) << (flow.scales >> 4)
    cdef uint32_t ahead
    if after(end, session.seqhi[me]) or before(be32(packet.l4 + 4), session.seqlo[me] - window):
        return False
    if packet.tcp_flags & ACK and flow.peer_win:
        ahead = be32(packet.l4 + 8) - session.seqlo[1 - me]
        return (<int32_t>ahead <= MARGIN
                and <int32_t>(0 - ahead) <= <int32_t>(<uint32_t>MARGIN << (flow.scales & 15)))
    return True


cdef inline uint8_t judge_reset(const Session *session, int me, const Packet *packet, uint32_t end) noexcept nogil:
    # RFC 5961 3.2: only the exact number closes; a guess within the window is asked back.
    cdef uint32_t seq = be32(packet.l4 + 4)
    if seq == session.seqlo[me]:
        return W_GOOD if is_acceptable(session, me, packet, end) else W_WINDOW
    if session.flow[me].peer_win and after(seq, session.seqlo[me]) and not after(seq, session.seqhi[me]):
        return W_WINDOW_CHALLENGE
    return W_WINDOW


cdef inline uint8_t judge_data(
    Session *session, int me, const Packet *packet, uint8_t syn, uint8_t ack
) noexcept nogil:
    # A segment without RST, of a side that has been seen.  `syn` and `ack` are those flags.
    cdef Flow *flow = &session.flow[me]
    cdef uint32_t end = end_of(packet)
    cdef uint32_t limit
    cdef uint16_t window
    if unlikely(not is_acceptable(session, me, packet, end)):
        return W_WINDOW
    window = advertised(packet)
    if unlikely(window > flow.own_win) and not syn:
        advertise(session, me, window)
    if after(end, session.seqlo[me]):
        session.seqlo[me] = end
    if ack:
        limit = <uint32_t>be16(packet.l4 + 14) << (0 if syn else flow.scales & 15)
        limit = be32(packet.l4 + 8) + (limit if limit else 1)
        if after(limit, session.seqhi[1 - me]):
            session.seqhi[1 - me] = limit
    return W_GOOD


cdef inline uint8_t judge(Session *session, int me, const Packet *packet) noexcept nogil:
    # One packet of a TCP session from side `me`: what is to become of it, windows brought up to date if it is good.
    cdef const Flow *flow = &session.flow[me]
    cdef uint8_t flags = packet.tcp_flags
    if likely(flags & (SYN | RST | ACK) == ACK and flow.own_win != 0):
        return judge_data(session, me, packet, 0, ACK)      # nearly all of them
    if is_odd(flags):
        return W_STATE
    if flow.own_win == 0:
        return W_GOOD if flow.peer_win == 0 else first_answer(session, packet)
    if flags & SYN and handshake_over(session):
        return W_STATE_CHALLENGE if flow.peer_win else W_STATE
    if flags & RST:
        return judge_reset(session, me, packet, end_of(packet))
    return judge_data(session, me, packet, flags & SYN, flags & ACK)


cdef inline bint could_have_sent(const Session *session, int sender, uint32_t seq) noexcept nogil:
    # Is a sequence number that an ICMP error quotes one that this side has used lately (RFC 5927 4.1)?
    cdef const Flow *flow = &session.flow[1 - sender]
    cdef uint32_t window
    if session.flow[ORIGINAL].own_win == 0:
        return True
    if flow.peer_win == 0:
        return False
    window = <uint32_t>(flow.own_win if flow.own_win else 1) << (flow.scales & 15)
    return not before(seq, session.seqlo[sender] - window - MARGIN) and not after(seq, session.seqhi[sender])
