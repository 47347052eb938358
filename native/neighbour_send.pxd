# Packets whose neighbour is not simply known: they wait, begin a probe, or are returned to their senders.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from native.answer cimport ANSWER_SIZE, answerable, icmp_error
from native.neighbour cimport (
    HELD_SIZE, L_DROPPED, L_HELD, L_SEND, LC_HELD_DROPPED, LC_LIMITED, LC_NO_NEXT_HOP, LC_OUTBOX_FULL, LC_TOO_BIG,
    LC_UNREACHABLE, N_DELAY, N_FAILED, N_INCOMPLETE, N_STALE, NO_NEIGHBOUR, OUT_ERROR, OUTBOX_FRAMES, LinkPort,
    Neighbour, Neighbours, Outbox,
)
from native.neighbour_arp cimport ask_by_arp
from native.neighbour_learn cimport REQUEST_RATE
from native.neighbour_nd cimport ask_by_nd
from native.neighbour_table cimport add_neighbour, find_neighbour, hold, outbox_add, set_state, within_rate
from native.nexthop cimport HOP_NONE, NextHop, is_gateway, next_hop
from native.packet cimport PARSED, Packet, parse
from native.program cimport ProgramData, side_of
from native.wire cimport be32, be64


cdef inline void ask(Neighbours *table, const ProgramData *program, uint16_t number, Outbox *outbox) noexcept nogil:
    # One request more for a neighbour's address.
    table.pool[number].probes += 1
    if table.pool[number].family == 4:
        ask_by_arp(table, program, number, outbox)
    else:
        ask_by_nd(table, program, number, outbox)


cdef inline void tell_sender(
    Neighbours *table, const ProgramData *program, uint16_t port, uint8_t *frame, uint32_t length, uint8_t icmp_type,
    uint8_t icmp_code, uint32_t second_word, Outbox *outbox
) noexcept nogil:
    # An error comes from the port's own address and quotes the packet as it would have left: sessions translate both.
    # Pieces of datagrams are not answered.  Half of the outbox is not for errors.
    cdef Packet packet
    cdef uint8_t *out
    cdef uint32_t size
    parse(&packet, frame, length, side_of(program, port), False)
    if packet.error != PARSED or not answerable(program, &packet):
        return
    if outbox.count >= OUTBOX_FRAMES // 2:
        table.ports[port].counts[<int>LC_OUTBOX_FULL] += 1
        return
    out = outbox_add(table, outbox, port, OUT_ERROR, ANSWER_SIZE)
    if out == NULL:
        return
    size = icmp_error(program, &packet, port, icmp_type, icmp_code, second_word, out)
    outbox.used -= ANSWER_SIZE - size
    if size == 0:
        outbox.count -= 1
    else:
        outbox.frames[outbox.count - 1].length = size


cdef inline void tell_unreachable(
    Neighbours *table, const ProgramData *program, uint16_t port, uint8_t *frame, uint32_t length, Outbox *outbox
) noexcept nogil:
    # RFC 1812 4.3.3.1 and RFC 4443 3.1: host unreachable, address unreachable.
    if length > 14 and frame[14] >> 4 == 6:
        tell_sender(table, program, port, frame, length, 1, 3, 0, outbox)
    else:
        tell_sender(table, program, port, frame, length, 3, 1, 0, outbox)


cdef inline void refuse_too_big(
    Neighbours *table, const ProgramData *program, uint16_t port, uint8_t *frame, uint32_t length, uint32_t mtu,
    Outbox *outbox
) noexcept nogil:
    # RFC 1191, RFC 4443 3.2: frag-needed, packet-too-big, with what the device carries.
    table.ports[port].counts[<int>LC_TOO_BIG] += 1
    if frame[14] >> 4 == 6:
        tell_sender(table, program, port, frame, length, 2, 0, mtu, outbox)
    else:
        tell_sender(table, program, port, frame, length, 3, 4, mtu, outbox)


cdef inline int refuse(
    Neighbours *table, const ProgramData *program, uint16_t port, uint8_t *frame, uint32_t length, int count,
    Outbox *outbox
) noexcept nogil:
    table.ports[port].counts[count] += 1
    tell_unreachable(table, program, port, frame, length, outbox)
    return L_DROPPED


cdef inline int resolve_anew(
    Neighbours *table, const ProgramData *program, uint16_t port, uint8_t family, const NextHop *hop,
    const uint8_t *frame, uint32_t length, uint64_t now, Outbox *outbox, const uint8_t *offload
) noexcept nogil:
    # Nobody has asked for this neighbour yet.  Requests are rationed, or a scan would become a storm; not those for
    # routers that the program relies on.
    cdef LinkPort *state = &table.ports[port]
    cdef uint16_t number
    if not (within_rate(&state.next_solicit, now, REQUEST_RATE) or is_gateway(program, port, family, hop.hi, hop.lo)):
        state.counts[<int>LC_LIMITED] += 1
        return L_DROPPED
    number = add_neighbour(table, program, port, family, hop.hi, hop.lo, N_INCOMPLETE, now)
    if number == NO_NEIGHBOUR:
        return L_DROPPED
    ask(table, program, number, outbox)
    hold(table, number, frame, length, offload)
    return L_HELD


cdef inline int send_or_hold(
    Neighbours *table, const ProgramData *program, uint16_t port, uint8_t *frame, uint32_t length, uint64_t now,
    Outbox *outbox, const uint8_t *offload
) noexcept nogil:
    # An untagged frame with an IP packet to a station.
    cdef uint8_t family = 4 if frame[12] == 0x08 else 6
    cdef Neighbour *one
    cdef NextHop hop
    cdef uint64_t hi = 0 if family == 4 else be64(frame + 38)
    cdef uint64_t lo = be32(frame + 30) if family == 4 else be64(frame + 46)
    cdef uint16_t number
    if next_hop(program, port, family, hi, lo, &hop) == HOP_NONE:
        return refuse(table, program, port, frame, length, LC_NO_NEXT_HOP, outbox)
    number = find_neighbour(table, port, family, hop.hi, hop.lo)
    if number != NO_NEIGHBOUR and table.pool[number].state == N_FAILED:
        return refuse(table, program, port, frame, length, LC_UNREACHABLE, outbox)
    if length > HELD_SIZE and (number == NO_NEIGHBOUR or table.pool[number].state == N_INCOMPLETE):
        table.ports[port].counts[<int>LC_HELD_DROPPED] += 1
        return L_DROPPED
    if number == NO_NEIGHBOUR:
        return resolve_anew(table, program, port, family, &hop, frame, length, now, outbox, offload)
    one = &table.pool[number]
    if one.state == N_INCOMPLETE:
        hold(table, number, frame, length, offload)
        return L_HELD
    if one.state == N_STALE:
        set_state(table, number, N_DELAY, now)
    memcpy(frame, one.mac, 6)
    return L_SEND
