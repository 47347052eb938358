# The miss path up to the firewall's answer: the order of stages, without side effects.
#
# decide() is a function of (program, usage counters and mappings, packet, port, what an ALG expects of it): the same
# for a packet that is there, for a session that is judged again, and for a trace.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.classify cimport DIRECTION_IN, DIRECTION_OUT, NO_RULE, Rules, first_match
from native.engine cimport State
from native.expect cimport EXPECT_PASSIVE, Expectation
from native.kinds cimport (
    MATCH_BYPASS, MATCH_EXTERNAL, NAT_NO_DNAT, NAT_NO_SNAT, NAT_REFLEXIVE, PORT_DISTRIBUTED, PORT_ISOLATED,
    PORT_SERVICE, PORT_UPLINK, ROUTE_BROADCAST, ROUTE_DEFAULT, ROUTE_GATEWAY, ROUTE_ISOLATED, ROUTE_OWNED,
    ROUTE_PRIMARY, ROUTE_STATIC,
)
from native.nat cimport NatRule, dnat_port, to_external, to_internal
from native.overlay cimport overlaid_match
from native.packet cimport (
    ACK, FIN, K_ICMP_ERROR, K_ICMP_REPLY, K_TCP, NOT_ASKED, RST, SYN,
    Key, Packet, is_odd, key_dport, key_family, key_proto, key_sport, sent_size, set_ports,
)
from native.pool cimport PoolChoice, choose_address
from native.program cimport FirewallRule, ProgramData, is_blocked, rule_in_force
from native.record cimport NO_PORT, NO_SLOT, Recorder, StepRecord, note, note_after
from native.route cimport NOWHERE, Route, is_multicast, map_lookup
from native.session cimport Session, key_reversed, same_key
from native.stats cimport *
from native.wire cimport likely

cdef enum Answer:
    ANSWER_NONE = 0
    ANSWER_ICMP = 1
    ANSWER_RESET = 2

ctypedef struct Decision:
    uint8_t verdict         # ALLOW, DROP, REJECT or LOCAL
    uint8_t reason
    uint8_t answer
    uint8_t answer_type
    uint8_t answer_code
    uint32_t answer_word    # second word of an ICMP answer
    bint east_west
    bint stateless          # a REFLEXIVE hit and nothing that needs a session
    const NatRule *related  # an ICMP error: the REFLEXIVE rule that translates it along with what it quotes, or NULL
    uint16_t out_port
    uint32_t fw_rule        # into ProgramData.firewall_rules; NO_RULE where none decided
    uint32_t dnat           # into Nat.rules; NO_RULE
    uint32_t snat
    uint32_t bypass         # the NAT rule that let it past the firewall; NO_RULE
    PoolChoice source       # SNAT: where the address is from
    Key key                 # the packet's tuple as it will leave, but for the port that SNAT still has to allocate
    Key saw                 # what the firewall was asked about; of a related error, about the packet that it quotes
    Key quoted              # of a related error: the tuple that its quote will bear
    StepRecord *snat_step   # to be completed once a port is allocated
    const Expectation *expected     # set by the caller: what an ALG expects the packet to be, or NULL
    const Session *control  # the session that the ALG belongs to


cdef inline bint never_forwarded(uint8_t family, uint64_t hi, uint64_t lo) noexcept nogil:
    # Loopback, unspecified and link-local, as a source or as a destination.
    if family == 4:
        return lo >> 24 == 127 or lo >> 24 == 0 or lo >> 16 == 0xa9fe
    return (hi == 0 and lo <= 1) or hi >> 54 == 0x3fa


cdef inline bint is_martian(const Key *key) noexcept nogil:
    cdef uint8_t family = key_family(key)
    if never_forwarded(family, key.src_hi, key.src_lo) or never_forwarded(family, key.dst_hi, key.dst_lo):
        return True
    if family == 4:
        return key.src_lo >= 0xe0000000ULL         # multicast, reserved, broadcast
    return key.src_hi >> 56 == 0xff


