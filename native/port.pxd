# The edge's ports as files of this machine: what came in by one, burst by burst, and what is to leave by it.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from native.record cimport NO_PORT
from native.vnet cimport Vnet

cdef enum:
    ARRIVALS = 256              # frames of one port in one burst
    FRAME_HEAD = 14
    ROOM_FOR_ONE = 10 + 14 + 8 + 65535      # bytes that the largest frame needs, with the header before it
    TICK_MS = 100               # longest sleep: timers run on

cdef enum IoKind:
    IO_CLOSED = 0
    IO_MEMORY = 1
    IO_TAP = 2
    IO_LINK = 3

ctypedef struct IoCounters:
    uint64_t rx_packets
    uint64_t rx_bytes
    uint64_t rx_dropped         # no room, cut short, or of a VLAN: the edge has none
    uint64_t tx_packets
    uint64_t tx_bytes
    uint64_t tx_dropped         # not taken by the device: its queue is full, it is down, the frame is too long for it

ctypedef struct Arrival:
    # A frame that has come.  It stays where it is until port_release().
    uint8_t *frame
    uint32_t length
    Vnet vnet

ctypedef struct Rings:
    # Of a link: two rings of equal slots that the kernel shares (linux/if_packet.h), and what is taken from them.
    int large_fd                # of a second socket, by which large frames leave
    uint8_t *memory
    uint64_t size
    uint8_t *tx
    uint32_t rx_slot            # bytes
    uint32_t rx_count
    uint32_t rx_at
    uint32_t held               # slots before rx_at that are not released
    uint32_t tx_slot
    uint32_t tx_at
    uint32_t unsent             # slots before tx_at that the kernel has not been told of, or has not taken

ctypedef struct Queue:
    # Of a memory port: frames one behind the other, each after its length; the oldest give way.
    uint8_t *bytes
    uint32_t first
    uint32_t used
    uint32_t count

ctypedef struct IoPort:
    uint8_t kind                # an IoKind
    bint silent                 # it only sends: another worker takes in what comes
    bint failed                 # nothing goes any more; who opened it has to open it again
    uint16_t number             # of the program's port, NO_PORT: there is none
    uint8_t mac[6]
    int fd
    uint32_t longest            # bytes of a frame of one packet that the device takes
    IoCounters counters
    Rings rings
    Queue waiting
    Queue sent

ctypedef struct IoTable:
    IoPort *ports
    uint32_t count
    uint32_t *by_number         # port of each of the program's ports, NO_SUCH: none
    uint32_t numbers
    int wake_fd
    int stop


cdef class Ports:
    cdef IoTable table

    cdef IoPort *_open(self, uint32_t slot) except NULL
    cdef IoPort *_closed(self, uint32_t slot, mac) except NULL


cdef extern from *:
    """
    static inline int t1_load_flag(const int *flag) { return __atomic_load_n(flag, __ATOMIC_ACQUIRE); }
    static inline void t1_store_flag(int *flag, int v) { __atomic_store_n(flag, v, __ATOMIC_RELEASE); }
    """
    int load_flag "t1_load_flag"(const int *flag) noexcept nogil
    void store_flag "t1_store_flag"(int *flag, int value) noexcept nogil


cdef inline bint has_vlan_tag(const uint8_t *frame, uint32_t length) noexcept nogil:
    # Of a VLAN: a tag that only bears a priority is none, IEEE 802.1Q.
    if length < 18 or not ((frame[12] == 0x81 and frame[13] == 0) or (frame[12] == 0x88 and frame[13] == 0xa8)):
        return False
    return (frame[14] & 15) != 0 or frame[15] != 0


cdef inline void count_arrival(IoPort *port, uint32_t length) noexcept nogil:
    port.counters.rx_packets += 1
    port.counters.rx_bytes += length


cdef inline void count_departure(IoPort *port, uint32_t length) noexcept nogil:
    port.counters.tx_packets += 1
    port.counters.tx_bytes += length


cdef inline IoPort *port_of(const IoTable *table, uint16_t number) noexcept nogil:
    # What the program's port is bound to, NULL for nothing.
    cdef uint32_t slot
    if number >= table.numbers:
        return NULL
    slot = table.by_number[number]
    return NULL if slot >= table.count else &table.ports[slot]
