# One packet through the engine: session lookup, the recorded rewrite on a hit, decide() and a new session on a miss.
# Together with decide() this is the only place where the order is written.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.account cimport count_decision, end_session, expire, log_rules, sessions_of, slot_of
from native.admit cimport allocate, open_session, still_admitted, timeout
from native.alg cimport announce_tftp, awaiting, follow
from native.answer cimport answerable, echo_reply, icmp_error, reset, segment
from native.classify cimport NO_RULE
from native.cut cimport plan_cut
from native.decide cimport (
    ANSWER_ICMP, ANSWER_RESET, Decision, decide, drop_expired, drop_too_big, is_group, is_large, is_martian, is_too_big,
    route_to,
)
from native.engine cimport Result, State
from native.events cimport END_CONFIG, END_REUSED
from native.expect cimport drop_expectation
from native.hairpin cimport Journey, begin_journey, end_journey, enter_again, mark_hairpin
from native.icmp cimport forward_error, parse_quote, related_flow, take_back_quote
from native.kinds cimport PORT_UPLINK, TM_TCP_ESTABLISHED
from native.limits cimport challenge_clock, error_clock, give_place, not_half_open, note_sessions, take_place
from native.living cimport living
from native.mapped cimport turn_into_reply
from native.packet cimport (
    ACK, FIN, K_ICMP_ERROR, K_ICMP_QUERY, K_OTHER, K_TCP, K_UDP, PARSED, RST, SYN, Key, Packet, came_in_pieces,
    last_next_header,
)
from native.program cimport ProgramData
from native.reassembly cimport assemble
from native.record cimport NO_PORT, NO_SLOT, Recorder, StepRecord, note, note_after, note_kind
from native.rewrite cimport forward, plan_rewrite
from native.session cimport (
    NONE, RW_ALG, RW_HAIRPIN, RW_SRC, RW_TUPLE, TCP_FIN_WAIT_2, UDP_MULTIPLE, UDP_NO_TRAFFIC, UDP_SINGLE, Flow, Session,
    flow_of, is_half_open, keep_alive, key_reversed, stays_established, track,
)
from native.shared cimport shared_load, swap_if
from native.shift cimport take_back, told_by
from native.stats cimport *
from native.window cimport (
    W_GOOD, W_STATE, W_STATE_CHALLENGE, W_WINDOW, W_WINDOW_RESET, acknowledged_by, judge,
)
from native.wire cimport likely, unlikely

cdef enum:
    SECOND = 1_000_000_000
    NO_NEXT_HEADER = 59         # nothing follows (RFC 8200 4.7)


cdef inline StepRecord *note_hit(Recorder *recorder, const Session *session, uint16_t out_port) noexcept nogil:
    # The session that decides, and every rule it stands on.
    cdef StepRecord *step = note(recorder, S_SESSION, T_HIT, session.admitted_slot, out_port)
    if step != NULL:
        step.dnat_slot = session.dnat_slot
        step.snat_slot = session.snat_slot
    return step


cdef inline void note_announced(State *state, uint16_t announced, Recorder *recorder) noexcept nogil:
    # The session to come, if there is one.
    if announced:
        note_after(note(recorder, S_SESSION, T_EXPECT, NO_SLOT, NO_PORT), &state.expectations.pool[announced].key)


cdef inline void answer_with(
    const ProgramData *program, const Packet *packet, uint16_t in_port, uint8_t *frame, uint32_t length, Result *result
) noexcept nogil:
    # What the edge made goes back by the way the packet came, if there is a length and someone to receive it.
    if length == 0 or not answerable(program, packet):
        return
    result.own = True
    result.out_port = in_port
    result.frame = frame
    result.length = length
    mark_hairpin(program, packet.family, packet.key.src_hi, packet.key.src_lo, result)


