# TCP windows: may this segment come from where it says it does?
#
# Each side of a session has a highest end seen (seqlo) and a highest end that the other side's window permits (seqhi);
# what lies too far from them is not part of the conversation (Guido van Rooij, "Real Stateful TCP Packet Filtering in
# IP Filter", 2000; RFC 5961 for RST and SYN).  Only sessions whose SYN passed here are held to that: windows of others
# may be scaled by factors that nobody saw.
#
# What a packet reads and rarely changes stands in the flow it hits, for both sides: the reach of each (the largest
# window it has advertised, in bytes, rounded up to a power of two) and its scale.  own_reach is 0 where a side has not
# been seen; a session without windows has zeros everywhere.  Scales are zero until both sides have offered one; until
# then the reply flow keeps the originator's offer in its upper half, and seqlo[REPLY] the number of its SYN.
#
# What a side has acknowledged is not kept but follows from the window that came with it: see acknowledged_by().

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t

from native.packet cimport ACK, FIN, RST, SYN, Packet, end_of, is_odd
from native.session cimport ORIGINAL, REPLY, TCP_CLOSING, TCP_ESTABLISHED, Flow, Session
from native.wire cimport be16, be32, likely, unlikely

cdef enum:
    NO_SCALE = 15           # no window scale was offered
    SCALE_MAX = 14          # RFC 7323 2.3
    OPTION_SCALE = 3
    FIRST_WINDOW = 65535    # what the originator may send before the other side has said anything
    MARGIN = 67035          # how far acknowledgements and quotes may be off: a window and a segment of Ethernet

cdef enum Judgement:
    W_GOOD = 0
    W_STATE = 1             # flags that make no sense here
    W_STATE_CHALLENGE = 2
    W_WINDOW = 3            # outside the window
    W_WINDOW_CHALLENGE = 4
    W_WINDOW_RESET = 5      # from a connection that the originator does not know


cdef inline bint after(uint32_t a, uint32_t b) noexcept nogil:
    # Sequence numbers: a > b.
    return <int32_t>(a - b) > 0


cdef inline bint before(uint32_t a, uint32_t b) noexcept nogil:
    return <int32_t>(a - b) < 0


cdef extern from *:
    """
    /* The smallest r with 2^r >= window, for windows from 1 on. */
    static inline unsigned char t1_log2_up(unsigned int window) {
        return window > 1 ? (unsigned char)(32 - __builtin_clz(window - 1)) : 0;
    }
    """
    uint8_t log2_up "t1_log2_up"(uint32_t window) noexcept nogil


cdef inline uint16_t window_of(const Packet *packet) noexcept nogil:
    # As it is on the wire.
    return be16(packet.l4 + 14)


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


cdef inline uint32_t reach_back(uint8_t reach) noexcept nogil:
    # Bytes of the window that a reach stands for.
    return <uint32_t>1 << (reach - 1 if reach else 0)


cdef inline void advertise(Session *session, int me, uint32_t window) noexcept nogil:
    # A window in bytes.
    cdef uint8_t reach = log2_up(window) + 1
    if reach > session.flow[me].own_reach:
        session.flow[me].own_reach = reach
        session.flow[1 - me].peer_reach = reach


cdef inline uint32_t room(uint16_t window, uint8_t scale) noexcept nogil:
    # Bytes of a scaled window; a closed one still lets a probe of one byte in.
    cdef uint32_t size = <uint32_t>window << scale
    return size if size else 1


cdef inline uint16_t in_units(uint16_t window, uint8_t scale) noexcept nogil:
    # A SYN's window, which is not scaled, in the units of those that are.
    cdef uint32_t units = (<uint32_t>window + (<uint32_t>1 << scale) - 1) >> scale
    return <uint16_t>units if units else 1


cdef inline uint32_t acknowledged_by(const Session *session, int side) noexcept nogil:
    # The acknowledgement that came with the window which set the other side's limit.
    cdef const Flow *flow = &session.flow[side]
    return session.seqhi[1 - side] - room(flow.edge_win, flow.scales & 15)


