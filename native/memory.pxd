# Memory for tables: zeroed, either on a cache line of its own and alive as long as the list that keeps it, or a
# reservation of address space that costs nothing until it is touched.

from cpython.bytearray cimport PyByteArray_AS_STRING
from libc.stdint cimport uint64_t
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize

cdef extern from "sys/mman.h" nogil:
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void *address, size_t length)
    void *mremap(void *old, size_t old_length, size_t new_length, int flags)
    int MREMAP_MAYMOVE
    int madvise(void *address, size_t length, int advice)
    int PROT_READ
    int PROT_WRITE
    int MAP_PRIVATE
    int MAP_ANONYMOUS
    int MAP_NORESERVE
    int MADV_HUGEPAGE
    void *MAP_FAILED


cdef enum:
    PAGE = 4096
    HUGE_PAGE = 2 << 20


cdef inline void *block(list keep, size_t size) except NULL:
    owner = bytearray(size + 64)
    keep.append(owner)
    return <void *>((<size_t>PyByteArray_AS_STRING(owner) + 63) & ~<size_t>63)


cdef inline void *unset(list keep, size_t size) except NULL:
    # Not zeroed, for what is written at once.
    owner = PyBytes_FromStringAndSize(NULL, size + 64)
    keep.append(owner)
    return <void *>((<size_t>PyBytes_AS_STRING(owner) + 63) & ~<size_t>63)


cdef inline void *reserve(size_t size) noexcept nogil:
    # NULL when the system refuses; to be given back by release().
    cdef void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    return NULL if memory == MAP_FAILED else memory


cdef inline void release(void *memory, size_t size) noexcept nogil:
    if memory != NULL and size:
        munmap(memory, size)


cdef inline void *reserve_huge(size_t size) noexcept nogil:
    # The same with pages as large as the size allows: what is read at random then costs no walk through page tables.
    cdef size_t begin
    cdef size_t end
    cdef size_t front
    cdef void *memory
    if size < HUGE_PAGE:
        return reserve(size)
    memory = reserve(size + HUGE_PAGE)
    if memory == NULL:
        return NULL
    begin = (<size_t>memory + HUGE_PAGE - 1) & ~(<size_t>HUGE_PAGE - 1)
    end = (begin + size + PAGE - 1) & ~(<size_t>PAGE - 1)
    front = begin - <size_t>memory
    release(memory, front)
    release(<void *>end, HUGE_PAGE - front - (end - begin - size))
    madvise(<void *>begin, size, MADV_HUGEPAGE)
    return <void *>begin


cdef inline void *enlarge(void *memory, size_t size, size_t wanted) noexcept nogil:
    # A reservation with more room and the same contents, maybe elsewhere (`memory` NULL: a new one); NULL with nothing
    # changed.
    cdef void *larger
    if memory == NULL:
        return reserve(wanted)
    larger = mremap(memory, size, wanted, MREMAP_MAYMOVE)
    return NULL if larger == MAP_FAILED else larger


cdef inline int enlarge_to(void **memory, uint64_t *size, uint64_t wanted) noexcept nogil:
    # A reservation of at least so many bytes, and how many it has; 0, or -1 with nothing changed.
    cdef void *larger
    if wanted <= size[0]:
        return 0
    larger = enlarge(memory[0], size[0], wanted)
    if larger == NULL:
        return -1
    memory[0] = larger
    size[0] = wanted
    return 0


cdef inline int breathe(size_t number) except -1:
    # In a loop over Python objects, with its count: other threads have the interpreter now and then.
    if number & 255 == 255:
        rest()
    return 0


cdef inline int rest() except -1:
    # Between steps of a few milliseconds: whoever waits for the interpreter for longer than that has it now.
    with nogil:
        pass
    return 0