cdef inline bint may_send(const ProgramData *program, uint64_t *next_one, State *state) noexcept nogil:
    # RFC 1812 4.3.2.8, RFC 4443 2.4 (f), RFC 5961 7: a bucket that holds one second's answers and is filled as fast (as
    # a virtual scheduling algorithm: *next_one runs ahead of the clock by what has been taken out).
    cdef uint64_t next_now = shared_load(next_one)
    cdef uint64_t begin
    if program.answer_interval == 0:
        return True
    while True:
        begin = max(next_now, state.now)
        if begin - state.now > SECOND - program.answer_interval:
            state.totals.answers_limited += 1
            return False
        if swap_if(next_one, &next_now, begin + program.answer_interval):
            return True


cdef inline void answer_with_error(
    State *state, const ProgramData *program, const Packet *packet, uint16_t in_port, uint8_t icmp_type,
    uint8_t icmp_code, uint32_t second_word, uint8_t *buffer, Result *result, Recorder *recorder
) noexcept nogil:
    cdef uint32_t length = icmp_error(program, packet, in_port, icmp_type, icmp_code, second_word, buffer)
    if length == 0 or not answerable(program, packet):
        return
    if unlikely(not may_send(program, error_clock(state), state)):
        note(recorder, S_LOCAL, T_LIMITED, NO_SLOT, NO_PORT)
        return
    answer_with(program, packet, in_port, buffer, length, result)


cdef inline void send_answer(
    State *state, const ProgramData *program, const Packet *packet, uint16_t in_port, const Decision *decision,
    uint8_t *buffer, Result *result, Recorder *recorder
) noexcept nogil:
    if decision.answer == ANSWER_RESET:
        answer_with(program, packet, in_port, buffer, reset(packet, in_port, buffer), result)
    elif decision.answer == ANSWER_ICMP:
        answer_with_error(state, program, packet, in_port, decision.answer_type, decision.answer_code,
                          decision.answer_word, buffer, result, recorder)


cdef inline void refuse_segment(
    State *state, const ProgramData *program, const Packet *packet, uint16_t in_port, const Session *session,
    int direction, uint8_t judgement, uint8_t *buffer, Result *result, Recorder *recorder
) noexcept nogil:
    # RFC 5961: what may be a guess at a live connection is asked back, in the name of the other side, which claims to
    # have received no more than it has acknowledged.  RFC 9293 3.5.1: what answers a SYN with an old number hears RST.
    cdef int peer = 1 - direction
    cdef uint32_t seq
    cdef uint32_t length
    note_hit(recorder, session, session.flow[direction].out_port)
    note(recorder, S_SESSION, T_DROP, NO_SLOT, NO_PORT)
    result.sized = False
    result.verdict = V_DROP
    result.reason = R_TCP_STATE if judgement == W_STATE or judgement == W_STATE_CHALLENGE else R_TCP_WINDOW
    result.of_session = True
    if judgement == W_STATE or judgement == W_WINDOW or not answerable(program, packet):
        return
    if judgement == W_WINDOW_RESET:
        length = reset(packet, in_port, buffer)
    else:
        seq = told_by(state, session, peer, session.seqlo[peer])
        length = segment(packet, in_port, seq, acknowledged_by(session, peer), ACK, session.flow[peer].edge_win, buffer)
    if unlikely(not may_send(program, challenge_clock(state), state)):
        note(recorder, S_LOCAL, T_LIMITED, NO_SLOT, NO_PORT)
        return
    answer_with(program, packet, in_port, buffer, length, result)


cdef inline bint fits(
    State *state, const ProgramData *program, const Packet *packet, uint16_t in_port,
    const Session *session, const Flow *flow, uint8_t *buffer, Result *result, Recorder *recorder
) noexcept nogil:
    # A large packet of a session: it is cut, or dropped and its sender told (but for errors, about which none speaks).
    cdef Decision decision
    if not is_too_big(program, packet):
        plan_cut(state, program, packet, packet.ip_len, state.fragments.came.at, result)
        return True
    note_hit(recorder, session, flow.out_port)
    note(recorder, S_ROUTE, T_TOO_BIG, NO_SLOT, NO_PORT)
    drop_too_big(program, packet, &decision)
    result.verdict = V_DROP
    result.reason = R_TOO_BIG
    send_answer(state, program, packet, in_port, &decision, buffer, result, recorder)
    return False