cdef inline const Route *route_to(const ProgramData *program, const Key *key) noexcept nogil:
    # Where the destination is, NULL: nowhere.
    cdef uint32_t row = map_lookup(&program.route_map[key_family(key) == 6], key.dst_hi, key.dst_lo)
    return NULL if row == NOWHERE else &program.routes[row]


cdef inline bint is_group(const Key *key, const Route *route) noexcept nogil:
    # Is the destination, which `route` leads to, a multicast or broadcast address?
    return is_multicast(key_family(key), key.dst_hi, key.dst_lo) or (route != NULL and route.kind == ROUTE_BROADCAST)


cdef inline bint is_owned(const ProgramData *program, uint8_t family, uint64_t hi, uint64_t lo) noexcept nogil:
    # Is the address one of those allocated to this edge on an uplink?
    cdef uint32_t row = map_lookup(&program.route_map[family == 6], hi, lo)
    return row != NOWHERE and (program.routes[row].kind == ROUTE_OWNED or program.routes[row].kind == ROUTE_PRIMARY)


cdef inline bint is_border(const ProgramData *program, uint16_t port) noexcept nogil:
    # Where NAT sits: uplinks and service interfaces.
    return program.ports[port].kind == PORT_UPLINK or program.ports[port].kind == PORT_SERVICE


cdef inline bint is_local(
    const ProgramData *program, const Packet *packet, const Key *key, uint16_t in_port, uint8_t kind
) noexcept nogil:
    # Is this route kind the edge itself, as seen from this port?  A machine behind a distributed network reaches an
    # uplink's own address directly unless destination NAT claims the packet: then it goes out and comes back in.
    if kind == ROUTE_GATEWAY:
        return True
    if kind != ROUTE_OWNED and kind != ROUTE_PRIMARY:
        return False
    if is_border(program, in_port):
        return True
    return kind == ROUTE_PRIMARY and (
        packet.kind == K_ICMP_ERROR
        or first_match(&program.dnat, key, packet.icmp_type, packet.icmp_code, 0) == NO_RULE)


cdef inline void drop(Decision *decision, uint8_t reason) noexcept nogil:
    decision.verdict = V_DROP
    decision.reason = reason


cdef inline void drop_unreachable(const Packet *packet, Decision *decision, uint8_t reason) noexcept nogil:
    # With "network unreachable" (IPv4 3/0) or "no route to destination" (IPv6 1/0) for an answer.
    drop(decision, reason)
    decision.answer = ANSWER_ICMP
    decision.answer_type = 3 if packet.family == 4 else 1
    decision.answer_code = 0


cdef inline bint is_large(const ProgramData *program, const Packet *packet) noexcept nogil:
    # Does size matter at all, because the packet exceeds the MTU or came in pieces?
    return packet.span > program.mtu


cdef inline bint is_too_big(const ProgramData *program, const Packet *packet) noexcept nogil:
    # IPv6, and IPv4 that says so, is never fragmented by a router: the sender is told (RFC 1191, RFC 8201).  What came
    # in pieces was of the size of the largest.
    if likely(not is_large(program, packet)):
        return False
    return sent_size(packet) > program.mtu and not packet.unsegmented and (packet.family == 6 or packet.l3[6] & 0x40)


cdef inline void drop_too_big(const ProgramData *program, const Packet *packet, Decision *decision) noexcept nogil:
    drop(decision, R_TOO_BIG)
    decision.answer = ANSWER_ICMP
    decision.answer_word = program.mtu
    decision.answer_type = 2 if packet.family == 6 else 3
    decision.answer_code = 0 if packet.family == 6 else 4


cdef inline void drop_expired(const Packet *packet, Decision *decision) noexcept nogil:
    drop(decision, R_TTL_EXPIRED)
    decision.answer = ANSWER_ICMP
    decision.answer_word = 0
    decision.answer_type = 11 if packet.family == 4 else 3
    decision.answer_code = 0


