# The machine as compiled code sees it: its cycle counter, and the compiler that made this build.

from libc.stdint cimport uint64_t

cdef extern from *:
    """
    #include <time.h>
    #if defined(__x86_64__)
    #include <x86intrin.h>
    static inline uint64_t t1_ticks(void) { unsigned aux; return __rdtscp(&aux); }
    #else
    static inline uint64_t t1_ticks(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    }
    #endif
    #if defined(__clang__)
    #define T1_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define T1_COMPILER "gcc " __VERSION__
    #else
    #define T1_COMPILER "unknown"
    #endif
    """
    uint64_t ticks "t1_ticks"() noexcept nogil
    const char *T1_COMPILER