cdef inline void on_session(
    State *state, const ProgramData *program, Packet *packet, uint16_t in_port, uint32_t found,
    uint8_t *buffer, Result *result, Recorder *recorder
) noexcept nogil:
    cdef uint32_t number = found >> 1
    cdef int direction = found & 1
    cdef Session *session = &state.table.sessions[number]
    cdef Flow *flow = &session.flow[direction]
    cdef bint was_half_open
    cdef uint8_t judgement
    cdef uint64_t lifetime
    cdef uint16_t announced = 0
    cdef Decision decision
    cdef StepRecord *step
    cdef Key after
    if unlikely(packet.ttl <= 1):
        note_hit(recorder, session, flow.out_port)
        note(recorder, S_ROUTE, T_TTL_EXPIRED, NO_SLOT, NO_PORT)
        drop_expired(packet, &decision)
        result.verdict = V_DROP
        result.reason = R_TTL_EXPIRED
        send_answer(state, program, packet, in_port, &decision, buffer, result, recorder)
        return
    if unlikely(is_large(program, packet)):
        if not fits(state, program, packet, in_port, session, flow, buffer, result, recorder):
            return
    if session.kind == K_TCP:
        if unlikely(flow.rewrite & RW_ALG):
            take_back(state, number, direction, packet)
        judgement = judge(session, direction, packet)
        if unlikely(judgement != W_GOOD):
            refuse_segment(state, program, packet, in_port, session, direction, judgement, buffer, result, recorder)
            return
        if likely(stays_established(session, packet.tcp_flags)):
            lifetime = program.timers[<int>TM_TCP_ESTABLISHED]
        else:
            was_half_open = is_half_open(session)
            track(session, direction, packet.tcp_flags)
            lifetime = timeout(program, session, False)
            if was_half_open and not is_half_open(session):
                state.table.half_open -= 1
                not_half_open(state)
                note_sessions(state)
    elif session.kind == K_UDP:
        if session.state[direction] == UDP_NO_TRAFFIC:
            session.state[direction] = UDP_SINGLE
        if session.state[1 - direction] == UDP_SINGLE:
            session.state[1 - direction] = UDP_MULTIPLE
        lifetime = timeout(program, session, False)
    else:
        lifetime = timeout(program, session, False)
    session.packets[direction] += 1
    session.bytes[direction] += packet.ip_len
    keep_alive(&state.table, number, state.now + lifetime)
    result.verdict = V_ALLOW
    result.reason = R_SESSION
    if flow.rewrite & RW_TUPLE and (packet.family == 6 or recorder != NULL):
        # Only then: of IPv4 the flow itself says what to write, and the other one is a cache line more.
        key_reversed(&session.flow[1 - direction].key, 0, &after)
    if unlikely(flow.rewrite & RW_ALG):
        announced = follow(state, program, number, direction, packet, buffer)
        if unlikely(result.sized):              # its length may be another now
            plan_cut(state, program, packet, packet.ip_len, state.fragments.came.at, result)
    forward(packet, flow, &after, result)
    if recorder != NULL:
        step = note_hit(recorder, session, flow.out_port)
        if flow.rewrite & RW_TUPLE:
            note_after(step, &after)
        note_announced(state, announced, recorder)
    result.hairpin = flow.rewrite & RW_HAIRPIN != 0


