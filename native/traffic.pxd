# What passes the ports of the edge.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from native.cut cimport next_piece
from native.engine cimport PortCounter, Result, State
from native.packet cimport PARSED, Packet
from native.record cimport NO_PORT
from native.stats cimport R_FRAGMENT_HELD
from native.wire cimport likely


cdef inline void count_received(State *state, uint16_t port, const Packet *packet, uint32_t length) noexcept nogil:
    # A frame that has just been parsed: bytes of IP, or all behind the Ethernet header where there is no packet.
    cdef PortCounter *counter = &state.port_counters[port]
    counter.received_packets += 1
    if likely(packet.error == PARSED) or packet.error == R_FRAGMENT_HELD:
        counter.received_bytes += packet.ip_len
    elif length > 14:
        counter.received_bytes += length - 14


cdef inline void count_sent(State *state, const Result *result, uint8_t *room) noexcept nogil:
    # What leaves, if anything does, piece by piece; `room` is for one of them.
    cdef PortCounter *counter
    cdef uint32_t done = 0
    cdef uint32_t length
    if result.out_port == NO_PORT:
        return
    counter = &state.port_counters[result.out_port]
    if likely(not result.sized or result.limit == 0):
        counter.sent_packets += 1
        counter.sent_bytes += result.length - 14
        return
    while True:
        length = next_piece(result, &done, room)
        if length == 0:
            return
        counter.sent_packets += 1
        counter.sent_bytes += length - 14
