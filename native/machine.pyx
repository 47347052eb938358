"""The machine as compiled code sees it: its cycle counter, the compiler that made this build, the C library's heap."""

from native.machine cimport T1_COMPILER, ticks

cdef extern from *:
    """
    #include <malloc.h>
    #if defined(__GLIBC__)
    static int t1_one_heap(void) {
        return mallopt(M_ARENA_MAX, 1) && mallopt(M_MMAP_THRESHOLD, 128 << 10) && mallopt(M_TRIM_THRESHOLD, 256 << 10);
    }
    #else
    static int t1_one_heap(void) { return 0; }
    #endif
    """
    int t1_one_heap() noexcept nogil

COMPILER = T1_COMPILER.decode("ascii")


def clock_ticks() -> int:
    """The counter that native timing uses: the time stamp counter on x86-64, nanoseconds elsewhere."""
    return ticks()


def one_heap() -> bool:
    """Let all threads of this process take their memory from one heap, and large blocks from the system itself."""
    return t1_one_heap() != 0