cdef inline bint provider_drops(const ProgramData *program, Decision *decision, Recorder *recorder) noexcept nogil:
    if not program.provider_filter:
        return False
    if is_blocked(program, key_proto(&decision.key), key_dport(&decision.key)):
        note(recorder, S_PROVIDER_FILTER, T_DROP, NO_SLOT, NO_PORT)
        drop(decision, R_PROVIDER_FILTER)
        return True
    note(recorder, S_PROVIDER_FILTER, T_PASS, NO_SLOT, NO_PORT)
    return False


cdef inline void destination_nat(
    const ProgramData *program, const Packet *packet, Decision *decision, Recorder *recorder
) noexcept nogil:
    cdef const NatRule *rule
    cdef Key *key = &decision.key
    cdef uint8_t result = T_DNAT
    decision.dnat = first_match(&program.dnat, key, packet.icmp_type, packet.icmp_code, 0)
    if decision.dnat == NO_RULE:
        note(recorder, S_NAT, T_MISS, NO_SLOT, NO_PORT)
        return
    rule = &program.nat.rules[decision.dnat]
    if rule.type == NAT_NO_DNAT:
        note(recorder, S_NAT, T_NO_DNAT, rule.slot, NO_PORT)
        return
    to_internal(rule, &key.dst_hi, &key.dst_lo)
    set_ports(key, key_sport(key), dnat_port(rule, key_dport(key)))
    if rule.type == NAT_REFLEXIVE:
        result = T_REFLEXIVE
    note_after(note(recorder, S_NAT, result, rule.slot, NO_PORT), key)


cdef inline void source_nat(
    const State *state, const ProgramData *program, const Packet *packet, Decision *decision, Recorder *recorder
) noexcept nogil:
    cdef const NatRule *rule
    cdef Key *key = &decision.key
    decision.snat = first_match(&program.snat, key, packet.icmp_type, packet.icmp_code, 0)
    if decision.snat == NO_RULE:
        note(recorder, S_NAT, T_MISS, NO_SLOT, NO_PORT)
        return
    rule = &program.nat.rules[decision.snat]
    if rule.type == NAT_NO_SNAT:
        note(recorder, S_NAT, T_NO_SNAT, rule.slot, NO_PORT)
    elif rule.type == NAT_REFLEXIVE:
        to_external(rule, &key.src_hi, &key.src_lo)
        note_after(note(recorder, S_NAT, T_REFLEXIVE, rule.slot, NO_PORT), key)
    else:
        choose_address(state, program, packet, rule, &decision.source, &key.src_hi, &key.src_lo)
        decision.snat_step = note(recorder, S_NAT, T_SNAT, rule.slot, NO_PORT)


cdef inline const NatRule *reflexive_match(
    const ProgramData *program, const Rules *rules, const Packet *packet, const Packet *quote
) noexcept nogil:
    # The REFLEXIVE rule that comes first for what answers the quoted packet, if the error goes to who sent that.
    cdef Key answers
    cdef uint32_t number
    if quote == NULL or packet.key.dst_hi != quote.key.src_hi or packet.key.dst_lo != quote.key.src_lo:
        return NULL
    key_reversed(&quote.key, 0, &answers)
    number = first_match(rules, &answers, 0, 0, 0)
    if number == NO_RULE or program.nat.rules[number].type != NAT_REFLEXIVE:
        return NULL
    return &program.nat.rules[number]


cdef inline void error_inwards(
    const ProgramData *program, const Packet *packet, const Packet *quote, Decision *decision, Recorder *recorder
) noexcept nogil:
    # An error about a packet whose source REFLEXIVE had translated.
    cdef Key *key = &decision.key
    cdef const NatRule *rule = reflexive_match(program, &program.dnat, packet, quote)
    if rule == NULL:
        return
    to_internal(rule, &key.dst_hi, &key.dst_lo)
    decision.related = rule
    decision.quoted = quote.key
    decision.quoted.src_hi = key.dst_hi
    decision.quoted.src_lo = key.dst_lo
    decision.saw = quote.key if rule.firewall_match == MATCH_EXTERNAL else decision.quoted
    note_after(note(recorder, S_NAT, T_REFLEXIVE, rule.slot, NO_PORT), key)


