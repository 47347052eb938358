# What is counted and logged, and what time ends: sessions, whose share that brings onto their rules, and datagrams in
# pieces.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.addresses cimport AddressEntry, address_find, address_put, address_remove
from native.classify cimport NO_RULE
from native.decide cimport Decision, has_source, has_target
from native.engine cimport State
from native.events cimport E_ENDED, END_EXPIRED, LoggedPacket, tell_packet, tell_session
from native.expect cimport drop_expected_of
from native.fragment cimport drop_overdue
from native.kinds cimport NAT_NO_DNAT, NAT_NO_SNAT, NAT_REFLEXIVE
from native.limits cimport give_back, give_place, note_fragments, note_sessions
from native.mapping cimport release_mapping
from native.packet cimport Key, Packet, key_dport, key_family, key_sport, set_ports
from native.port_blocks cimport note_left
from native.program cimport ProgramData
from native.record cimport NO_SLOT
from native.session cimport (
    FIRST_DUE, NONE, ORIGINAL, REPLY, RW_ALG, RW_MAPPED, Session, Table, is_half_open, look_at_next, next_look, sooner,
    table_remove,
)
from native.shared cimport Shared
from native.stats cimport (
    R_ALG, S_FIREWALL, S_NAT, T_ALG, T_ALLOW, T_DNAT, T_DROP, T_NO_DNAT, T_NO_SNAT, T_REFLEXIVE, T_REJECT, T_SNAT,
    V_ALLOW, V_DROP, V_REJECT,
)
from native.wire cimport likely, unlikely


cdef enum:
    LOOK_NS = 8_000             # in which there is another look at a session
    MANY_LOOKS = 1 << 20


cdef inline void count_rule(State *state, uint32_t slot, uint64_t hits, uint64_t packets, uint64_t size) noexcept nogil:
    if slot != NO_SLOT:
        state.counters[slot].hits += hits
        state.counters[slot].packets += packets
        state.counters[slot].bytes += size


cdef inline void fold_session(State *state, Session *session) noexcept nogil:
    # Brings what a session has carried since the last time onto its rules' counters.
    cdef uint64_t packets = session.packets[0] + session.packets[1] - session.folded_packets
    cdef uint64_t size = session.bytes[0] + session.bytes[1] - session.folded_bytes
    count_rule(state, session.fw_slot, 0, packets, size)
    count_rule(state, session.dnat_slot, 0, packets, size)
    if session.snat_slot != session.dnat_slot:      # an ALG can lend the rule that the other lookup hits
        count_rule(state, session.snat_slot, 0, packets, size)
    session.folded_packets += packets
    session.folded_bytes += size


cdef inline uint32_t sessions_of(const State *state, const Key *original) noexcept nogil:
    # How many live sessions have this source; only asked while a program limits them.
    cdef const AddressEntry *entry
    entry = address_find(&state.sources, original.src_hi, original.src_lo, key_family(original))
    return 0 if entry == NULL else entry.first


cdef inline bint count_source(State *state, const Key *original) noexcept nogil:
    # One session more; False when there is no room to count it.
    cdef AddressEntry *entry = address_put(&state.sources, original.src_hi, original.src_lo, key_family(original), 0)
    if entry == NULL:
        return False
    entry.first += 1
    return True


cdef inline void discount_source(State *state, const Key *original) noexcept nogil:
    cdef AddressEntry *entry = address_find(&state.sources, original.src_hi, original.src_lo, key_family(original))
    entry.first -= 1
    if entry.first == 0:
        address_remove(&state.sources, entry)


cdef inline void end_session(State *state, uint32_t number, uint8_t cause) noexcept nogil:
    # For this cause, or because its time is over if that is so.
    cdef Session *session = &state.table.sessions[number]
    if session.expires <= state.now:
        cause = END_EXPIRED
    tell_session(&state.events, state.now, E_ENDED, cause, session)
    fold_session(state, session)
    if session.usage_slot != NONE:
        give_back(state, session.usage_slot, &session.flow[REPLY].key)
    if session.flow[ORIGINAL].rewrite & RW_MAPPED:
        release_mapping(&state.mappings, &session.flow[REPLY].key)
    if session.flow[ORIGINAL].rewrite & RW_ALG:
        drop_expected_of(&state.expectations, number)
    if state.sources.entries != NULL:
        discount_source(state, &session.flow[ORIGINAL].key)
    if is_half_open(session):
        state.table.half_open -= 1
    give_place(state, is_half_open(session))
    note_left(&state.taken, &state.table, &session.flow[ORIGINAL].key)
    note_left(&state.taken, &state.table, &session.flow[REPLY].key)
    table_remove(&state.table, number)
    note_sessions(state)


cdef inline void watch_fragments(State *state) noexcept nogil:
    # The table's clock is the only one that every packet looks at.
    state.table.next_check = min(state.table.next_check, state.fragments.due)


cdef inline bint is_behind(const State *state) noexcept nogil:
    # Is there a session to be looked at?
    return next_look(&state.table) <= state.now


cdef inline void look_at_one(State *state) noexcept nogil:
    # At the session that has been due longest: it ends, or is found to live longer than was known.
    cdef uint32_t number
    if look_at_next(&state.table, state.now, &number):
        end_session(state, number, END_EXPIRED)


cdef inline void clear_up(State *state, uint32_t looks) noexcept nogil:
    # With so many looks more: ends sessions whose time is over, the earliest deadline first.  Once there is none left,
    # as many are saved up as may be.
    state.looks = <uint32_t>min(<uint64_t>state.looks + looks, <uint64_t>state.looks_most)
    while state.looks and is_behind(state):
        state.looks -= 1
        look_at_one(state)
    if not is_behind(state):
        state.looks = state.looks_most


