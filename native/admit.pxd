# A new session: limits, the reply key that must be free, and everything that its packets will need.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.account cimport count_rule, count_source, discount_source, fold_session, slot_of
from native.alg cimport judge_control, open_control
from native.allocate cimport allocate_port, is_free
from native.classify cimport NO_RULE
from native.decide cimport Decision, decide, has_source, has_target
from native.engine cimport State
from native.events cimport E_STARTED, tell_session
from native.kinds cimport (
    NAT_SNAT, TM_ICMP_ERROR_REPLY, TM_ICMP_FIRST, TM_OTHER, TM_TCP_CLOSED, TM_TCP_CLOSING,
    TM_TCP_ESTABLISHED, TM_TCP_FIN_WAIT, TM_TCP_FIRST, TM_TCP_OPENING, TM_UDP_FIRST, TM_UDP_MULTIPLE, TM_UDP_SINGLE,
)
from native.limits cimport count_created, count_holder, not_half_open, note_exhausted, note_sessions
from native.mapping cimport draws_port, external_of, hold_mapping
from native.nat cimport NatRule, place_in_pool
from native.packet cimport (
    ACK, FIN, K_ICMP_OTHER, K_ICMP_QUERY, K_ICMP_REPLY, K_TCP, K_UDP, NOT_ASKED, PARSED, RST, SYN,
    Key, Packet, key_dport, key_family, key_proto, key_sport, set_ports,
)
from native.pool cimport next_address
from native.program cimport ProgramData
from native.rebind cimport foresee_hairpin, note_followed
from native.record cimport NO_SLOT
from native.rewrite cimport plan_rewrite
from native.session cimport (
    NONE, ORIGINAL, REPLY, RW_CALLS_BACK, RW_MAPPED, TCP_CLOSING, TCP_ESTABLISHED, TCP_FIN_WAIT_2, TCP_SYN_SENT,
    TCP_TIME_WAIT, UDP_MULTIPLE, UDP_SINGLE, Session, is_half_open, key_reversed,
    due_add, table_add, table_remove,
)
from native.stats cimport R_NAT_COLLISION, R_NAT_PORTS_EXHAUSTED, V_ALLOW
from native.window cimport open_windows
from native.wire cimport unlikely


cdef inline int timer_of(const Session *session, bint first) noexcept nogil:
    # Which timer runs now: after the packet that made the session, or after a later one.
    cdef uint8_t lower
    cdef uint8_t upper
    if session.kind == K_TCP:
        if first:
            return TM_TCP_FIRST
        lower = session.state[0] if session.state[0] < session.state[1] else session.state[1]
        upper = session.state[0] if session.state[0] > session.state[1] else session.state[1]
        if lower >= TCP_FIN_WAIT_2:
            return TM_TCP_CLOSED
        if lower >= TCP_CLOSING:
            return TM_TCP_FIN_WAIT
        if lower < TCP_ESTABLISHED:
            return TM_TCP_OPENING
        if upper >= TCP_CLOSING:
            return TM_TCP_CLOSING
        return TM_TCP_ESTABLISHED
    if session.kind == K_UDP:
        if first:
            return TM_UDP_FIRST
        if session.state[0] == UDP_MULTIPLE and session.state[1] == UDP_MULTIPLE:
            return TM_UDP_MULTIPLE
        return TM_UDP_SINGLE
    if session.kind == K_ICMP_QUERY or session.kind == K_ICMP_REPLY or session.kind == K_ICMP_OTHER:
        return TM_ICMP_FIRST if first else TM_ICMP_ERROR_REPLY
    return TM_OTHER


cdef inline uint64_t timeout(const ProgramData *program, const Session *session, bint first) noexcept nogil:
    # Nanoseconds that the session may now stay idle.
    return program.timers[timer_of(session, first)]


