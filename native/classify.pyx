"""Builds classifier tables from flat rules (:class:`edge.flat.FlatRules`)."""

from array import array

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.classify cimport NO_RULE, Rules, ask, first_match
from native.classify_family cimport AT_PORT, NOWHERE, WIDE, Placing
from native.classify_fill cimport fill_family
from native.classify_services cimport AT_PORTS_ONLY, IN_BUCKET, Columns, PortSets
from native.memory cimport block, rest
from native.packet cimport Key

cdef enum:
    CELL_WORDS = 1 << 23        # 32 MiB for the rows of all cells while they are made
    SMALL = 2048                # three bit vectors of 256 bytes are read faster than buckets

cdef extern from *:
    """
    #include "classify.h"
    #if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)
    #define T1_DISPATCH 1
    #include <immintrin.h>
    #pragma GCC push_options
    #pragma GCC target("arch=x86-64-v4,avx512vbmi2")
    #define T1_WIDE
    #define T1_AS(name) t1_v4_##name
    static const uint8_t t1_numbers[64] __attribute__((aligned(64))) = {
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29,
        30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52, 53, 54, 55, 56, 57,
        58, 59, 60, 61, 62, 63,
    };
    #include "classify_kernel.inc"
    #undef T1_AS
    #define T1_SPARSE
    #define T1_AS(name) t1_v4_sparse_##name
    #include "classify_kernel.inc"
    #undef T1_SPARSE
    #undef T1_WIDE
    #undef T1_AS
    #pragma GCC pop_options
    #pragma GCC push_options
    #pragma GCC target("arch=x86-64-v3")
    #define T1_AS(name) t1_v3_##name
    #include "classify_kernel.inc"
    #undef T1_AS
    #define T1_SPARSE
    #define T1_AS(name) t1_v3_sparse_##name
    #include "classify_kernel.inc"
    #undef T1_SPARSE
    #undef T1_AS
    #pragma GCC pop_options
    #endif
    #define T1_AS(name) t1_plain_##name
    #include "classify_kernel.inc"
    #undef T1_AS
    #define T1_SPARSE
    #define T1_AS(name) t1_plain_sparse_##name
    #include "classify_kernel.inc"
    #undef T1_SPARSE
    #undef T1_AS
    /* 4, 3 or 0: the widest version of x86-64 that this processor and this build have. */
    static int t1_width(void) {
    #ifdef T1_DISPATCH
        if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2")
            || !__builtin_cpu_supports("fma") || !__builtin_cpu_supports("lzcnt") || !__builtin_cpu_supports("movbe")
            || !__builtin_cpu_supports("f16c") || !__builtin_cpu_supports("popcnt"))
            return 0;
        if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
            && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")
            && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512vbmi2"))
            return 4;
        return 3;
    #else
        return 0;
    #endif
    }
    static void t1_use(t1_rules *rules, int width) {
        rules->one = t1_plain_one;
        rules->many = t1_plain_many;
    #ifdef T1_DISPATCH
        if (width == 3) {
            rules->one = t1_v3_one;
            rules->many = t1_v3_many;
        }
        if (width == 4) {
            rules->one = t1_v4_one;
            rules->many = t1_v4_many;
        }
    #endif
        (void)width;
    }
    /* The same lookup, only that it leaves out what is dead. */
    static void t1_leave_out(t1_rules *rules, const uint64_t *dead) {
        rules->dead = dead;
    #ifdef T1_DISPATCH
        if (rules->one == t1_v4_one) {
            rules->one = t1_v4_sparse_one;
            return;
        }
        if (rules->one == t1_v3_one) {
            rules->one = t1_v3_sparse_one;
            return;
        }
    #endif
        rules->one = t1_plain_sparse_one;
    }
    """
    int widest "t1_width"() noexcept nogil
    void use_width "t1_use"(Rules *rules, int width) noexcept nogil
    void leave_out "t1_leave_out"(Rules *rules, const uint64_t *dead) noexcept nogil


def widths() -> tuple[int, ...]:
    """The kernels that this processor and this build have: 4 for x86-64-v4 (with VBMI2), 3 for -v3, 0 for any."""
    return tuple(width for width in (0, 3, 4) if width <= widest())


cdef uint8_t homes_of(Placing one, Placing other, size_t rule) noexcept:
    # Where a rule stands in the families that it is of.
    cdef uint8_t home = one.home[rule]
    cdef uint8_t second = other.home[rule]
    if (home == AT_PORT or second == AT_PORT) and (home == NOWHERE or second == NOWHERE or home == second):
        return AT_PORTS_ONLY
    return IN_BUCKET if home < WIDE or second < WIDE else 0


