# A port without a device: frames wait in memory, bounded, until somebody takes them.

from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from native.port cimport (
    ARRIVALS, Arrival, IoPort, Queue, ROOM_FOR_ONE, count_arrival, count_departure, has_vlan_tag,
)

cdef enum:
    QUEUE_SIZE = 1 << 20        # bytes


cdef inline void ring_copy_in(Queue *queue, uint32_t at, const uint8_t *data, uint32_t size) noexcept nogil:
    cdef uint32_t first
    at = at % QUEUE_SIZE
    first = min(size, <uint32_t>QUEUE_SIZE - at)
    memcpy(queue.bytes + at, data, first)
    memcpy(queue.bytes, data + first, size - first)


cdef inline void ring_copy_out(const Queue *queue, uint32_t at, uint8_t *data, uint32_t size) noexcept nogil:
    cdef uint32_t first
    at = at % QUEUE_SIZE
    first = min(size, <uint32_t>QUEUE_SIZE - at)
    memcpy(data, queue.bytes + at, first)
    memcpy(data + first, queue.bytes, size - first)


cdef inline uint32_t queue_head(const Queue *queue) noexcept nogil:
    # Length of the oldest frame.
    cdef uint32_t length = 0
    ring_copy_out(queue, queue.first, <uint8_t *>&length, 4)
    return length


cdef inline void queue_drop(Queue *queue) noexcept nogil:
    cdef uint32_t size = 4 + queue_head(queue)
    queue.first = (queue.first + size) % QUEUE_SIZE
    queue.used -= size
    queue.count -= 1


cdef inline uint32_t queue_put(Queue *queue, const uint8_t *frame, uint32_t length) noexcept nogil:
    # How many older frames had to go.
    cdef uint32_t lost = 0
    while queue.used + 4 + length > QUEUE_SIZE:
        queue_drop(queue)
        lost += 1
    ring_copy_in(queue, queue.first + queue.used, <const uint8_t *>&length, 4)
    ring_copy_in(queue, queue.first + queue.used + 4, frame, length)
    queue.used += 4 + length
    queue.count += 1
    return lost


cdef inline int memory_open(IoPort *port) noexcept nogil:
    port.waiting.bytes = <uint8_t *>malloc(QUEUE_SIZE)
    port.sent.bytes = <uint8_t *>malloc(QUEUE_SIZE)
    return -1 if port.waiting.bytes == NULL or port.sent.bytes == NULL else 0


cdef inline void memory_close(IoPort *port) noexcept nogil:
    free(port.waiting.bytes)
    free(port.sent.bytes)


cdef inline uint32_t memory_receive(
    IoPort *port, Arrival *arrivals, uint8_t *arena, uint32_t room
) noexcept nogil:
    cdef uint32_t count = 0
    cdef uint32_t used = 0
    cdef uint32_t length
    while port.waiting.count and count < ARRIVALS and room - used >= ROOM_FOR_ONE:
        length = queue_head(&port.waiting)
        ring_copy_out(&port.waiting, port.waiting.first + 4, arena + used, length)
        queue_drop(&port.waiting)
        count_arrival(port, length)
        if has_vlan_tag(arena + used, length):
            port.counters.rx_dropped += 1
            continue
        arrivals[count].frame = arena + used
        arrivals[count].length = length
        memset(&arrivals[count].vnet, 0, sizeof(arrivals[count].vnet))
        count += 1
        used += (length + 63) & ~<uint32_t>63
    return count


cdef inline void memory_send(IoPort *port, const uint8_t *frame, uint32_t length) noexcept nogil:
    # What nobody takes in time is forgotten; it has left all the same.
    queue_put(&port.sent, frame, length)
    count_departure(port, length)