cdef inline void error_outwards(
    const ProgramData *program, const Packet *packet, const Packet *quote, Decision *decision, Recorder *recorder
) noexcept nogil:
    # An error about a packet whose destination REFLEXIVE had translated; who found the error stays hidden, too.
    cdef Key *key = &decision.key
    cdef const NatRule *rule = reflexive_match(program, &program.snat, packet, quote)
    if rule == NULL:
        return
    decision.related = rule
    decision.quoted = quote.key
    to_external(rule, &decision.quoted.dst_hi, &decision.quoted.dst_lo)
    key.src_hi = decision.quoted.dst_hi
    key.src_lo = decision.quoted.dst_lo
    decision.saw = decision.quoted if rule.firewall_match == MATCH_EXTERNAL else quote.key
    note_after(note(recorder, S_NAT, T_REFLEXIVE, rule.slot, NO_PORT), key)


cdef inline const NatRule *translating(const ProgramData *program, uint32_t number) noexcept nogil:
    # The rule, unless there is none or it is a NO_ rule: for the firewall those are the same.
    cdef const NatRule *rule
    if number == NO_RULE:
        return NULL
    rule = &program.nat.rules[number]
    if rule.type == NAT_NO_DNAT or rule.type == NAT_NO_SNAT:
        return NULL
    return rule


cdef inline void firewall_view(
    const Packet *packet, const NatRule *dnat, const NatRule *snat, Decision *decision
) noexcept nogil:
    # The tuple that the firewall is asked about: each side internal or external as its NAT rule says.
    cdef Key *saw = &decision.saw
    saw[0] = decision.key
    if dnat != NULL and dnat.firewall_match == MATCH_EXTERNAL:
        saw.dst_hi = packet.key.dst_hi
        saw.dst_lo = packet.key.dst_lo
        saw.meta = packet.key.meta
    if snat == NULL or snat.firewall_match != MATCH_EXTERNAL:
        saw.src_hi = packet.key.src_hi
        saw.src_lo = packet.key.src_lo


cdef inline bint has_target(const Decision *decision) noexcept nogil:
    # Does an application layer gateway say where the packet goes?
    return decision.expected != NULL and decision.expected.has_target


cdef inline bint has_source(const Decision *decision) noexcept nogil:
    # Does one say whom it comes from?
    return decision.expected != NULL and decision.expected.has_source


cdef inline bint calls_back(
    const ProgramData *program, const Decision *decision, uint16_t in_port, uint8_t kind
) noexcept nogil:
    # A server behind a distributed network calls a client that, by the hairpin, has called it as an uplink's own
    # address: like what destination NAT claims, that goes out and comes back in.
    return kind == ROUTE_PRIMARY and decision.expected != NULL and not has_target(decision) and not is_border(
        program, in_port)


cdef inline void note_expected(
    const ProgramData *program, uint8_t result, uint32_t number, const Key *key, Recorder *recorder
) noexcept nogil:
    cdef uint32_t slot = NO_SLOT if number == NO_RULE else program.nat.rules[number].slot
    note_after(note(recorder, S_NAT, result, slot, NO_PORT), key)


cdef inline void expected_destination(
    const ProgramData *program, Decision *decision, Recorder *recorder
) noexcept nogil:
    # In place of destination NAT: what the control session's NAT rule has done to one of its ends, undone for another
    # session.
    cdef Key *key = &decision.key
    cdef bint passive = decision.expected.mode == EXPECT_PASSIVE
    cdef uint32_t slot = decision.control.dnat_slot if passive else decision.control.snat_slot
    key.dst_hi = decision.expected.target_hi
    key.dst_lo = decision.expected.target_lo
    set_ports(key, key_sport(key), decision.expected.target_port)
    decision.dnat = rule_in_force(&program.nat_at, slot)
    note_expected(program, T_DNAT, decision.dnat, key, recorder)