cdef class RuleTable:
    """An immutable first-match table.

    The other arguments are for tests. ``width`` is one of :func:`widths`, -1 the widest; ValueError where there is no
    such kernel. Up to ``small`` rules of a family are all wide. ``cell_words`` is how many words of 32 bits the columns
    of all cells may take before they are shared.
    """

    def __cinit__(self, flat, int width=-1, uint32_t small=SMALL, uint32_t cell_words=CELL_WORDS):
        cdef size_t count = len(flat.rule)
        cdef Columns columns = Columns()
        cdef PortSets ports = None
        cdef list placings = []
        cdef list temporary = []
        cdef uint8_t *homes = <uint8_t *>block(temporary, count + 1)
        cdef const uint32_t[::1] numbers
        cdef size_t i
        if width >= 0 and width not in widths():
            raise ValueError(f"this processor, or this build, has no kernel of width {width}")
        self.blocks = []
        width = widest() if width < 0 else width
        use_width(&self.rules, width)
        self.rules.wide_vectors = width == 4
        self.rules.empty = count == 0
        self.count = <uint32_t>count
        if count > small:
            ports = PortSets(flat)
        for which in range(2 if count else 0):
            # Each list of services begins and ends at a bound, so that there are about twice as many rows.
            placings.append(Placing(flat, which, small, 2 * <uint32_t>len(flat.service_offset), ports))
        for i in range(count):
            homes[i] = homes_of(placings[0], placings[1], i)
        columns.number(flat, ports, homes)
        columns.fill(&self.rules, flat, [] if ports is None else ports.rests, self.blocks, cell_words)
        if count == 0:
            return
        numbers = flat.rule
        if flat.rule != array("I", range(count)):
            self.rules.number = <uint32_t *>block(self.blocks, 4 * count)
            for i in range(count):
                self.rules.number[i] = numbers[i]
        for which in range(2):
            rest()
            fill_family(placings[which], &self.rules.family[which], &self.rules, columns, flat, which, self.blocks)

    cdef Rules without(self, const uint64_t *dead):
        # The table with a lookup that leaves rules out: `dead` has a bit for each of them and lives as long as what is
        # returned, as does this table.
        cdef Rules rules = self.rules
        leave_out(&rules, dead)
        return rules

    def lookup(self, int family, src: int, dst: int, int protocol, uint16_t sport=0, uint16_t dport=0,
               uint8_t icmp_type=0, uint8_t icmp_code=0, uint8_t direction=0) -> int | None:
        """The caller's number of the first rule that matches, None when none does; addresses are integers."""
        cdef Key key
        cdef uint32_t found
        ask(&key, family, src, dst, protocol, sport, dport)
        found = first_match(&self.rules, &key, icmp_type, icmp_code, direction)
        return None if found == NO_RULE else found

    def lookup_many(self, keys, uint32_t[::1] out not None, const uint16_t[::1] icmp=None, uint8_t direction=0):
        """Like :meth:`lookup` for every packed ``Key``, without the GIL; 0xffffffff in ``out`` where no rule matches.

        ``keys`` are bytes-like, 40 bytes a key: five unsigned 64-bit numbers in the machine's byte order, which are
        source port << 48 | destination port << 32 | protocol << 24 | family << 16, the low words of source and
        destination, and their high words. ``icmp`` gives each its ICMP type << 8 | code; without it they are 0.

        Raises ValueError where the three do not fit each other, or numbers do not lie at multiples of their size.
        """
        cdef const uint8_t[::1] octets = memoryview(keys).cast("B")
        cdef Py_ssize_t count = out.shape[0]
        if octets.shape[0] != count * <Py_ssize_t>sizeof(Key):
            raise ValueError(f"{octets.shape[0]} bytes of keys for {count} answers, each of which takes {sizeof(Key)}")
        if icmp is not None and icmp.shape[0] != count:
            raise ValueError(f"{icmp.shape[0]} ICMP types for {count} answers")
        if count and (<size_t>&octets[0] % sizeof(uint64_t) or <size_t>&out[0] % sizeof(uint32_t)
                      or (icmp is not None and <size_t>&icmp[0] % sizeof(uint16_t))):
            raise ValueError("numbers have to lie at multiples of their size")
        if self.rules.empty:
            out[:] = NO_RULE
        elif count:
            with nogil:
                self.rules.many(
                    &self.rules, <const uint64_t *>&octets[0], NULL if icmp is None else &icmp[0], direction, count,
                    &out[0])

    def size(self) -> int:
        """How many bytes the tables have."""
        return sum(map(len, self.blocks))
