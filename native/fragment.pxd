# Datagrams that came in pieces and are not complete yet (RFC 791, RFC 8200 4.5, RFC 5722).
#
# Every unit of options.maxFragments is a chunk of 2,048 bytes.  A piece lies, headers and all, in a chain of chunks;
# what is known of it stands beside the first of them, and the pieces of a datagram are chained by offset.  A dead
# datagram holds no piece but still counts as one unit, so there are never more datagrams than chunks.
#
# All datagrams live equally long, so that the list in the order of their arrival is that of their ends.

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

from native.packet cimport IN_PIECES, Key, Packet
from native.shared cimport shared_add, shared_load, take_shared
from native.wire cimport likely, unlikely

cdef enum:
    NO_CHUNK = 0xffffffff       # and no datagram
    CHUNK = 2048
    PIECES_MAX = 64             # of one datagram
    DATAGRAM_MAX = 40 + 65535   # bytes of IP

ctypedef struct Chunk:
    uint32_t next           # chunk of the same piece, or that is free; NO_CHUNK
    # of the first chunk of a piece:
    uint32_t next_piece     # its first chunk, NO_CHUNK
    uint32_t size           # bytes of data
    uint16_t offset         # in the datagram's data
    uint16_t start          # where the data begin in the piece, its headers being before them
    bint more               # the M or MF bit

ctypedef struct Datagram:
    Key key                 # meta: identification in place of the ports; side 0
    uint64_t hash
    uint64_t arrival        # ns, of its first piece
    uint32_t older
    uint32_t newer          # or that is free
    uint32_t chain          # next of the same hash
    uint32_t first_piece    # its first chunk
    uint32_t chunks
    uint32_t held           # bytes of data
    uint32_t reach          # where the data that is there ends
    uint32_t end            # where the data of all end, 0 as long as nobody knows
    uint32_t widest         # bytes of IP of the largest piece
    uint16_t port
    uint8_t count           # of pieces
    bint dead
    bint dont_fragment      # a piece said so

ctypedef struct Pieces:
    # How a datagram came that came in pieces.
    uint32_t size           # bytes of IP of the largest piece
    uint32_t identification
    uint16_t at             # IPv6: where the Fragment header stood in the first piece

ctypedef struct Fragments:
    uint64_t due            # ns; when the oldest datagram's time is up
    uint64_t timeout        # ns
    void *memory            # one reservation for the next four, touched as they are used
    uint64_t reserved
    uint8_t *bytes          # `capacity` chunks
    Chunk *chunks
    Datagram *datagrams
    uint32_t *index         # datagram + 1 by hash
    uint32_t mask
    uint32_t capacity
    uint32_t limit          # units that new pieces may fill, at most `capacity`
    uint32_t units
    uint64_t *all_units     # those of all workers; NULL: this one is alone
    uint32_t free_chunk
    uint32_t top_chunk      # chunks never used yet start here
    uint32_t free_datagram
    uint32_t top_datagram
    uint32_t oldest
    uint32_t newest
    uint64_t reassembled
    uint64_t timed_out
    Pieces came             # as the packet that is under way, if it came in pieces
    uint8_t *whole          # the latest datagram that became complete, behind 14 bytes for Ethernet


cdef int fragments_init(Fragments *fragments) noexcept nogil
cdef int fragments_reserve(Fragments *fragments, uint32_t capacity) noexcept nogil
cdef void fragments_free(Fragments *fragments) noexcept nogil
cdef void set_limits(Fragments *fragments, uint32_t limit, uint64_t timeout) noexcept nogil
cdef void drop_overdue(Fragments *fragments, uint64_t now) noexcept nogil
cdef void forget(Fragments *fragments, uint32_t number) noexcept nogil
cdef void index_anew(Fragments *fragments) noexcept nogil
cdef void pass_datagram(Fragments *giver, Fragments *taker, uint32_t number) noexcept nogil
cdef uint8_t take_piece(
    Fragments *fragments, Packet *packet, uint16_t port, uint8_t side, uint64_t now, uint64_t seed
) noexcept nogil


cdef inline uint64_t units_held(const Fragments *fragments) noexcept nogil:
    return fragments.units if likely(fragments.all_units == NULL) else shared_load(fragments.all_units)


cdef inline void count_units(Fragments *fragments, int32_t change) noexcept nogil:
    fragments.units += <uint32_t>change
    if unlikely(fragments.all_units != NULL):
        shared_add(fragments.all_units, change)


cdef inline bint take_units(Fragments *fragments, uint32_t wanted) noexcept nogil:
    # False where that is more than there may be.
    if likely(fragments.all_units == NULL):
        if fragments.units + wanted > fragments.limit:
            return False
    elif not take_shared(fragments.all_units, wanted, fragments.limit):
        return False
    fragments.units += wanted
    return True


cdef inline void set_pieces(Fragments *fragments, Packet *packet, const Pieces *pieces) noexcept nogil:
    # The parsed packet that is under way came like this.
    fragments.came = pieces[0]
    packet.span = pieces.size | IN_PIECES