cdef inline void permit(Session *session, int me, uint32_t acked, uint16_t window) noexcept nogil:
    # An acknowledgement and a window, in units of the side's scale: what the other side may send, never less than
    # before.
    cdef Flow *flow = &session.flow[me]
    cdef uint32_t limit = acked + room(window, flow.scales & 15)
    if not before(limit, session.seqhi[1 - me]):
        session.seqhi[1 - me] = limit
        flow.edge_win = window


cdef inline void open_windows(Session *session, const Packet *packet) noexcept nogil:
    # The first packet of a session, from the originator; or another SYN of it that nobody has answered.
    cdef uint16_t window = window_of(packet)
    if packet.tcp_flags & (SYN | ACK | RST | FIN) != SYN:
        return
    advertise(session, ORIGINAL, window)
    session.flow[ORIGINAL].edge_win = window
    session.flow[REPLY].scales = <uint8_t>(offered_scale(packet) << 4)
    session.seqlo[REPLY] = be32(packet.l4 + 4)
    session.seqlo[ORIGINAL] = end_of(packet)
    session.seqhi[ORIGINAL] = session.seqlo[ORIGINAL] + FIRST_WINDOW


cdef inline bint handshake_over(const Session *session) noexcept nogil:
    return session.state[0] >= TCP_ESTABLISHED and session.state[1] >= TCP_ESTABLISHED


cdef inline uint8_t first_answer(Session *session, const Packet *packet) noexcept nogil:
    # The responder's first packet: it must answer the SYN (RFC 9293 3.10.7.3), with or without the data that came with
    # it (RFC 7413), or cross it with one of its own.
    cdef Flow *originator = &session.flow[ORIGINAL]
    cdef Flow *responder = &session.flow[REPLY]
    cdef uint32_t acked = be32(packet.l4 + 8)
    cdef uint8_t offer = responder.scales >> 4
    cdef uint8_t scale = NO_SCALE
    cdef uint16_t window = window_of(packet)
    if packet.tcp_flags & SYN and handshake_over(session):
        return W_STATE
    if packet.tcp_flags & ACK:
        if not after(acked, session.seqlo[REPLY]) or after(acked, session.seqlo[ORIGINAL]):
            return W_WINDOW if packet.tcp_flags & RST else W_WINDOW_RESET
    elif packet.tcp_flags & RST or not packet.tcp_flags & SYN:
        return W_WINDOW
    else:
        acked = session.seqlo[REPLY] + 1
    if packet.tcp_flags & RST:
        return W_GOOD
    if packet.tcp_flags & SYN:
        scale = offered_scale(packet)
    if offer == NO_SCALE or scale == NO_SCALE:
        offer = 0
        scale = 0
    originator.scales = offer | <uint8_t>(scale << 4)
    responder.scales = scale | <uint8_t>(offer << 4)
    advertise(session, REPLY, window if packet.tcp_flags & SYN else room(window, scale))
    session.seqlo[REPLY] = end_of(packet)
    originator.edge_win = in_units(originator.edge_win, offer)
    session.seqhi[REPLY] = be32(packet.l4 + 4) + (1 if packet.tcp_flags & SYN else 0) + room(originator.edge_win, offer)
    responder.edge_win = in_units(window, scale) if packet.tcp_flags & SYN else window
    session.seqhi[ORIGINAL] = acked + room(responder.edge_win, scale)
    return W_GOOD


cdef inline uint8_t open_again(Session *session, const Packet *packet) noexcept nogil:
    # The originator's SYN once more, or that of another attempt, before anybody has answered.
    cdef uint32_t low = session.seqlo[ORIGINAL]
    cdef bint same = be32(packet.l4 + 4) == session.seqlo[REPLY]
    session.flow[ORIGINAL].own_reach = 0
    open_windows(session, packet)
    if same and after(low, session.seqlo[ORIGINAL]):
        session.seqlo[ORIGINAL] = low
        session.seqhi[ORIGINAL] = low + FIRST_WINDOW
    return W_GOOD