cdef inline void expected_source(const ProgramData *program, Decision *decision, Recorder *recorder) noexcept nogil:
    # In place of source NAT: the server answers under the name by which it was called.
    decision.key.src_hi = decision.expected.source_hi
    decision.key.src_lo = decision.expected.source_lo
    decision.snat = rule_in_force(&program.nat_at, decision.control.dnat_slot)
    note_expected(program, T_SNAT, decision.snat, &decision.key, recorder)


cdef inline void admit_expected(
    const ProgramData *program, const Packet *packet, Decision *decision, Recorder *recorder
) noexcept nogil:
    # The firewall rule of the control session stands for this one, too.
    cdef StepRecord *step
    decision.fw_rule = rule_in_force(&program.firewall_at, decision.control.fw_slot)
    firewall_view(packet, NULL, NULL, decision)
    decision.reason = R_ALG
    step = note(recorder, S_FIREWALL, T_ALG, NO_SLOT, NO_PORT)
    if step == NULL:
        return
    step.has_saw = 1
    step.saw = decision.saw
    if decision.fw_rule != NO_RULE:
        step.slot = program.firewall_rules[decision.fw_rule].slot
        step.logged = program.firewall_rules[decision.fw_rule].logging


cdef inline bint tracking_refuses(const ProgramData *program, const Packet *packet, Decision *decision) noexcept nogil:
    # What no rule can admit because it belongs to a session that is not there.  A rule that bypasses the firewall may
    # begin a session with anything but flags that no end sends.
    if decision.stateless:
        return False
    if decision.bypass != NO_RULE or not program.tcp_strict:
        if packet.kind == K_TCP and is_odd(packet.tcp_flags):
            drop(decision, R_TCP_STATE)
            return True
    if decision.bypass != NO_RULE:
        return False
    if packet.kind == K_ICMP_ERROR or packet.kind == K_ICMP_REPLY:
        drop(decision, R_ICMP_UNRELATED)
        return True
    if packet.kind == K_TCP and program.tcp_strict and packet.tcp_flags & (SYN | ACK | RST | FIN) != SYN:
        drop(decision, R_TCP_STRICT)
        return True
    return False


cdef inline void reject(const ProgramData *program, const Packet *packet, Decision *decision) noexcept nogil:
    if packet.kind == K_TCP:
        decision.answer = ANSWER_RESET
    else:
        decision.answer = ANSWER_ICMP
        decision.answer_type = 3 if packet.family == 4 else 1
        decision.answer_code = program.reject_code if packet.family == 4 else 1


cdef inline bint is_asked(
    const ProgramData *program, const Packet *packet, uint8_t direction, const Key *saw
) noexcept nogil:
    # Is it what native.ahead has asked about?
    return same_key(saw, &packet.key) and (program.firewall.direction_bits == 0 or direction == DIRECTION_OUT)


