# Bytes in network order, and the ones'-complement arithmetic of RFC 1071 and RFC 1624.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>

    static inline uint16_t t1_be16(const uint8_t *p) { uint16_t v; memcpy(&v, p, 2); return __builtin_bswap16(v); }
    static inline uint32_t t1_be32(const uint8_t *p) { uint32_t v; memcpy(&v, p, 4); return __builtin_bswap32(v); }
    static inline uint64_t t1_be64(const uint8_t *p) { uint64_t v; memcpy(&v, p, 8); return __builtin_bswap64(v); }
    static inline void t1_put16(uint8_t *p, uint16_t v) { v = __builtin_bswap16(v); memcpy(p, &v, 2); }
    static inline void t1_put32(uint8_t *p, uint32_t v) { v = __builtin_bswap32(v); memcpy(p, &v, 4); }
    static inline void t1_put64(uint8_t *p, uint64_t v) { v = __builtin_bswap64(v); memcpy(p, &v, 8); }

    /* Sum of big-endian 16-bit words, not folded; an odd last byte counts as its word's high half. */
    static inline uint64_t t1_sum(const uint8_t *p, uint32_t n) {
        uint64_t sum = 0;
        while (n >= 4) { sum += t1_be32(p); p += 4; n -= 4; }
        if (n >= 2) { sum += t1_be16(p); p += 2; n -= 2; }
        if (n) sum += (uint64_t)p[0] << 8;
        return sum;
    }
    /* That of an IPv4 header: n is 20 or more, and a multiple of 4.  Options are rare: one small loop does for them. */
    static inline uint64_t t1_header_sum(const uint8_t *p, uint32_t n) {
        uint64_t sum = (uint64_t)t1_be32(p) + t1_be32(p + 4) + t1_be32(p + 8) + t1_be32(p + 12) + t1_be32(p + 16);
        #pragma GCC unroll 1
        for (uint32_t i = 20; i < n; i += 4) sum += t1_be32(p + i);
        return sum;
    }
    static inline uint16_t t1_fold(uint64_t sum) {
        sum = (sum & 0xffffffff) + (sum >> 32);
        sum = (sum & 0xffffffff) + (sum >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)sum;
    }
    /* All ones if x, else 0, in a way that the compiler cannot turn into a branch. */
    static inline uint32_t t1_mask_if(uint32_t x) {
        uint32_t mask = -(uint32_t)(x != 0);
        __asm__("" : "+r"(mask));
        return mask;
    }
    /* The empty asm is a side effect: gcc takes a function that does nothing but prefetch for one that does nothing,
       and drops the calls of it. */
    #define t1_prefetch(p) do { __builtin_prefetch((p), 0, 3); __asm__ volatile(""); } while (0)
    #define t1_likely(x) __builtin_expect(!!(x), 1)
    #define t1_unlikely(x) __builtin_expect(!!(x), 0)
    """
    uint16_t be16 "t1_be16"(const uint8_t *p) noexcept nogil
    uint32_t be32 "t1_be32"(const uint8_t *p) noexcept nogil
    uint64_t be64 "t1_be64"(const uint8_t *p) noexcept nogil
    void put16 "t1_put16"(uint8_t *p, uint16_t v) noexcept nogil
    void put32 "t1_put32"(uint8_t *p, uint32_t v) noexcept nogil
    void put64 "t1_put64"(uint8_t *p, uint64_t v) noexcept nogil
    uint64_t sum_bytes "t1_sum"(const uint8_t *p, uint32_t n) noexcept nogil
    uint64_t header_sum "t1_header_sum"(const uint8_t *p, uint32_t n) noexcept nogil
    uint16_t fold "t1_fold"(uint64_t total) noexcept nogil
    uint32_t mask_if "t1_mask_if"(uint32_t x) noexcept nogil
    void prefetch "t1_prefetch"(const void *p) noexcept nogil
    bint likely "t1_likely"(bint x) noexcept nogil
    bint unlikely "t1_unlikely"(bint x) noexcept nogil


cdef inline uint64_t change16(uint16_t old, uint16_t new) noexcept nogil:
    # One changed word's share of RFC 1624's sum: ~m + m'.
    return <uint64_t>(<uint16_t>(~old)) + new


cdef inline uint64_t change32(uint32_t old, uint32_t new) noexcept nogil:
    return change16(<uint16_t>(old >> 16), <uint16_t>(new >> 16)) + change16(<uint16_t>old, <uint16_t>new)


cdef inline uint64_t change64(uint64_t old, uint64_t new) noexcept nogil:
    return change32(<uint32_t>(old >> 32), <uint32_t>(new >> 32)) + change32(<uint32_t>old, <uint32_t>new)


cdef inline uint16_t updated(uint16_t checksum, uint64_t change) noexcept nogil:
    # RFC 1624 equation 3: HC' = ~(~HC + ~m + m').
    return <uint16_t>~fold(<uint64_t>(<uint16_t>~checksum) + change)
