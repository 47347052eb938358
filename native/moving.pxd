# What a worker has that becomes another's where the rules of NAT, or what needs one worker, have changed.  All workers
# stand meanwhile.

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from native.account cimport count_source, discount_source, end_session, watch_fragments
from native.engine cimport State
from native.events cimport END_CONFIG
from native.expect cimport Control, Expectation, begin_control, drop_expectation, drop_overdue, expect
from native.fragment cimport NO_CHUNK, pass_datagram
from native.packet cimport Key, key_family
from native.port_blocks cimport note_left
from native.session cimport (
    ORIGINAL, REPLY, RW_ALG, Session, hash_key, is_half_open, is_in, numbers_used, table_pass_on,
)
from native.steer cimport Steering, have_same_fixed, owner_of_key


cdef inline uint32_t owner_of_session(const Steering *steering, const Session *session) noexcept nogil:
    cdef const Key *key = &session.flow[ORIGINAL].key
    return owner_of_key(steering, key_family(key), key)


cdef inline bint has_one_owner(const Steering *steering, const State *state, uint32_t number) noexcept nogil:
    # Do all packets of a session, and of those that it has announced, belong to one worker?  They have to have the same
    # fixed addresses: who has one owner by chance may have two where fewer addresses are fixed.
    cdef const Session *session = &state.table.sessions[number]
    cdef const Key *original = &session.flow[ORIGINAL].key
    cdef const Control *control
    cdef uint32_t i
    if not have_same_fixed(steering, key_family(original), original, &session.flow[REPLY].key):
        return False
    if session.flow[ORIGINAL].rewrite & RW_ALG:
        control = &state.expectations.controls[number]
        for i in range(control.count):
            if not have_same_fixed(
                    steering, key_family(original), original, &state.expectations.pool[control.expected[i]].key):
                return False
    return True


cdef inline bint have_one_owner(const Steering *steering, const State *state) noexcept nogil:
    # Likewise of all sessions of a worker.
    cdef uint32_t number
    for number in range(numbers_used(&state.table)):
        if is_in(&state.table, number) and not has_one_owner(steering, state, number):
            return False
    return True


cdef inline void pass_control(State *giver, State *taker, uint32_t number) noexcept nogil:
    # What is kept of a control session, and what it has announced, in that order.
    cdef Control *old = &giver.expectations.controls[number]
    cdef Expectation expected
    begin_control(&taker.expectations, number, old.alg)
    taker.expectations.controls[number].shift[0] = old.shift[0]
    taker.expectations.controls[number].shift[1] = old.shift[1]
    while old.count:
        expected = giver.expectations.pool[old.expected[0]]
        drop_expectation(&giver.expectations, old.expected[0])
        expect(&taker.expectations, &expected, hash_key(&taker.table, &expected.key))


cdef inline void pass_session(State *giver, State *taker, uint32_t number) noexcept nogil:
    # It keeps its number, identifier, deadline and counters.  Without memory for it there it ends.
    cdef Session *session = &giver.table.sessions[number]
    cdef bint counted = taker.sources.entries != NULL
    if counted and not count_source(taker, &session.flow[ORIGINAL].key):
        end_session(giver, number, END_CONFIG)
        return
    if not table_pass_on(&giver.table, &taker.table, number):
        if counted:
            discount_source(taker, &session.flow[ORIGINAL].key)
        end_session(giver, number, END_CONFIG)
        return
    if giver.sources.entries != NULL:
        discount_source(giver, &session.flow[ORIGINAL].key)
    note_left(&giver.taken, &giver.table, &session.flow[ORIGINAL].key)
    note_left(&giver.taken, &giver.table, &session.flow[REPLY].key)
    if is_half_open(session):
        giver.table.half_open -= 1
        taker.table.half_open += 1
    if session.flow[ORIGINAL].rewrite & RW_ALG:
        pass_control(giver, taker, number)


cdef inline void pass_sessions(const Steering *steering, State *giver, State **takers) noexcept nogil:
    # Each to its owner.
    cdef uint32_t number
    cdef uint32_t owner
    drop_overdue(&giver.expectations, giver.now)
    for number in range(numbers_used(&giver.table)):
        if is_in(&giver.table, number):
            owner = owner_of_session(steering, &giver.table.sessions[number])
            if owner != giver.worker:
                pass_session(giver, takers[owner], number)
                giver.shared.moved_sessions += 1


cdef inline void pass_fragments(const Steering *steering, State *giver, State **takers) noexcept nogil:
    # Datagrams whose pieces have not all come.
    cdef uint32_t number = giver.fragments.oldest
    cdef uint32_t newer
    cdef uint32_t owner
    cdef const Key *key
    while number != NO_CHUNK:
        newer = giver.fragments.datagrams[number].newer
        key = &giver.fragments.datagrams[number].key
        owner = owner_of_key(steering, key_family(key), key)
        if owner != giver.worker:
            giver.shared.moved_datagrams += 1
            pass_datagram(&giver.fragments, &takers[owner].fragments, number)
            watch_fragments(takers[owner])
        number = newer