cdef inline uint8_t reuse_mapping(
    State *state, const Packet *packet, Decision *decision, uint8_t side, Key *reply, uint32_t *usage_slot
) noexcept nogil:
    # The external endpoint that the source has already.
    cdef Key *key = &decision.key
    cdef uint16_t port = key_dport(external_of(&state.mappings, decision.source.mapping))
    set_ports(key, port, key_dport(key))
    key_reversed(key, side, reply)
    usage_slot[0] = state.mappings.table.sessions[decision.source.mapping].usage_slot
    # What makes way may be the last that has the mapping; it is made again then.
    return PARSED if is_free(state, &packet.key, reply) else R_NAT_COLLISION


cdef inline uint8_t allocate(
    State *state, const ProgramData *program, const Packet *packet, Decision *decision, uint8_t side,
    Key *reply, uint32_t *usage_slot
) noexcept nogil:
    # Completes decision.key and makes the reply key; PARSED, or the reason why there is none.
    cdef const NatRule *rule
    cdef bint ports = draws_port(packet.kind)
    cdef uint32_t asked = 0
    cdef bint found
    usage_slot[0] = NONE
    if decision.snat == NO_RULE or has_source(decision) or program.nat.rules[decision.snat].type != NAT_SNAT:
        key_reversed(&decision.key, side, reply)
        return PARSED if is_free(state, &packet.key, reply) else R_NAT_COLLISION
    if decision.source.mapping != NONE:
        return reuse_mapping(state, packet, decision, side, reply, usage_slot)
    rule = &program.nat.rules[decision.snat]
    while True:
        if ports:
            found = allocate_port(state, program, packet, &decision.key, side, reply, &asked)
        else:
            key_reversed(&decision.key, side, reply)
            found = is_free(state, &packet.key, reply)
        if ports and not found:
            note_exhausted(state, program.nat.pool_slots[rule.pool_usage + decision.source.index], &decision.key)
        if found:
            usage_slot[0] = program.nat.pool_slots[rule.pool_usage + decision.source.index]
            return PARSED
        if not next_address(state, program, rule, &decision.source, &decision.key.src_hi, &decision.key.src_lo):
            return R_NAT_PORTS_EXHAUSTED if ports else R_NAT_COLLISION


cdef inline void adopt(const ProgramData *program, Session *session, const Decision *decision) noexcept nogil:
    # Makes the deciding rules the session's own, and that an ALG stands for it where one does.
    session.fw_slot = NO_SLOT if decision.fw_rule == NO_RULE else program.firewall_rules[decision.fw_rule].slot
    session.dnat_slot = slot_of(program, decision.dnat)
    session.snat_slot = slot_of(program, decision.snat)
    session.admitted_slot = session.fw_slot if decision.bypass == NO_RULE else slot_of(program, decision.bypass)
    session.revision = program.revision
    session.flow[ORIGINAL].rewrite &= ~RW_CALLS_BACK
    if unlikely(decision.expected != NULL) and not has_target(decision):
        session.flow[ORIGINAL].rewrite |= RW_CALLS_BACK


cdef inline bint account_for(
    State *state, const ProgramData *program, const Packet *packet, const Decision *decision, const Key *reply,
    uint32_t usage_slot, Session *session
) noexcept nogil:
    # What a new session holds beside its place in the table; False when there is no room for that.
    if state.sources.entries != NULL and not count_source(state, &packet.key):
        return False
    if program.endpoint_independent and usage_slot != NONE and draws_port(packet.kind):
        if not hold_mapping(&state.mappings, &packet.key, program.nat.rules[decision.snat].slot, reply, usage_slot):
            if state.sources.entries != NULL:
                discount_source(state, &packet.key)
            return False
        session.flow[ORIGINAL].rewrite |= RW_MAPPED
    return True


