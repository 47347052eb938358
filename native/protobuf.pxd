# Protocol buffers, written from their end to their beginning: what is inside a message stands before its length is
# asked for.  A field that has its default is left out, and fields that are written from the last to the first stand as
# every other implementation writes them.  See https://protobuf.dev/programming-guides/encoding/

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

cdef enum:
    VARINT = 0              # wire types, the low bits of a tag
    CONTENT = 2

ctypedef struct Tail:
    # What is written lies from `at` to `end`; the writer has made sure of room.
    uint8_t *begin
    uint8_t *at
    uint8_t *end


cdef inline bint make_room(Tail *tail, size_t size) noexcept nogil:
    # Room for so many bytes more; False when there is no memory.
    cdef size_t used = <size_t>(tail.end - tail.at)
    cdef size_t wanted
    cdef uint8_t *fresh
    if <size_t>(tail.at - tail.begin) >= size:
        return True
    wanted = 2 * (used + size)
    fresh = <uint8_t *>malloc(wanted)
    if fresh == NULL:
        return False
    memcpy(fresh + wanted - used, tail.at, used)
    free(tail.begin)
    tail.begin = fresh
    tail.end = fresh + wanted
    tail.at = tail.end - used
    return True


cdef inline void put_varint(Tail *tail, uint64_t number) noexcept nogil:
    # Base 128, the low digits first.
    cdef uint8_t digits[10]
    cdef int count = 0
    while number >= 0x80:
        digits[count] = <uint8_t>(number | 0x80)
        number >>= 7
        count += 1
    digits[count] = <uint8_t>number
    count += 1
    tail.at -= count
    memcpy(tail.at, digits, count)


cdef inline void put_number(Tail *tail, uint32_t field, uint64_t number) noexcept nogil:
    if number:
        put_varint(tail, number)
        put_varint(tail, field << 3 | VARINT)


cdef inline void put_head(Tail *tail, uint32_t field, const uint8_t *end) noexcept nogil:
    # Before a member that was written since the tail was at `end`.
    put_varint(tail, <uint64_t>(end - tail.at))
    put_varint(tail, field << 3 | CONTENT)


cdef inline void put_text(Tail *tail, uint32_t field, const char *text, size_t size) noexcept nogil:
    cdef uint8_t *end = tail.at
    if size:
        tail.at -= size
        memcpy(tail.at, text, size)
        put_head(tail, field, end)
