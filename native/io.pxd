# The kinds of port behind one face.

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memset

from native.port cimport IO_LINK, IO_MEMORY, IO_TAP, Arrival, IoPort
from native.port_link cimport link_flush, link_receive, link_release, link_send
from native.port_memory cimport memory_receive, memory_send
from native.port_tap cimport tap_receive, tap_send
from native.vnet cimport Vnet
from native.wire cimport likely


cdef inline uint32_t port_receive(IoPort *port, Arrival *arrivals, uint8_t *arena, uint32_t room) noexcept nogil:
    # How many frames have come.  They stay until port_release().
    if likely(port.kind == IO_LINK):
        return link_receive(port, arrivals, arena, room)
    if port.failed or port.silent:
        return 0
    if port.kind == IO_TAP:
        return tap_receive(port, arrivals, arena, room)
    if port.kind == IO_MEMORY:
        return memory_receive(port, arrivals, arena, room)
    return 0


cdef inline void port_release(IoPort *port) noexcept nogil:
    if likely(port.kind == IO_LINK):
        link_release(port)


cdef inline bint port_send(IoPort *port, const uint8_t *frame, uint32_t length, const Vnet *vnet) noexcept nogil:
    # `vnet` is NULL but for what is to be cut into segments.  False where the port does not take such; then nothing has
    # been counted.
    if likely(port.kind == IO_LINK):
        return link_send(port, frame, length, vnet)
    if port.kind == IO_TAP and not port.failed:
        return tap_send(port, frame, length, vnet)
    if port.kind == IO_MEMORY:
        if vnet != NULL:
            return False
        memory_send(port, frame, length)
        return True
    port.counters.tx_dropped += 1
    return True


cdef inline void port_flush(IoPort *port) noexcept nogil:
    if likely(port.kind == IO_LINK):
        link_flush(port)