cdef inline uint32_t looks_in(uint64_t since, uint64_t now) noexcept nogil:
    # What time brings: a worker without frames would have made at least as many.
    return <uint32_t>min((now - since) // LOOK_NS, <uint64_t>MANY_LOOKS)


cdef inline State *next_due(const Shared *shared) noexcept nogil:
    # The worker with the session that is to be looked at first.
    cdef State **states = <State **>shared.states
    cdef State *found = states[0]
    cdef const Table *table
    cdef uint32_t worker
    for worker in range(1, shared.workers):
        table = &states[worker].table
        if table.last_due >= FIRST_DUE and (
                found.table.last_due < FIRST_DUE or sooner(&table.due[FIRST_DUE], &found.table.due[FIRST_DUE])):
            found = states[worker]
    return found


cdef inline void clear_up_together(State *first) noexcept nogil:
    # Where one thread runs all workers: what a single one would, in that order.  `first` is their first.
    cdef State *due = next_due(first.shared)
    first.looks = <uint32_t>min(
        <uint64_t>first.looks + first.looks_each + looks_in(first.looked, first.now), <uint64_t>first.looks_most)
    first.looked = first.now
    while first.looks and is_behind(due):
        first.looks -= 1
        look_at_one(due)
        due = next_due(first.shared)
    if not is_behind(due):
        first.looks = first.looks_most


cdef inline void expire(State *state) noexcept nogil:
    # What time brings before a packet.
    if likely(state.now < state.table.next_check):
        return
    if likely(not state.paced_together):
        clear_up(state, state.looks_each + looks_in(state.looked, state.now))
        state.looked = state.now
    if unlikely(state.now >= state.fragments.due):
        drop_overdue(&state.fragments, state.now)
        note_fragments(state)
    state.table.next_check = next_look(&state.table)
    watch_fragments(state)


cdef inline uint32_t slot_of(const ProgramData *program, uint32_t number) noexcept nogil:
    return NO_SLOT if number == NO_RULE else program.nat.rules[number].slot


cdef inline void log_firewall(
    State *state, const ProgramData *program, const Packet *packet, uint16_t in_port, const Decision *decision
) noexcept nogil:
    cdef LoggedPacket *logged
    if decision.fw_rule == NO_RULE or not program.firewall_rules[decision.fw_rule].logging:
        return
    logged = tell_packet(&state.events, state.now, packet, in_port)
    if logged != NULL:
        logged.slot = program.firewall_rules[decision.fw_rule].slot
        logged.revision = program.revision
        logged.verdict = decision.verdict
        logged.reason = decision.reason
        logged.stage = S_FIREWALL
        logged.result = T_ALG if decision.reason == R_ALG else T_ALLOW
        if decision.verdict == V_DROP or decision.verdict == V_REJECT:
            logged.result = T_DROP if decision.verdict == V_DROP else T_REJECT
        logged.saw = decision.saw


cdef inline void log_nat(
    State *state, const ProgramData *program, const Packet *packet, uint16_t in_port, const Decision *decision,
    uint32_t number
) noexcept nogil:
    # Of an admitted packet, whose key is complete.
    cdef LoggedPacket *logged
    cdef bint lent = has_target(decision) if number == decision.dnat else has_source(decision)
    cdef uint8_t type
    if number == NO_RULE or not program.nat.rules[number].logging:
        return
    logged = tell_packet(&state.events, state.now, packet, in_port)
    if logged == NULL:
        return
    type = program.nat.rules[number].type
    logged.slot = program.nat.rules[number].slot
    logged.revision = program.revision
    logged.verdict = V_ALLOW
    logged.reason = decision.reason
    logged.stage = S_NAT
    logged.saw = packet.key
    if (type == NAT_NO_DNAT or type == NAT_NO_SNAT) and not lent:   # one that an ALG lends may have been another
        logged.result = T_NO_DNAT if type == NAT_NO_DNAT else T_NO_SNAT
        return
    logged.has_after = 1
    logged.after = decision.key
    logged.result = T_SNAT
    if number == decision.dnat:
        logged.result = T_DNAT
        logged.after.src_hi = packet.key.src_hi
        logged.after.src_lo = packet.key.src_lo
        set_ports(&logged.after, key_sport(&packet.key), key_dport(&decision.key))
    if type == NAT_REFLEXIVE and not lent:
        logged.result = T_REFLEXIVE


cdef inline void log_rules(
    State *state, const ProgramData *program, const Packet *packet, uint16_t in_port, const Decision *decision
) noexcept nogil:
    # All that an admitted packet was hit by.
    log_firewall(state, program, packet, in_port, decision)
    log_nat(state, program, packet, in_port, decision, decision.dnat)
    if decision.snat != decision.dnat:              # one REFLEXIVE rule can be hit both ways
        log_nat(state, program, packet, in_port, decision, decision.snat)


cdef inline void count_decision(
    State *state, const ProgramData *program, const Packet *packet, uint16_t in_port, const Decision *decision,
    bint with_nat
) noexcept nogil:
    # A packet that makes no session: its rules count it by itself.
    if decision.fw_rule != NO_RULE:
        count_rule(state, program.firewall_rules[decision.fw_rule].slot, 1, 1, packet.ip_len)
    if with_nat:
        count_rule(state, slot_of(program, decision.dnat), 1, 1, packet.ip_len)
        if decision.snat != decision.dnat:
            count_rule(state, slot_of(program, decision.snat), 1, 1, packet.ip_len)
        log_rules(state, program, packet, in_port, decision)
    else:
        log_firewall(state, program, packet, in_port, decision)
