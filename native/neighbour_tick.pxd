# What happens by itself: requests are repeated, neighbours grow old, addresses are announced.  A tick does no more than
# so much, and what it leaves the next one does.

from libc.stdint cimport uint16_t, uint32_t, uint64_t

from native.hop cimport Link, Reach
from native.kinds cimport PORT_ISOLATED
from native.neighbour cimport (
    HELD_PER_NEIGHBOUR, HELD_SIZE, LC_HELD_DROPPED, LC_UNREACHABLE, N_DELAY, N_FAILED, N_INCOMPLETE, N_PROBE,
    N_REACHABLE, N_STALE, NEIGHBOUR_STATES, NO_NEIGHBOUR, LinkPort, Neighbours, Outbox,
)
from native.answer cimport ANSWER_SIZE
from native.neighbour_arp cimport announce_by_arp
from native.neighbour_learn cimport interface_id, speaks_ipv6
from native.neighbour_nd cimport announce_by_nd
from native.neighbour_send cimport ask, tell_unreachable
from native.neighbour_table cimport SECOND, free_held, outbox_has_room, remove_neighbour, set_state, wait_again
from native.classify cimport not_above
from native.program cimport ProgramData

cdef enum:
    TICK_INTERVAL = 10_000_000  # ns
    TICK_WORK = 128             # neighbours whose time is up
    TICK_ANNOUNCEMENTS = 16
    TRIES = 3                   # MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT
    ROUNDS = 2                  # ANNOUNCE_NUM
    ROUND_INTERVAL_S = 2        # ANNOUNCE_INTERVAL
    ANNOUNCED_MAX = 4096        # addresses of a port; those beyond answer, but do not announce themselves


cdef inline void give_up(
    Neighbours *table, const ProgramData *program, uint16_t number, uint64_t now, Outbox *outbox
) noexcept nogil:
    # Nobody answered: whoever waits hears of it.
    cdef uint16_t port = table.pool[number].port
    cdef uint16_t at
    while table.pool[number].held:
        at = table.pool[number].first_held
        table.ports[port].counts[<int>LC_HELD_DROPPED] += 1
        table.ports[port].counts[<int>LC_UNREACHABLE] += 1
        tell_unreachable(
            table, program, port, table.held_bytes + <uint64_t>at * HELD_SIZE, table.held[at].length, outbox)
        free_held(table, number)
    set_state(table, number, N_FAILED, now)


cdef inline void time_up(
    Neighbours *table, const ProgramData *program, uint16_t number, uint64_t now, Outbox *outbox
) noexcept nogil:
    # RFC 4861 7.3.3.
    cdef int state = table.pool[number].state
    if state == N_REACHABLE:
        set_state(table, number, N_STALE, now)
    elif state == N_DELAY:
        set_state(table, number, N_PROBE, now)
        ask(table, program, number, outbox)
    elif state == N_STALE or state == N_FAILED:
        remove_neighbour(table, number)
    elif table.pool[number].probes < TRIES:
        wait_again(table, number, now)
        ask(table, program, number, outbox)
    elif state == N_INCOMPLETE:
        give_up(table, program, number, now, outbox)
    else:
        remove_neighbour(table, number)         # the next packet asks everybody


cdef inline uint32_t age_neighbours(
    Neighbours *table, const ProgramData *program, uint16_t port, uint32_t budget, uint64_t now, Outbox *outbox
) noexcept nogil:
    # How much of the budget is left.
    cdef LinkPort *state = &table.ports[port]
    cdef uint16_t number
    cdef int which
    for which in range(NEIGHBOUR_STATES):
        number = state.head[which]
        while number != NO_NEIGHBOUR and table.pool[number].deadline <= now:
            if budget == 0 or not outbox_has_room(outbox, HELD_PER_NEIGHBOUR, HELD_PER_NEIGHBOUR * ANSWER_SIZE):
                return 0
            time_up(table, program, number, now, outbox)
            budget -= 1
            number = state.head[which]
    return budget


cdef inline void begin_round(LinkPort *state, uint64_t at) noexcept nogil:
    state.announced = 0
    state.announce_row = 0
    state.announce_offset = 0
    state.announce_at = at


cdef inline void announce_next(
    Neighbours *table, const ProgramData *program, uint16_t port, uint64_t now, Outbox *outbox
) noexcept nogil:
    # One address of a round; the link-local one is the last.
    cdef LinkPort *state = &table.ports[port]
    cdef const Link *link = &program.links[port]
    cdef const Reach *reach
    cdef uint64_t hi
    cdef uint64_t lo
    if state.announced < ANNOUNCED_MAX and state.announce_row < link.last_answered - link.first_answered:
        reach = &program.answered[link.first_answered + state.announce_row]
        lo = reach.first_lo + state.announce_offset
        hi = reach.first_hi + (lo < reach.first_lo)
        if reach.family == 4:
            announce_by_arp(table, outbox, port, state.mac, <uint32_t>lo)
        else:
            announce_by_nd(table, outbox, port, state.mac, hi, lo)
        state.announced += 1
        state.announce_offset += 1
        if hi == reach.last_hi and lo == reach.last_lo:
            state.announce_row += 1
            state.announce_offset = 0
        return
    if speaks_ipv6(program, port):
        announce_by_nd(table, outbox, port, state.mac, 0xfe80000000000000ULL, interface_id(state.mac))
    state.rounds -= 1
    begin_round(state, now + ROUND_INTERVAL_S * <uint64_t>SECOND)


cdef inline void tick(Neighbours *table, const ProgramData *program, uint64_t now, Outbox *outbox) noexcept nogil:
    cdef uint32_t work = TICK_WORK
    cdef uint32_t announcements = TICK_ANNOUNCEMENTS
    cdef uint32_t i
    cdef uint16_t port
    cdef LinkPort *state
    if now < table.next_tick or program.port_count == 0:
        return
    table.next_tick = now + TICK_INTERVAL
    for i in range(program.port_count):
        port = <uint16_t>((table.turn + i) % program.port_count)
        state = &table.ports[port]
        if not state.up or program.ports[port].kind == PORT_ISOLATED:
            continue
        if work and state.count:
            work = age_neighbours(table, program, port, work, now, outbox)
        while (state.rounds and state.announce_at <= now and announcements and outbox_has_room(outbox, 1, ANSWER_SIZE)):
            announce_next(table, program, port, now, outbox)
            announcements -= 1
    table.turn = <uint16_t>((table.turn + 1) % program.port_count)
