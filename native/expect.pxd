# What application layer gateways keep: control sessions, and the sessions to come that their packets have announced.
#
# A control session is told by RW_ALG in its flows; its record is found by the session's number.  Expectations lie in a
# fixed pool, number 0 is none: chained in buckets by key, in one list a protocol by deadline, and in the order of their
# announcement in the control session's record.  One that is past its deadline is gone: whoever looks at any of them
# calls drop_overdue() first.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.packet cimport Key
from native.session cimport same_key
from native.shared cimport shared_add, take_shared
from native.window cimport before
from native.wire cimport likely, unlikely

cdef enum:
    EXPECTATIONS = 4096         # of all control sessions
    EXPECTED_MAX = 8            # of one
    EXPECT_BUCKETS = 4096

cdef enum Alg:
    ALG_NONE = 0
    ALG_FTP = 1
    ALG_TFTP = 2

cdef enum Mode:
    # Who will connect to whom.
    EXPECT_ACTIVE = 0           # FTP's server to its client
    EXPECT_PASSIVE = 1          # FTP's client to its server
    EXPECT_TFTP = 2             # TFTP's server, from a port of its own

ctypedef struct Expectation:
    Key key                     # of the packet to come, the source port 0
    uint64_t deadline           # ns; alive while now < deadline
    uint64_t target_hi          # where that packet goes instead of its destination
    uint64_t target_lo
    uint64_t source_hi          # what it will bear instead of its source
    uint64_t source_lo
    uint16_t target_port
    uint16_t named_port         # the port that the command named
    uint8_t has_target
    uint8_t has_source
    uint8_t mode
    uint32_t control            # number of the session that announced it
    uint16_t bucket
    uint16_t next               # in the bucket, or in the list of the free
    uint16_t sooner             # in the list of its protocol
    uint16_t later

ctypedef struct Shift:
    # Sequence numbers of one direction: what is added to one before `position` (RFC 9293 order), and to one from there
    # on.  Zeros as long as nothing has been rewritten.
    uint32_t position           # the end, in its sender's numbers, of the latest text that was rewritten
    uint32_t earlier
    uint32_t later
    uint32_t line               # where the line with that text begins
    uint16_t named_port         # the port that it names
    uint16_t shown_port         # the one that it has come to name
    bint moved

ctypedef struct Control:
    Shift shift[2]              # by direction
    uint16_t expected[EXPECTED_MAX]
    uint8_t count
    uint8_t alg

ctypedef struct Expectations:
    Expectation *pool
    uint16_t *buckets
    Control *controls           # by session number; memory is touched by control sessions only
    uint64_t reserved           # bytes behind `controls`
    uint32_t count
    uint64_t *all           # how many all workers have; NULL: this one is alone
    uint16_t top                # numbers never used yet start behind it
    uint16_t free
    uint16_t first[2]           # TCP, UDP: the soonest to end
    uint16_t last[2]


cdef inline uint32_t sent_on(const Shift *shift, uint32_t seq) noexcept nogil:
    # A sequence number of the sender's as the receiver has to see it.
    return seq + (shift.earlier if before(seq, shift.position) else shift.later)


cdef inline uint32_t taken_back(const Shift *shift, uint32_t number) noexcept nogil:
    # A number that the receiver has seen, in the sender's numbers.
    cdef uint32_t back = number - shift.later
    return number - shift.earlier if before(back, shift.position) else back


cdef inline uint16_t find_expectation(const Expectations *expectations, const Key *key, uint64_t h) noexcept nogil:
    # The one with this key (source port 0), whose hash is `h`, or 0.
    cdef uint16_t number = expectations.buckets[h & (EXPECT_BUCKETS - 1)]
    while number != 0 and not same_key(&expectations.pool[number].key, key):
        number = expectations.pool[number].next
    return number


cdef inline bint take_expected(Expectations *expectations) noexcept nogil:
    # One more; False where there are too many.
    if likely(expectations.all == NULL):
        if expectations.count == EXPECTATIONS:
            return False
    elif not take_shared(expectations.all, 1, EXPECTATIONS):
        return False
    expectations.count += 1
    return True


cdef inline void give_expected(Expectations *expectations) noexcept nogil:
    expectations.count -= 1
    if unlikely(expectations.all != NULL):
        shared_add(expectations.all, -1)


cdef int expectations_init(Expectations *expectations) noexcept nogil
cdef int expectations_reserve(Expectations *expectations, uint32_t sessions) noexcept nogil
cdef void expectations_free(Expectations *expectations) noexcept nogil
cdef void drop_overdue(Expectations *expectations, uint64_t now) noexcept nogil
cdef uint16_t expect(Expectations *expectations, const Expectation *wanted, uint64_t h) noexcept nogil
cdef void expect_again(Expectations *expectations, uint16_t number, uint64_t deadline) noexcept nogil
cdef void drop_expectation(Expectations *expectations, uint16_t number) noexcept nogil
cdef void begin_control(Expectations *expectations, uint32_t session, uint8_t alg) noexcept nogil
cdef void drop_expected_of(Expectations *expectations, uint32_t session) noexcept nogil