cdef inline void relate(
    State *state, const ProgramData *program, Packet *packet, Packet *quote, uint16_t in_port, uint32_t found,
    uint8_t *buffer, Result *result, Recorder *recorder
) noexcept nogil:
    # An ICMP error about a packet of a session: translated as the session is, outside and inside.
    cdef Session *session = &state.table.sessions[found >> 1]
    cdef int direction = found & 1
    cdef const Flow *flow = &session.flow[direction]
    cdef StepRecord *step
    cdef Key outer = packet.key
    cdef Key leaving
    cdef Key quoted
    if packet.ttl <= 1:
        note_hit(recorder, session, flow.out_port)
        note(recorder, S_ROUTE, T_TTL_EXPIRED, NO_SLOT, NO_PORT)
        result.verdict = V_DROP
        result.reason = R_TTL_EXPIRED
        return
    if is_large(program, packet) and not fits(
            state, program, packet, in_port, session, flow, buffer, result, recorder):
        return
    step = note_hit(recorder, session, flow.out_port)
    key_reversed(&session.flow[1 - direction].key, 0, &leaving)
    key_reversed(&leaving, 0, &quoted)
    outer.dst_hi = leaving.dst_hi
    outer.dst_lo = leaving.dst_lo
    if flow.rewrite & RW_SRC:
        # Whoever found the error may be a private router, whose address must not show (RFC 5508, REQ-4 and REQ-5).
        outer.src_hi = leaving.src_hi
        outer.src_lo = leaving.src_lo
    if flow.rewrite & RW_TUPLE:
        note_after(step, &outer)
    if session.kind == K_TCP:
        take_back_quote(&state.expectations, session, found, packet, quote)
    session.packets[direction] += 1
    session.bytes[direction] += packet.ip_len
    result.verdict = V_ALLOW
    result.reason = R_RELATED
    forward_error(packet, quote, &outer, &quoted, flow.out_port, result)
    result.hairpin = flow.rewrite & RW_HAIRPIN != 0


cdef inline void serve_locally(
    State *state, const ProgramData *program, const Packet *packet, uint16_t in_port,
    uint8_t *buffer, Result *result, Recorder *recorder
) noexcept nogil:
    # The edge itself: it answers pings and refuses everything else that nobody here serves.
    cdef uint32_t pointer
    cdef uint32_t length
    if packet.kind == K_ICMP_QUERY and packet.icmp_code == 0 and packet.icmp_type == (8 if packet.family == 4 else 128):
        note(recorder, S_LOCAL, T_ECHO_REPLY, NO_SLOT, NO_PORT)
        length = echo_reply(packet, in_port, buffer)
        answer_with(program, packet, in_port, buffer, length, result)
        if came_in_pieces(packet) and result.length:
            plan_cut(state, program, packet, length - 14, 0 if packet.family == 4 else 40, result)
    elif packet.kind == K_TCP and not packet.tcp_flags & RST:
        note(recorder, S_LOCAL, T_RESET, NO_SLOT, NO_PORT)
        answer_with(program, packet, in_port, buffer, reset(packet, in_port, buffer), result)
    elif packet.kind == K_UDP:
        note(recorder, S_LOCAL, T_UNREACHABLE, NO_SLOT, NO_PORT)
        if packet.family == 4:
            answer_with_error(state, program, packet, in_port, 3, 3, 0, buffer, result, recorder)
        else:
            answer_with_error(state, program, packet, in_port, 1, 4, 0, buffer, result, recorder)
    elif packet.kind == K_OTHER and packet.family == 4:
        note(recorder, S_LOCAL, T_UNREACHABLE, NO_SLOT, NO_PORT)
        answer_with_error(state, program, packet, in_port, 3, 2, 0, buffer, result, recorder)
    elif packet.kind == K_OTHER and packet.proto != NO_NEXT_HEADER:
        # RFC 8200 4: not "unreachable", but a pointer to who says that this follows.
        note(recorder, S_LOCAL, T_UNREACHABLE, NO_SLOT, NO_PORT)
        pointer = last_next_header(packet.l3, <uint32_t>(packet.l4 - packet.l3))
        answer_with_error(state, program, packet, in_port, 4, 1, pointer, buffer, result, recorder)
    else:
        note(recorder, S_LOCAL, T_ACCEPTED, NO_SLOT, NO_PORT)


