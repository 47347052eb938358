# Sequence numbers of connections whose payload an application layer gateway has made longer or shorter: either end
# hears only of its own.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from native.engine cimport State
from native.expect cimport Control, Shift, sent_on, taken_back
from native.packet cimport ACK, K_TCP, Packet
from native.session cimport ORIGINAL, REPLY, RW_ALG, Session
from native.window cimport after
from native.wire cimport be16, be32, change16, change32, fold, put16, put32, sum_bytes, updated

cdef enum:
    OPTION_SACK = 5


cdef inline uint32_t converted(const Shift *shift, uint32_t number, bint back) noexcept nogil:
    return taken_back(shift, number) if back else sent_on(shift, number)


cdef inline void convert_options(const Shift *shift, uint8_t *l4, bint back) noexcept nogil:
    # The edges of selective acknowledgements (RFC 2018).
    cdef uint32_t at = 20
    cdef uint32_t end = <uint32_t>(l4[12] >> 4) * 4
    cdef uint32_t edge
    while at < end and l4[at] != 0:
        if l4[at] == 1:
            at += 1
            continue
        if end - at < 2 or l4[at + 1] < 2 or l4[at + 1] > end - at:
            return
        if l4[at] == OPTION_SACK and l4[at + 1] & 7 == 2:
            for edge in range(at + 2, at + l4[at + 1], 4):
                put32(l4 + edge, converted(shift, be32(l4 + edge), back))
        at += l4[at + 1]


cdef inline void convert_acknowledged(const Shift *shift, Packet *packet, bint back) noexcept nogil:
    # What a segment acknowledges, in the numbers of who had sent it (`back`), or of who got it.
    cdef uint8_t *l4 = packet.l4
    cdef uint32_t header = <uint32_t>(l4[12] >> 4) * 4
    cdef uint16_t old
    cdef uint16_t new
    if not shift.moved or not packet.tcp_flags & ACK:
        return
    old = fold(sum_bytes(l4, header))
    put32(l4 + 8, converted(shift, be32(l4 + 8), back))
    convert_options(shift, l4, back)
    new = fold(sum_bytes(l4, header))
    if old != new:
        put16(l4 + 16, updated(be16(l4 + 16), change16(old, new)))


cdef inline void take_back(State *state, uint32_t number, int direction, Packet *packet) noexcept nogil:
    # What a segment of a control session acknowledges, in the numbers of who had sent it.
    convert_acknowledged(&state.expectations.controls[number].shift[1 - direction], packet, True)


cdef inline void convert_sequence(const Shift *shift, Packet *packet, bint back) noexcept nogil:
    # A segment's own number, in the numbers of who had sent it (`back`), or of the other side.
    cdef uint32_t seq = be32(packet.l4 + 4)
    cdef uint32_t number = converted(shift, seq, back)
    if not shift.moved or number == seq:
        return
    put32(packet.l4 + 4, number)
    put16(packet.l4 + 16, updated(be16(packet.l4 + 16), change32(seq, number)))


cdef inline void before_shifts(const State *state, const Session *session, Packet *packet) noexcept nogil:
    # A segment of the responder's that has arrived becomes what it was when it was sent.
    cdef const Control *control
    if packet.kind != K_TCP or not session.flow[ORIGINAL].rewrite & RW_ALG:
        return
    control = &state.expectations.controls[<uint32_t>(session - state.table.sessions)]
    convert_acknowledged(&control.shift[ORIGINAL], packet, False)
    convert_sequence(&control.shift[REPLY], packet, True)


cdef inline uint32_t told_by(const State *state, const Session *session, int side, uint32_t seq) noexcept nogil:
    # A sequence number of one side's as the other side has to see it.
    cdef uint32_t number = <uint32_t>(session - state.table.sessions)
    if not session.flow[ORIGINAL].rewrite & RW_ALG:
        return seq
    return sent_on(&state.expectations.controls[number].shift[side], seq)


cdef inline void note_rewriting(
    Shift *shift, uint32_t line, uint32_t end, uint32_t growth, uint16_t named_port, uint16_t shown_port
) noexcept nogil:
    # An earlier text than the last one changes nothing.
    if not shift.moved or after(end, shift.position):
        shift.earlier = shift.later
        shift.later += growth
    elif end == shift.position:                 # that one again
        shift.later = shift.earlier + growth
    else:
        return
    shift.moved = True
    shift.position = end
    shift.line = line
    shift.named_port = named_port
    shift.shown_port = shown_port
