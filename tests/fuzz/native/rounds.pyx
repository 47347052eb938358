"""What lies between ports and pipeline, for fuzzing: frames with the header of Linux before them, and rounds of
forwarding by a clock of the caller's.

Every frame ends before a page that may not be touched, and so does the room that segments are written to.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_PRIVATE, PROT_NONE, PROT_READ, PROT_WRITE, mmap, mprotect, munmap

from native.answer cimport ANSWER_ROOM
from native.engine cimport Engine, Work
from native.forward cimport admit_frame, empty_outbox, flush_all, forward_round, judge, judge_large
from native.packet cimport PARSED, Packet, parse
from native.port cimport Arrival, IoPort, Ports, port_of
from native.segment cimport Segments, begin_segments, next_segment
from native.vnet cimport VNET_SIZE, Vnet, finish_checksum, is_segmentable
from native.work cimport prepare

cdef enum:
    PAGE = 4096
    AREA = 20 * PAGE
    LARGEST = 65553
    MOST_SEGMENTS = 70000


cdef uint8_t *guarded() except NULL:
    # AREA bytes before a page that may not be touched.
    cdef uint8_t *area = <uint8_t *>mmap(NULL, AREA + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    if area == <uint8_t *>MAP_FAILED:
        raise MemoryError
    if mprotect(area + AREA, PAGE, PROT_NONE):
        munmap(area, AREA + PAGE)
        raise MemoryError
    return area


cdef uint8_t *place(uint8_t *area, const uint8_t[::1] frame) except NULL:
    cdef size_t size = <size_t>frame.shape[0]
    if size > LARGEST:
        raise ValueError("this frame is too large")
    if size:
        memcpy(area + AREA - size, &frame[0], size)
    return area + AREA - size


cdef Vnet header_of(bytes header):
    cdef Vnet vnet
    if len(header) != VNET_SIZE:
        raise ValueError(f"a header has {VNET_SIZE} bytes")
    memcpy(&vnet, <const uint8_t *>header, VNET_SIZE)
    return vnet


def finished(bytes header not None, const uint8_t[::1] frame not None):
    """The frame with the checksum that its header asks for, None where the header is refused."""
    cdef uint8_t *area = guarded()
    cdef Vnet vnet = header_of(header)
    cdef uint8_t *here
    try:
        here = place(area, frame)
        if not finish_checksum(here, <uint32_t>frame.shape[0], &vnet):
            return None
        return <bytes>here[:frame.shape[0]]
    finally:
        munmap(area, AREA + PAGE)


def segments(bytes header not None, const uint8_t[::1] frame not None):
    """The frames that a large one is cut into, with the bytes of headers before each one's payload; None where it is
    not what its header calls it."""
    cdef uint8_t *area = guarded()
    cdef uint8_t *room = NULL
    cdef Vnet vnet = header_of(header)
    cdef Packet packet
    cdef Segments cut
    cdef uint32_t length
    cdef uint8_t *out
    cdef uint8_t *here
    cdef list found = []
    try:
        room = guarded()
        here = place(area, frame)
        parse(&packet, here, <uint32_t>frame.shape[0], 0, True)
        if packet.error != PARSED or not is_segmentable(&packet, &vnet):
            return None
        out = room + AREA - ANSWER_ROOM
        begin_segments(&cut, &packet, packet.l3 - 14, &vnet)
        while len(found) < MOST_SEGMENTS:
            length = next_segment(&cut, out)
            if length == 0:
                break
            found.append(<bytes>out[:length])
        return cut.l3_size + cut.l4_size + 14, cut.payload, found
    finally:
        munmap(area, AREA + PAGE)
        if room != NULL:
            munmap(room, AREA + PAGE)


cdef class Rounds:
    """An edge that forwards between ``ports``, when it is told to.  ``engine`` has a link layer."""

    cdef Engine engine
    cdef Ports ports
    cdef Work work
    cdef uint8_t *area

    def __cinit__(self, Engine engine not None, Ports ports not None):
        if engine.links is None:
            raise ValueError("this engine has no link layer")
        self.engine, self.ports = engine, ports
        self.area = guarded()
        prepare(engine, &self.work, ports)

    def __dealloc__(self):
        if self.area != NULL:
            munmap(self.area, AREA + PAGE)
        free(self.work.room)

    def begin(self, uint64_t now_ns):
        """Time is this from now on; it has to be ahead of the machine's own."""
        self.engine.state.now = now_ns

    def arrive(self, uint16_t number, bytes header not None, const uint8_t[::1] frame not None):
        """A frame with a header by the port of a number, as from a device that gives such."""
        cdef Arrival arrival
        cdef IoPort *port = port_of(&self.ports.table, number)
        if port == NULL:
            raise IndexError(f"there is no port {number}")
        arrival.vnet = header_of(header)
        arrival.length = <uint32_t>frame.shape[0]
        arrival.frame = place(self.area, frame)
        with nogil:
            admit_frame(&self.work, number, port, &arrival, &self.work.packets[0])
            if arrival.length:
                if arrival.vnet.gso_type:
                    judge_large(&self.work, &self.work.packets[0], number, arrival.frame, arrival.length, &arrival.vnet)
                else:
                    judge(&self.work, &self.work.packets[0], number, arrival.length, NULL, False)
            empty_outbox(&self.work)
            flush_all(&self.work)

    def go(self, uint64_t advance_ns):
        """One round after so much time: how many frames had come."""
        cdef uint32_t found
        with nogil:
            self.work.state.now += advance_ns
            found = forward_round(&self.work)
        return found
