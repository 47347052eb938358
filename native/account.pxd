# What is counted and logged, and what time ends: sessions, whose share that brings onto their rules, and datagrams in
# pieces.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from native.addresses cimport AddressEntry, address_find, address_put, address_remove
from native.classify cimport NO_RULE
from native.decide cimport Decision
from native.engine cimport LOG_ENTRIES, LogEntry, State
from native.expect cimport drop_expected_of
from native.fragment cimport drop_overdue
from native.mapping cimport release_mapping
from native.packet cimport Key, Packet, key_family
from native.program cimport ProgramData
from native.record cimport NO_SLOT
from native.session cimport (
    NONE, ORIGINAL, REPLY, RW_ALG, RW_MAPPED, Session, is_half_open, table_remove, wheel_due,
)
from native.stats cimport V_ALLOW
from native.wire cimport likely


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


cdef inline void end_session(State *state, uint32_t number) noexcept nogil:
    cdef Session *session = &state.table.sessions[number]
    fold_session(state, session)
    if session.usage_slot != NONE:
        state.usage[session.usage_slot] -= 1
    if session.flow[ORIGINAL].rewrite & RW_MAPPED:
        release_mapping(&state.mappings, &session.flow[REPLY].key)
    if session.flow[ORIGINAL].rewrite & RW_ALG:
        drop_expected_of(&state.expectations, number)
    if state.sources.entries != NULL:
        discount_source(state, &session.flow[ORIGINAL].key)
    if is_half_open(session):
        state.table.half_open -= 1
    table_remove(&state.table, number)


cdef inline void watch_fragments(State *state) noexcept nogil:
    # The table's clock is the only one that every packet looks at.
    state.table.next_check = min(state.table.next_check, state.fragments.due)


cdef inline void expire(State *state) noexcept nogil:
    cdef uint32_t number
    if likely(state.now < state.table.next_check):
        return
    while True:
        number = wheel_due(&state.table, state.now)
        if number == NONE:
            break
        end_session(state, number)
    drop_overdue(&state.fragments, state.now)
    watch_fragments(state)


cdef inline void log_event(
    State *state, uint32_t slot, uint32_t revision, uint8_t verdict, uint8_t kind, const Key *saw
) noexcept nogil:
    cdef LogEntry *entry
    if state.log_written - state.log_read == LOG_ENTRIES:
        state.log_lost += 1
        return
    entry = &state.log[state.log_written % LOG_ENTRIES]
    state.log_written += 1
    entry.now = state.now
    entry.slot = slot
    entry.revision = revision
    entry.verdict = verdict
    entry.kind = kind
    entry.saw = saw[0]


cdef inline uint32_t slot_of(const ProgramData *program, uint32_t number) noexcept nogil:
    return NO_SLOT if number == NO_RULE else program.nat.rules[number].slot


cdef inline void log_firewall(
    State *state, const ProgramData *program, const Packet *packet, const Decision *decision
) noexcept nogil:
    if decision.fw_rule != NO_RULE and program.firewall_rules[decision.fw_rule].logging:
        log_event(state, program.firewall_rules[decision.fw_rule].slot, program.revision, decision.verdict,
                  packet.kind, &decision.saw)


cdef inline void log_nat(
    State *state, const ProgramData *program, const Packet *packet, uint32_t number
) noexcept nogil:
    if number != NO_RULE and program.nat.rules[number].logging:
        log_event(state, program.nat.rules[number].slot, program.revision, V_ALLOW, packet.kind, &packet.key)


cdef inline void count_decision(
    State *state, const ProgramData *program, const Packet *packet, const Decision *decision, bint with_nat
) noexcept nogil:
    # A packet that makes no session: its rules count it by itself.
    if decision.fw_rule != NO_RULE:
        count_rule(state, program.firewall_rules[decision.fw_rule].slot, 1, 1, packet.ip_len)
        log_firewall(state, program, packet, decision)
    if with_nat:
        count_rule(state, slot_of(program, decision.dnat), 1, 1, packet.ip_len)
        log_nat(state, program, packet, decision.dnat)
        if decision.snat != decision.dnat:          # one REFLEXIVE rule can be hit both ways
            count_rule(state, slot_of(program, decision.snat), 1, 1, packet.ip_len)
            log_nat(state, program, packet, decision.snat)