cdef inline void admit(
    State *state, const ProgramData *program, Packet *packet, uint16_t in_port, Decision *decision,
    Result *result, Recorder *recorder
) noexcept nogil:
    # An allowed packet that needs a session: limits, ports, the session itself, and out.
    cdef Key reply
    cdef Session *session
    cdef uint32_t usage_slot
    cdef uint8_t problem
    cdef uint8_t side = 1 if program.ports[decision.out_port].kind == PORT_UPLINK else 0
    cdef uint32_t blamed
    cdef uint32_t number
    if (program.max_sessions_per_source and sessions_of(state, &packet.key) >= program.max_sessions_per_source) or (
            not take_place(state, program, packet.kind == K_TCP)):
        note(recorder, S_SESSION, T_DROP, NO_SLOT, NO_PORT)
        result.verdict = V_DROP
        result.reason = R_SESSION_LIMIT
        return
    problem = allocate(state, program, packet, decision, side, &reply, &usage_slot)
    if problem != PARSED:
        give_place(state, packet.kind == K_TCP)
        blamed = slot_of(program, decision.snat if decision.snat != NO_RULE else decision.dnat)
        note(recorder, S_NAT, T_DROP, blamed, NO_PORT)
        result.verdict = V_DROP
        result.reason = problem
        return
    open_session(state, program, packet, in_port, decision, &reply, usage_slot, &session)
    if session == NULL:
        give_place(state, packet.kind == K_TCP)
        note(recorder, S_SESSION, T_DROP, NO_SLOT, NO_PORT)
        result.verdict = V_DROP
        result.reason = R_SESSION_LIMIT
        return
    note_after(decision.snat_step, &decision.key)
    log_rules(state, program, packet, in_port, decision)
    forward(packet, &session.flow[0], &decision.key, result)
    result.hairpin = session.flow[0].rewrite & RW_HAIRPIN != 0
    if packet.kind == K_UDP and session.flow[0].rewrite & RW_ALG:
        number = <uint32_t>(session - state.table.sessions)
        note_announced(state, announce_tftp(state, program, number), recorder)


cdef inline void on_miss(
    State *state, const ProgramData *program, Packet *packet, Packet *quote, uint16_t in_port,
    uint8_t *buffer, Result *result, Recorder *recorder
) noexcept nogil:
    cdef Decision decision
    cdef Flow flow
    cdef uint16_t awaited = awaiting_alive(state, packet)
    decision.expected = NULL
    if unlikely(awaited):
        decision.expected = &state.expectations.pool[awaited]
        decision.control = &state.table.sessions[decision.expected.control]
    decide(state, program, packet, quote, in_port, &decision, recorder)
    result.verdict = decision.verdict
    result.reason = decision.reason
    if decision.verdict == V_ALLOW and decision.related != NULL:
        forward_error(packet, quote, &decision.key, &decision.quoted, decision.out_port, result)
        mark_hairpin(program, packet.family, decision.key.dst_hi, decision.key.dst_lo, result)
    elif decision.verdict == V_ALLOW and not decision.east_west and not decision.stateless:
        admit(state, program, packet, in_port, &decision, result, recorder)
        if result.reason == R_ALG:
            drop_expectation(&state.expectations, awaited)
    elif decision.verdict == V_ALLOW:
        count_decision(state, program, packet, in_port, &decision, True)
        plan_rewrite(&flow, &packet.key, &decision.key)
        flow.out_port = decision.out_port
        forward(packet, &flow, &decision.key, result)
        mark_hairpin(program, packet.family, decision.key.dst_hi, decision.key.dst_lo, result)
    elif decision.verdict == V_LOCAL:
        count_decision(state, program, packet, in_port, &decision, False)
        serve_locally(state, program, packet, in_port, buffer, result, recorder)
    else:
        count_decision(state, program, packet, in_port, &decision, False)
        send_answer(state, program, packet, in_port, &decision, buffer, result, recorder)
    if result.verdict == V_ALLOW and is_large(program, packet):
        plan_cut(state, program, packet, packet.ip_len, state.fragments.came.at, result)


cdef inline bint is_reused(const Session *session, const Packet *packet) noexcept nogil:
    # A new connection on the ports of one that both ends have closed.
    return (session.kind == K_TCP and session.state[0] >= TCP_FIN_WAIT_2 and session.state[1] >= TCP_FIN_WAIT_2
            and packet.tcp_flags & (SYN | ACK | RST | FIN) == SYN)


cdef inline uint16_t awaiting_alive(State *state, const Packet *packet) noexcept nogil:
    # What a packet without a session fulfils, or 0.  The time of the control session may be over, which ends it.
    cdef uint16_t awaited = awaiting(state, packet)
    if unlikely(awaited) and living(state, state.expectations.pool[awaited].control << 1) == NONE:
        return 0
    return awaited