cdef inline bint firewall(
    const ProgramData *program, const Packet *packet, uint8_t direction, Decision *decision, Recorder *recorder
) noexcept nogil:
    # Asks the firewall; True when the packet goes on.
    cdef const NatRule *dnat = translating(program, decision.dnat)
    cdef const NatRule *snat = translating(program, decision.snat)
    cdef const FirewallRule *rule
    cdef StepRecord *step
    cdef uint8_t results[3]
    decision.stateless = (dnat != NULL or snat != NULL) and (dnat == NULL or dnat.type == NAT_REFLEXIVE) and (
        snat == NULL or snat.type == NAT_REFLEXIVE)
    if dnat != NULL and dnat.firewall_match == MATCH_BYPASS:
        decision.bypass = decision.dnat
    elif snat != NULL and snat.firewall_match == MATCH_BYPASS:
        decision.bypass = decision.snat
    if tracking_refuses(program, packet, decision):
        note(recorder, S_FIREWALL, T_DROP, NO_SLOT, NO_PORT)
        return False
    if decision.bypass != NO_RULE:
        note(recorder, S_FIREWALL, T_BYPASS, program.nat.rules[decision.bypass].slot, NO_PORT)
        decision.reason = R_NAT_BYPASS
        return True
    firewall_view(packet, dnat, snat, decision)
    if packet.asked != NOT_ASKED and is_asked(program, packet, direction, &decision.saw):
        decision.fw_rule = packet.asked
    else:
        decision.fw_rule = overlaid_match(
            &program.firewall, &program.overlay, &decision.saw, packet.icmp_type, packet.icmp_code, direction)
    if decision.fw_rule == NO_RULE:
        step = note(recorder, S_FIREWALL, T_DROP, NO_SLOT, NO_PORT)
        drop(decision, R_FW_DEFAULT)
    else:
        rule = &program.firewall_rules[decision.fw_rule]
        decision.reason = rule.reason
        decision.verdict = rule.action
        results[0] = T_ALLOW
        results[1] = T_DROP
        results[2] = T_REJECT
        step = note(recorder, S_FIREWALL, results[rule.action], rule.slot, NO_PORT)
        if step != NULL:
            step.logged = rule.logging
    if step != NULL:
        step.has_saw = 1
        step.saw = decision.saw
    if decision.verdict == V_REJECT:
        reject(program, packet, decision)
    return decision.verdict == V_ALLOW


cdef inline void admit_related(
    const ProgramData *program, const Packet *quote, uint8_t in_kind, uint8_t out_kind, Decision *decision,
    Recorder *recorder
) noexcept nogil:
    # REFLEXIVE keeps no session that could vouch for the packet which an error quotes: the error passes if the firewall
    # would have let that packet through, on its way the other way round.
    cdef uint8_t direction = (DIRECTION_IN if out_kind == PORT_UPLINK else 0) | (
        DIRECTION_OUT if in_kind == PORT_UPLINK else 0)
    cdef uint32_t found
    decision.reason = R_RELATED
    if decision.related.firewall_match == MATCH_BYPASS:
        return
    found = overlaid_match(
        &program.firewall, &program.overlay, &decision.saw, quote.icmp_type, quote.icmp_code, direction)
    if found != NO_RULE and program.firewall_rules[found].action == V_ALLOW:
        note(recorder, S_FIREWALL, T_ALLOW, program.firewall_rules[found].slot, NO_PORT)
        return
    note(recorder, S_FIREWALL, T_DROP, NO_SLOT if found == NO_RULE else program.firewall_rules[found].slot, NO_PORT)
    drop(decision, R_ICMP_UNRELATED)


cdef inline uint8_t route_result(uint8_t kind) noexcept nogil:
    return T_STATIC if kind == ROUTE_STATIC else T_DEFAULT if kind == ROUTE_DEFAULT else T_CONNECTED