cdef inline bint is_acceptable(const Session *session, int me, const Packet *packet, uint32_t end) noexcept nogil:
    # Not beyond what the other side can take, not more than one of its windows back, and an acknowledgement of about
    # what it has sent.  Of a side that has sent nothing here, nothing is known to compare acknowledgements with: it is
    # the responder, and the other one's SYN is as far back as there is.
    cdef const Flow *flow = &session.flow[me]
    cdef uint32_t low = session.seqlo[REPLY]
    cdef uint32_t ahead
    if likely(flow.peer_reach != 0):
        low = session.seqlo[me] - reach_back(flow.peer_reach)
    if after(end, session.seqhi[me]) or before(be32(packet.l4 + 4), low):
        return False
    if packet.tcp_flags & ACK and flow.peer_reach:
        ahead = be32(packet.l4 + 8) - session.seqlo[1 - me]
        return (<int32_t>ahead <= MARGIN
                and <int32_t>ahead >= -<int32_t>(<uint32_t>MARGIN << (flow.scales & 15)))
    return True


cdef inline uint8_t judge_reset(const Session *session, int me, uint32_t seq) noexcept nogil:
    # RFC 5961 3.2: only the exact number closes, a guess within the window is asked back.  Exact is what the receiver
    # expects next, as far as its acknowledgements and what was sent tell; or the number of the sender's own FIN.
    cdef uint32_t acked
    if session.flow[me].peer_reach == 0:
        return W_GOOD if seq == session.seqlo[me] or seq == session.seqlo[REPLY] + 1 else W_WINDOW
    acked = acknowledged_by(session, 1 - me)
    if seq == session.seqlo[me] or seq == acked or (session.state[me] >= TCP_CLOSING and seq == session.seqlo[me] - 1):
        return W_GOOD
    return W_WINDOW if before(seq, acked) or after(seq, session.seqhi[me]) else W_WINDOW_CHALLENGE


cdef inline uint8_t judge_data(
    Session *session, int me, const Packet *packet, uint8_t syn, uint8_t ack
) noexcept nogil:
    # A segment without RST, of a side that has been seen.  `syn` and `ack` are those flags.
    cdef Flow *flow = &session.flow[me]
    cdef uint32_t end = end_of(packet)
    cdef uint16_t window = window_of(packet)
    if unlikely(not is_acceptable(session, me, packet, end)):
        return W_WINDOW
    if syn:
        window = in_units(window, flow.scales & 15)
    elif unlikely(room(window, flow.scales & 15) > reach_back(flow.own_reach)):
        advertise(session, me, room(window, flow.scales & 15))
    if after(end, session.seqlo[me]):
        session.seqlo[me] = end
    if ack and likely(flow.peer_reach != 0):
        permit(session, me, be32(packet.l4 + 8), window)
    return W_GOOD


cdef inline uint8_t judge(Session *session, int me, const Packet *packet) noexcept nogil:
    # One packet of a TCP session from side `me`: what is to become of it, windows brought up to date if it is good.
    cdef const Flow *flow = &session.flow[me]
    cdef uint8_t flags = packet.tcp_flags
    if likely(flags & (SYN | RST | ACK) == ACK and flow.own_reach != 0):
        return judge_data(session, me, packet, 0, ACK)      # nearly all of them
    if is_odd(flags):
        return W_STATE
    if flow.own_reach == 0:
        return W_GOOD if flow.peer_reach == 0 else first_answer(session, packet)
    if flow.peer_reach == 0 and flags & (SYN | ACK) == SYN:
        return open_again(session, packet)
    if flags & SYN and handshake_over(session) and not (
            flags & ACK and flow.peer_reach and end_of(packet) == session.seqlo[me]):
        return W_STATE_CHALLENGE if flow.peer_reach else W_STATE
    if flags & RST:
        return judge_reset(session, me, be32(packet.l4 + 4))
    return judge_data(session, me, packet, flags & SYN, flags & ACK)


cdef inline bint could_have_sent(const Session *session, int sender, uint32_t seq) noexcept nogil:
    # Is a sequence number that an ICMP error quotes one that this side has used lately (RFC 5927 4.1)?
    cdef const Flow *flow = &session.flow[1 - sender]
    cdef uint32_t low = session.seqlo[REPLY]
    if session.flow[ORIGINAL].own_reach == 0:
        return True
    if flow.peer_reach == 0:
        return False
    if flow.own_reach:
        low = session.seqlo[sender] - reach_back(flow.own_reach) - MARGIN
    return not before(seq, low) and not after(seq, session.seqhi[sender])
