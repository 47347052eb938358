# How a frame that nobody received from a port becomes a packet: captures, tests and measurements.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from native.engine cimport State
from native.packet cimport PARSED, Packet, parse
from native.program cimport ProgramData, side_of
from native.route cimport NOWHERE, map_lookup
from native.session cimport set_hash
from native.stats cimport R_FRAGMENT_HELD


cdef inline uint16_t port_of_source(const ProgramData *program, const Packet *packet) noexcept nogil:
    # The network that contains the source, else the first port.
    cdef uint32_t port = NOWHERE
    if packet.error == PARSED or packet.error == R_FRAGMENT_HELD:
        port = map_lookup(&program.ingress_map[packet.family == 6], packet.key.src_hi, packet.key.src_lo)
    return program.default_port if port == NOWHERE else <uint16_t>port


cdef inline void set_and_parse(
    State *state, const ProgramData *program, Packet *packet, uint8_t *frame, uint32_t size, uint16_t port,
    bint unsegmented
) noexcept nogil:
    parse(packet, frame, size, side_of(program, port), unsegmented)
    set_hash(&state.table, packet)
