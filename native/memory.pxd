# Memory for tables: zeroed, on a cache line of its own, alive as long as the list that keeps it.

from cpython.bytearray cimport PyByteArray_AS_STRING


cdef inline void *block(list keep, size_t size) except NULL:
    owner = bytearray(size + 64)
    keep.append(owner)
    return <void *>((<size_t>PyByteArray_AS_STRING(owner) + 63) & ~<size_t>63)
