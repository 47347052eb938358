# ICMP errors: reading the packet that one quotes, and translating both together (RFC 5508).

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from native.engine cimport Result
from native.expect cimport Expectations, Shift, taken_back
from native.packet cimport (
    EXTENSIONS_MAX, K_ICMP_ERROR, K_OTHER, K_TCP, K_UDP, Key, Packet, header_size, key_side, make_meta, parse_icmp,
    role_of,
)
from native.rewrite cimport TCP_CHECKSUM_END, rewrite_as, send, take_hop
from native.session cimport NONE, ORIGINAL, RW_ALG, Session, Table, hash_key, key_reversed, lookup
from native.window cimport could_have_sent
from native.wire cimport be16, be32, be64, change16, change32, put16, put32, updated

cdef enum:
    QUOTE_MIN = 8           # bytes of the transport header that every error quotes (RFC 792)


cdef inline bint is_about_packet(uint8_t family, uint8_t icmp_type) noexcept nogil:
    # Errors that tell a sender about its packet.  A redirect tells it about routes, type 0 of IPv6 is reserved.
    return icmp_type != 5 if family == 4 else icmp_type != 0


cdef inline bint find_quoted_ipv4(Packet *quote, uint32_t there) noexcept nogil:
    cdef uint8_t *l3 = quote.l3
    cdef uint32_t header
    if there < 20 or l3[0] >> 4 != 4:
        return False
    header = <uint32_t>(l3[0] & 15) * 4
    if header < 20 or there < header + QUOTE_MIN or be16(l3 + 6) & 0x1fff:
        return False
    quote.proto = l3[9]
    quote.key.src_hi = 0
    quote.key.dst_hi = 0
    quote.key.src_lo = be32(l3 + 12)
    quote.key.dst_lo = be32(l3 + 16)
    quote.l4 = l3 + header
    quote.l4_len = there - header
    return True


cdef inline bint find_quoted_ipv6(Packet *quote, uint32_t there) noexcept nogil:
    cdef uint8_t *l3 = quote.l3
    cdef uint32_t offset = 40
    cdef uint32_t size
    cdef uint8_t following
    cdef int headers = 0
    if there < 40 or l3[0] >> 4 != 6:
        return False
    following = l3[6]
    while following == 0 or following == 43 or following == 44 or following == 60:
        if (following == 0 and offset != 40) or headers == EXTENSIONS_MAX or there - offset < 8:
            return False
        if following == 44 and be16(l3 + offset + 2) & 0xfff8:
            return False
        size = header_size(l3 + offset, following)
        if size > there - offset:
            return False
        following = l3[offset]
        offset += size
        headers += 1
    if there - offset < QUOTE_MIN:
        return False
    quote.proto = following
    quote.key.src_hi = be64(l3 + 8)
    quote.key.src_lo = be64(l3 + 16)
    quote.key.dst_hi = be64(l3 + 24)
    quote.key.dst_lo = be64(l3 + 32)
    quote.l4 = l3 + offset
    quote.l4_len = there - offset
    return True


cdef inline bint parse_quote(const Packet *error, Packet *quote) noexcept nogil:
    # Reads what an error quotes; False when that says nothing about a session.  Afterwards at least QUOTE_MIN bytes
    # are there from quote.l4 on, quote.l4_len in all; lengths and checksums in the quoted headers are not trusted.
    cdef uint32_t there = error.l4_len - 8
    cdef uint16_t sport = 0
    cdef uint16_t dport = 0
    if not is_about_packet(error.family, error.icmp_type):
        return False
    quote.family = error.family
    quote.kind = K_OTHER
    quote.icmp_type = 0
    quote.icmp_code = 0
    quote.l3 = error.l4 + 8
    if not (find_quoted_ipv4(quote, there) if error.family == 4 else find_quoted_ipv6(quote, there)):
        return False
    if quote.proto == 6 or quote.proto == 17:
        quote.kind = K_TCP if quote.proto == 6 else K_UDP
        sport = be16(quote.l4)
        dport = be16(quote.l4 + 2)
    elif quote.proto == (1 if quote.family == 4 else 58):
        parse_icmp(quote, &sport, &dport)
        if quote.kind == K_ICMP_ERROR:
            return False
    quote.key.meta = make_meta(sport, dport, quote.proto, quote.family, 0) | role_of(quote.kind)
    return True