cdef inline bint still_stands(State *state, const ProgramData *program, uint32_t found) noexcept nogil:
    # Under RECHECK the present rules have the last word on older sessions.
    return (not program.recheck or state.table.sessions[found >> 1].revision == program.revision
            or still_admitted(state, program, found >> 1))


cdef inline void on_icmp_error(
    State *state, const ProgramData *program, Packet *packet, uint16_t in_port,
    uint8_t *buffer, Result *result, Recorder *recorder
) noexcept nogil:
    cdef Packet quote
    cdef bint readable = parse_quote(packet, &quote)
    cdef uint32_t found = NONE
    if readable and not is_martian(&packet.key) and not is_group(&packet.key, route_to(program, &packet.key)):
        found = living(state, related_flow(&state.table, &state.expectations, packet, &quote))
    if found == NONE:
        note(recorder, S_SESSION, T_MISS, NO_SLOT, NO_PORT)
    elif still_stands(state, program, found):
        relate(state, program, packet, &quote, in_port, found, buffer, result, recorder)
        return
    else:
        note(recorder, S_SESSION, T_ENDED, NO_SLOT, NO_PORT)
        end_session(state, found >> 1, END_CONFIG)
    on_miss(state, program, packet, &quote if readable else NULL, in_port, buffer, result, recorder)


cdef inline void no_output(Result *result) noexcept nogil:
    result.hairpin = False
    result.sized = False
    result.own = False
    result.passed_on = False
    result.of_session = False
    result.out_port = NO_PORT
    result.frame = NULL
    result.length = 0


cdef inline void judge_packet(
    State *state, const ProgramData *program, Packet *packet, uint16_t in_port,
    uint8_t *buffer, Result *result, Recorder *recorder
) noexcept nogil:
    cdef uint32_t found
    cdef bint reused
    if unlikely(packet.kind == K_ICMP_ERROR):
        on_icmp_error(state, program, packet, in_port, buffer, result, recorder)
        return
    found = living(state, flow_of(&state.table, packet))
    if likely(found != NONE and not is_reused(&state.table.sessions[found >> 1], packet)
              and still_stands(state, program, found)):
        on_session(state, program, packet, in_port, found, buffer, result, recorder)
        return
    if found == NONE:
        note(recorder, S_SESSION, T_MISS, NO_SLOT, NO_PORT)
    else:
        note(recorder, S_SESSION, T_ENDED, NO_SLOT, NO_PORT)
        reused = is_reused(&state.table.sessions[found >> 1], packet)
        end_session(state, found >> 1, END_REUSED if reused else END_CONFIG)
    on_miss(state, program, packet, NULL, in_port, buffer, result, recorder)


cdef inline void pipeline(
    State *state, const ProgramData *program, Packet *packet, uint16_t in_port, bint map_replies,
    uint8_t *answers, Result *result, Recorder *recorder
) noexcept nogil:
    # One packet from parse(), packet.hash set, the clock in state.now.  The edge writes frames of its own to `answers`,
    # which has ANSWER_ROOM bytes, twice that where packets hairpin inside.
    cdef Journey journey
    no_output(result)
    begin_journey(&journey, answers)
    expire(state)
    if likely(packet.error == PARSED) or assemble(state, program, packet, in_port, result, recorder):
        if map_replies:
            turn_into_reply(state, program, packet, &in_port)
        while True:
            note_kind(recorder, packet.kind)
            judge_packet(state, program, packet, in_port, journey.buffer, result, recorder)
            if likely(not result.hairpin) or not program.hairpin_inside:
                break
            if not enter_again(state, &journey, answers, packet, &in_port, result, recorder):
                break
    elif unlikely(result.passed_on):
        return
    end_journey(&journey, result)
    state.totals.verdicts[result.verdict] += 1
    state.totals.reasons[result.reason] += 1
    if unlikely(result.verdict == V_DROP or result.verdict == V_REJECT):
        state.totals.drops[result.reason] += 1
        state.totals.drops_of_sessions += result.of_session and result.reason == R_TCP_STATE