cdef inline void decide(
    const State *state, const ProgramData *program, const Packet *packet, const Packet *quote, uint16_t in_port,
    Decision *decision, Recorder *recorder
) noexcept nogil:
    # `quote` is what an ICMP error quotes, NULL for everything else and where REFLEXIVE shall not see it.
    cdef uint8_t in_kind = program.ports[in_port].kind
    cdef uint8_t out_kind
    cdef uint8_t direction = DIRECTION_IN if in_kind == PORT_UPLINK else 0
    cdef const Route *route
    decision.verdict = V_ALLOW
    decision.reason = R_EAST_WEST
    decision.answer = ANSWER_NONE
    decision.answer_word = 0
    decision.east_west = False
    decision.stateless = False
    decision.related = NULL
    decision.out_port = NO_PORT
    decision.fw_rule = NO_RULE
    decision.dnat = NO_RULE
    decision.snat = NO_RULE
    decision.bypass = NO_RULE
    decision.snat_step = NULL
    decision.key = packet.key
    if in_kind == PORT_ISOLATED:
        note(recorder, S_ROUTE, T_ISOLATED, NO_SLOT, NO_PORT)
        drop_unreachable(packet, decision, R_ISOLATED)
        return
    route = route_to(program, &packet.key)
    if is_group(&packet.key, route):
        note(recorder, S_ROUTE, T_MULTICAST, NO_SLOT, NO_PORT)
        drop(decision, R_MULTICAST)
        return
    if is_martian(&packet.key):
        note(recorder, S_ROUTE, T_MARTIAN, NO_SLOT, NO_PORT)
        drop(decision, R_MARTIAN)
        return
    if in_kind == PORT_UPLINK and provider_drops(program, decision, recorder):
        return
    if has_target(decision):
        expected_destination(program, decision, recorder)
    elif is_border(program, in_port):
        if packet.kind == K_ICMP_ERROR:
            error_inwards(program, packet, quote, decision, recorder)
        else:
            destination_nat(program, packet, decision, recorder)
    if decision.dnat != NO_RULE or decision.related != NULL or has_target(decision):
        route = route_to(program, &decision.key)
        if is_group(&decision.key, route):
            note(recorder, S_ROUTE, T_MULTICAST, NO_SLOT, NO_PORT)
            drop(decision, R_MULTICAST)
            return
    if route == NULL:
        note(recorder, S_ROUTE, T_NO_ROUTE, NO_SLOT, NO_PORT)
        drop_unreachable(packet, decision, R_NO_ROUTE)
        return
    if route.kind == ROUTE_ISOLATED:
        note(recorder, S_ROUTE, T_ISOLATED, NO_SLOT, NO_PORT)
        drop_unreachable(packet, decision, R_ISOLATED)
        return
    if is_local(program, packet, &decision.key, in_port, route.kind) and not calls_back(
            program, decision, in_port, route.kind):
        note(recorder, S_ROUTE, T_LOCAL, NO_SLOT, route.port)
        if has_target(decision):
            decision.dnat = NO_RULE         # only lent
        if in_kind != PORT_UPLINK or firewall(program, packet, direction, decision, recorder):
            decision.verdict = V_LOCAL
            decision.reason = R_LOCAL_SERVICE
        return
    decision.out_port = route.port
    out_kind = program.ports[route.port].kind
    note(recorder, S_ROUTE, route_result(route.kind), NO_SLOT, route.port)
    if packet.ttl <= 1:
        note(recorder, S_ROUTE, T_TTL_EXPIRED, NO_SLOT, NO_PORT)
        drop_expired(packet, decision)
        return
    if is_too_big(program, packet):
        note(recorder, S_ROUTE, T_TOO_BIG, NO_SLOT, NO_PORT)
        drop_too_big(program, packet, decision)
        return
    if in_kind == PORT_DISTRIBUTED and out_kind == PORT_DISTRIBUTED and not program.east_west_firewall:
        decision.east_west = True
        return
    if out_kind == PORT_UPLINK:
        direction |= DIRECTION_OUT
        if provider_drops(program, decision, recorder):
            return
    if has_source(decision):
        expected_source(program, decision, recorder)
    elif is_border(program, route.port):
        if packet.kind != K_ICMP_ERROR:
            source_nat(state, program, packet, decision, recorder)
        elif decision.related == NULL and in_kind != PORT_UPLINK:
            error_outwards(program, packet, quote, decision, recorder)
    if decision.related != NULL:
        admit_related(program, quote, in_kind, out_kind, decision, recorder)
        return
    if decision.expected != NULL:
        admit_expected(program, packet, decision, recorder)
        return
    firewall(program, packet, direction, decision, recorder)