cdef inline uint32_t quoted_sequence(
    const Expectations *expectations, const Session *session, uint32_t found, const Packet *quote
) noexcept nogil:
    # The number of a quoted segment as its sender knows it; `found` is the flow that answers that segment.
    cdef uint32_t seq = be32(quote.l4 + 4)
    cdef const Shift *shift
    if not session.flow[ORIGINAL].rewrite & RW_ALG:
        return seq
    shift = &expectations.controls[found >> 1].shift[1 - (found & 1)]
    return taken_back(shift, seq)


cdef inline void quote_sequence(Packet *packet, Packet *quote, uint32_t known) noexcept nogil:
    # Has an error quote a segment with this sequence number; the checksums inside and outside follow.
    cdef uint32_t seq = be32(quote.l4 + 4)
    cdef uint8_t *inside = quote.l4 + 16
    cdef uint64_t change = change32(seq, known)
    cdef uint16_t old
    if seq == known:
        return
    put32(quote.l4 + 4, known)
    if quote.l4_len >= TCP_CHECKSUM_END:
        old = be16(inside)
        put16(inside, updated(old, change))
        change += change16(old, be16(inside))
    put16(packet.l4 + 2, updated(be16(packet.l4 + 2), change))


cdef inline void take_back_quote(
    const Expectations *expectations, const Session *session, uint32_t found, Packet *packet, Packet *quote
) noexcept nogil:
    # Quotes a segment with the number that its sender knows.
    quote_sequence(packet, quote, quoted_sequence(expectations, session, found, quote))


cdef inline uint32_t related_flow(
    const Table *table, const Expectations *expectations, const Packet *error, const Packet *quote
) noexcept nogil:
    # The flow whose packets travel the way the error does, NONE if no session can have sent what it quotes.
    cdef Key answers
    cdef uint32_t found
    cdef const Session *session
    if error.key.dst_hi != quote.key.src_hi or error.key.dst_lo != quote.key.src_lo:
        return NONE
    key_reversed(&quote.key, key_side(&error.key), &answers)
    found = lookup(table, &answers, hash_key(table, &answers))
    if found == NONE:
        return NONE
    session = &table.sessions[found >> 1]
    if session.kind == K_TCP and not could_have_sent(
            session, 1 - <int>(found & 1), quoted_sequence(expectations, session, found, quote)):
        return NONE
    return found


cdef inline uint64_t changed_words(const uint8_t *old, const uint8_t *new, uint32_t size) noexcept nogil:
    cdef uint64_t change = 0
    cdef uint32_t i
    for i in range(0, size, 2):
        if be16(old + i) != be16(new + i):
            change += change16(be16(old + i), be16(new + i))
    return change


cdef inline uint64_t rewrite_quote(Packet *quote, const Key *wanted) noexcept nogil:
    # Gives the quoted packet another tuple; what that means for the checksum of the message around it.
    cdef uint8_t addresses[32]
    cdef uint8_t transport[18]
    cdef uint32_t address_bytes = 12 if quote.family == 4 else 32       # of IPv4 with the checksum before them
    cdef uint32_t transport_bytes = 18 if quote.l4_len >= TCP_CHECKSUM_END else QUOTE_MIN
    memcpy(addresses, quote.l3 + 8, address_bytes)
    memcpy(transport, quote.l4, transport_bytes)
    rewrite_as(quote, wanted)
    return (changed_words(addresses, quote.l3 + 8, address_bytes)
            + changed_words(transport, quote.l4, transport_bytes))


cdef inline void rewrite_error(Packet *packet, Packet *quote, const Key *outer, const Key *quoted) noexcept nogil:
    # Makes an error one between `outer` endpoints that quotes a packet with the tuple `quoted`.
    cdef uint8_t *checksum = packet.l4 + 2
    cdef uint64_t change = rewrite_quote(quote, quoted)
    if change:
        put16(checksum, updated(be16(checksum), change))
    rewrite_as(packet, outer)


cdef inline void forward_error(
    Packet *packet, Packet *quote, const Key *outer, const Key *quoted, uint16_t out_port, Result *result
) noexcept nogil:
    # Sends an error on between `outer` endpoints, quoting a packet with the tuple `quoted`.
    rewrite_error(packet, quote, outer, quoted)
    take_hop(packet)
    send(packet, out_port, result)
