"""The parts of the expectations that are not inlined: memory, the pool, the lists."""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset

from native.expect cimport (
    EXPECT_BUCKETS, EXPECTATIONS, EXPECTED_MAX, Control, Expectation, Expectations, find_expectation, give_expected,
    take_expected,
)
from native.memory cimport enlarge_to, release
from native.packet cimport key_proto

cdef enum:
    IP_TCP = 6


cdef int expectations_init(Expectations *expectations) noexcept nogil:
    # None, and no room for control sessions; 0, or -1 when there is no memory.
    memset(expectations, 0, sizeof(Expectations))
    expectations.pool = <Expectation *>calloc(EXPECTATIONS + 1, sizeof(Expectation))
    expectations.buckets = <uint16_t *>calloc(EXPECT_BUCKETS, sizeof(uint16_t))
    return 0 if expectations.pool != NULL and expectations.buckets != NULL else -1


cdef int expectations_reserve(Expectations *expectations, uint32_t sessions) noexcept nogil:
    # Address space for the records of so many sessions; 0, or -1 with nothing changed.
    return enlarge_to(
        <void **>&expectations.controls, &expectations.reserved, <uint64_t>sessions * sizeof(Control))


cdef void expectations_free(Expectations *expectations) noexcept nogil:
    free(expectations.pool)
    free(expectations.buckets)
    release(expectations.controls, expectations.reserved)


cdef int list_of(const Expectation *expectation) noexcept nogil:
    return 0 if key_proto(&expectation.key) == IP_TCP else 1


cdef void enlist(Expectations *expectations, uint16_t number) noexcept nogil:
    # Into the list of its protocol.  Its place is at the end, unless a timer has been shortened.
    cdef Expectation *pool = expectations.pool
    cdef int which = list_of(&pool[number])
    cdef uint16_t sooner = expectations.last[which]
    while sooner != 0 and pool[sooner].deadline > pool[number].deadline:
        sooner = pool[sooner].sooner
    pool[number].sooner = sooner
    if sooner == 0:
        pool[number].later = expectations.first[which]
        expectations.first[which] = number
    else:
        pool[number].later = pool[sooner].later
        pool[sooner].later = number
    if pool[number].later == 0:
        expectations.last[which] = number
    else:
        pool[pool[number].later].sooner = number


cdef void strike_out(Expectations *expectations, uint16_t number) noexcept nogil:
    # From the list of its protocol.
    cdef Expectation *pool = expectations.pool
    cdef int which = list_of(&pool[number])
    if pool[number].sooner == 0:
        expectations.first[which] = pool[number].later
    else:
        pool[pool[number].sooner].later = pool[number].later
    if pool[number].later == 0:
        expectations.last[which] = pool[number].sooner
    else:
        pool[pool[number].later].sooner = pool[number].sooner


cdef void remove_from_control(Control *control, uint16_t number) noexcept nogil:
    cdef uint8_t at = 0
    while control.expected[at] != number:
        at += 1
    control.count -= 1
    while at < control.count:
        control.expected[at] = control.expected[at + 1]
        at += 1


cdef void drop_expectation(Expectations *expectations, uint16_t number) noexcept nogil:
    cdef Expectation *pool = expectations.pool
    cdef uint16_t *link = &expectations.buckets[pool[number].bucket]
    strike_out(expectations, number)
    remove_from_control(&expectations.controls[pool[number].control], number)
    while link[0] != number:
        link = &pool[link[0]].next
    link[0] = pool[number].next
    pool[number].next = expectations.free
    expectations.free = number
    give_expected(expectations)


cdef void drop_overdue(Expectations *expectations, uint64_t now) noexcept nogil:
    # Those whose time is over.
    cdef int which
    for which in range(2):
        while expectations.first[which] != 0 and expectations.pool[expectations.first[which]].deadline <= now:
            drop_expectation(expectations, expectations.first[which])


cdef uint16_t expect(Expectations *expectations, const Expectation *wanted, uint64_t h) noexcept nogil:
    # One more, as `wanted` says, `h` being the hash of its key; its number.  It takes the place of one with that key,
    # and of the oldest of a session that has EXPECTED_MAX.  0: there are too many.
    cdef Control *control = &expectations.controls[wanted.control]
    cdef uint16_t number = find_expectation(expectations, &wanted.key, h)
    cdef uint16_t *head = &expectations.buckets[h & (EXPECT_BUCKETS - 1)]
    if number != 0:
        drop_expectation(expectations, number)
    if control.count == EXPECTED_MAX:
        drop_expectation(expectations, control.expected[0])
    if not take_expected(expectations):
        return 0
    if expectations.free != 0:
        number = expectations.free
        expectations.free = expectations.pool[number].next
    else:
        expectations.top += 1
        number = expectations.top
    expectations.pool[number] = wanted[0]
    expectations.pool[number].bucket = <uint16_t>(h & (EXPECT_BUCKETS - 1))
    expectations.pool[number].next = head[0]
    head[0] = number
    enlist(expectations, number)
    control.expected[control.count] = number
    control.count += 1
    return number


cdef void expect_again(Expectations *expectations, uint16_t number, uint64_t deadline) noexcept nogil:
    # It has been announced once more: its time is new, and it is the latest of its control session.
    cdef Control *control = &expectations.controls[expectations.pool[number].control]
    strike_out(expectations, number)
    expectations.pool[number].deadline = deadline
    enlist(expectations, number)
    remove_from_control(control, number)
    control.expected[control.count] = number
    control.count += 1


cdef void begin_control(Expectations *expectations, uint32_t session, uint8_t alg) noexcept nogil:
    # A fresh record for a session.
    memset(&expectations.controls[session], 0, sizeof(Control))
    expectations.controls[session].alg = alg


cdef void drop_expected_of(Expectations *expectations, uint32_t session) noexcept nogil:
    # All that a control session has announced.
    cdef Control *control = &expectations.controls[session]
    while control.count:
        drop_expectation(expectations, control.expected[control.count - 1])