cdef inline void open_session(
    State *state, const ProgramData *program, const Packet *packet, uint16_t in_port, const Decision *decision,
    const Key *reply, uint32_t usage_slot, Session **made
) noexcept nogil:
    # Records the first packet and everything about those that will follow; *made is NULL when the table is full.
    cdef uint32_t number = table_add(&state.table, &packet.key, reply)
    cdef Session *session
    cdef Key answered
    made[0] = NULL
    if number == NONE:
        return
    session = &state.table.sessions[number]
    key_reversed(&packet.key, 0, &answered)
    plan_rewrite(&session.flow[0], &packet.key, &decision.key)
    plan_rewrite(&session.flow[1], reply, &answered)
    if not account_for(state, program, packet, decision, reply, usage_slot, session):
        table_remove(&state.table, number)
        return
    made[0] = session
    session.flow[0].out_port = decision.out_port
    session.flow[1].out_port = in_port
    foresee_hairpin(program, session, ORIGINAL)
    foresee_hairpin(program, session, REPLY)
    if unlikely(state.change != NULL):
        note_followed(state.change, number)
    session.kind = packet.kind
    session.created = state.now
    session.usage_slot = usage_slot
    session.packets[0] = 1
    session.bytes[0] = packet.ip_len
    adopt(program, session, decision)
    count_rule(state, session.fw_slot, 1, 0, 0)
    count_rule(state, session.dnat_slot, 1, 0, 0)
    if session.snat_slot != session.dnat_slot:
        count_rule(state, session.snat_slot, 1, 0, 0)
    if usage_slot != NONE:
        count_holder(state, usage_slot, 1)
    if packet.kind == K_TCP:
        open_windows(session, packet)
        if packet.tcp_flags & RST:
            session.state[0] = TCP_TIME_WAIT
            session.state[1] = TCP_TIME_WAIT
        elif packet.tcp_flags & FIN:
            session.state[0] = TCP_CLOSING
        elif packet.tcp_flags & (SYN | ACK) == SYN:
            session.state[0] = TCP_SYN_SENT
        else:
            session.state[0] = TCP_ESTABLISHED
    elif packet.kind == K_UDP:
        session.state[0] = UDP_SINGLE
    if is_half_open(session):
        state.table.half_open += 1
    elif packet.kind == K_TCP:
        not_half_open(state)
    session.expires = state.now + timeout(program, session, True)
    session.id = count_created(state)
    due_add(&state.table, number)
    open_control(state, program, number, decision)
    note_sessions(state)
    tell_session(&state.events, state.now, E_STARTED, 0, session)


cdef inline bint still_admitted(State *state, const ProgramData *program, uint32_t number) noexcept nogil:
    # RECHECK: would the present rules let the session's first packet in, and rewrite it the same way?
    cdef Session *session = &state.table.sessions[number]
    cdef Decision decision
    cdef Packet first
    cdef const Key *reply = &session.flow[REPLY].key
    first.key = session.flow[ORIGINAL].key
    first.family = key_family(&first.key)
    first.proto = key_proto(&first.key)
    first.kind = session.kind
    first.ttl = 64
    first.unsegmented = True
    first.asked = NOT_ASKED
    first.span = 0
    first.ip_len = 0
    first.tcp_flags = SYN
    first.icmp_type = <uint8_t>(key_dport(&first.key) >> 8)
    first.icmp_code = <uint8_t>key_dport(&first.key)
    if session.kind == K_ICMP_REPLY:
        first.icmp_type = <uint8_t>(key_sport(&first.key) >> 8)
    decision.expected = NULL
    decide(state, program, &first, NULL, session.flow[REPLY].out_port, &decision, NULL)
    if (decision.verdict != V_ALLOW or decision.east_west or decision.stateless
            or decision.out_port != session.flow[ORIGINAL].out_port
            or decision.key.dst_hi != reply.src_hi or decision.key.dst_lo != reply.src_lo
            or key_dport(&decision.key) != key_sport(reply)):
        return False
    if decision.snat != NO_RULE and program.nat.rules[decision.snat].type == NAT_SNAT:
        if place_in_pool(&program.nat.rules[decision.snat], reply.dst_hi, reply.dst_lo) == NONE:
            return False
    elif (decision.key.src_hi != reply.dst_hi or decision.key.src_lo != reply.dst_lo
            or key_sport(&decision.key) != key_dport(reply)):
        return False
    fold_session(state, session)
    adopt(program, session, &decision)
    judge_control(state, program, number, &decision)
    return True
