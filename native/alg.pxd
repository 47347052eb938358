# Application layer gateways: which sessions are control sessions, what their packets announce, and FTP's commands
# rewritten (RFC 959, RFC 1350, RFC 2428; RFC 2663 2.9, RFC 3022 4.4).

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from native.classify cimport ANY, NO_RULE, in_services
from native.decide cimport Decision
from native.engine cimport State
from native.expect cimport (
    ALG_FTP, ALG_NONE, ALG_TFTP, EXPECT_ACTIVE, EXPECT_PASSIVE, EXPECT_TFTP, Control, Expectation, Shift,
    begin_control, drop_expected_of, drop_overdue, expect, expect_again, find_expectation,
)
from native.ftp cimport ENDPOINT_TEXT_MAX, FORM_227, FTP_LINE_MAX, Command, read_command, write_endpoint
from native.kinds cimport TM_TCP_OPENING, TM_UDP_FIRST
from native.overlay cimport table_of
from native.packet cimport (
    ACK, FIN, K_TCP, K_UDP, RST, SYN, Key, Packet, key_dport, key_family, key_proto, key_side, key_sport, make_meta,
)
from native.program cimport FirewallRule, ProgramData, is_blocked
from native.session cimport (
    NONE, ORIGINAL, REPLY, RW_ALG, RW_DST, RW_SPORT, RW_SRC, TCP_ESTABLISHED, TCP_TIME_WAIT, Session, hash_key,
    lookup_alive,
)
from native.shift cimport convert_sequence, note_rewriting
from native.wire cimport be16, be32, change16, fold, put16, sum_bytes, updated

cdef enum:
    DATA_PORT = 20              # what an FTP server connects from
    IP_MAX = 65535


# ---------------------------------------------------------------- which sessions

cdef inline uint8_t alg_of(const ProgramData *program, const Decision *decision, uint8_t kind) noexcept nogil:
    # The helper of the profile by which a firewall rule admits a session.
    cdef const FirewallRule *rule
    cdef const Key *saw = &decision.saw
    cdef uint32_t services
    if decision.fw_rule == NO_RULE or decision.expected != NULL:
        return ALG_NONE
    rule = &program.firewall_rules[decision.fw_rule]
    services = rule.ftp if kind == K_TCP else rule.tftp if kind == K_UDP else <uint32_t>ANY
    if services == ANY or not in_services(
            table_of(&program.firewall, &program.overlay, decision.fw_rule), services,
            0 if key_family(saw) == 4 else 1, 6 if kind == K_TCP else 17, key_sport(saw), key_dport(saw), 0, 0):
        return ALG_NONE
    return ALG_FTP if kind == K_TCP else ALG_TFTP


cdef inline void open_control(
    State *state, const ProgramData *program, uint32_t number, const Decision *decision
) noexcept nogil:
    # Makes a session that has just been admitted a control session, if it is one.
    cdef Session *session = &state.table.sessions[number]
    cdef uint8_t alg = alg_of(program, decision, session.kind)
    if alg == ALG_NONE:
        return
    session.flow[ORIGINAL].rewrite |= RW_ALG
    session.flow[REPLY].rewrite |= RW_ALG
    begin_control(&state.expectations, number, alg)


cdef inline void judge_control(
    State *state, const ProgramData *program, uint32_t number, const Decision *decision
) noexcept nogil:
    # The same for a session that has been admitted anew.  One that is no control session any more keeps its record:
    # both ends go on counting as they have been told to.
    cdef Session *session = &state.table.sessions[number]
    cdef Control *control = &state.expectations.controls[number]
    if not session.flow[ORIGINAL].rewrite & RW_ALG:
        open_control(state, program, number, decision)
        return
    control.alg = alg_of(program, decision, session.kind)
    if control.alg == ALG_NONE:
        drop_expected_of(&state.expectations, number)


# ---------------------------------------------------------------- what is announced

cdef inline uint16_t awaiting(State *state, const Packet *packet) noexcept nogil:
    # The expectation that a packet without a session fulfils, or 0.
    cdef Key key
    if state.expectations.count == 0:
        return 0
    if packet.kind != K_UDP and (packet.kind != K_TCP or packet.tcp_flags & (SYN | ACK | RST | FIN) != SYN):
        return 0
    drop_overdue(&state.expectations, state.now)
    key = packet.key
    key.meta &= 0x0000ffffffffffffULL
    return find_expectation(&state.expectations, &key, hash_key(&state.table, &key))


cdef inline void set_endpoints(Expectation *wanted, const Key *seen, uint16_t port) noexcept nogil:
    # From who sends packets with the key `seen` to whom that one sends them, and to this port.
    wanted.key = seen[0]
    wanted.key.meta = make_meta(0, port, key_proto(seen), key_family(seen), key_side(seen))


cdef inline void set_awaited_port(Expectation *wanted, uint16_t port) noexcept nogil:
    # Another destination port.
    wanted.key.meta = make_meta(0, port, key_proto(&wanted.key), key_family(&wanted.key), key_side(&wanted.key))


cdef inline bint is_taken(const State *state, const Expectation *wanted) noexcept nogil:
    # Is the session expected already, or is there one of that kind?
    cdef Key key = wanted.key
    if find_expectation(&state.expectations, &key, hash_key(&state.table, &key)):
        return True
    if wanted.mode != EXPECT_ACTIVE:
        return False
    key.meta |= <uint64_t>DATA_PORT << 48
    return lookup_alive(&state.table, &key, state.now) != NONE


cdef inline bint choose_port(const State *state, const ProgramData *program, Expectation *wanted) noexcept nogil:
    # A port of the external address, at best the one that the command names; False: none is free.
    cdef uint32_t first = program.snat_first
    cdef uint32_t start = 0
    cdef uint32_t port
    cdef uint32_t i
    if first <= wanted.named_port < first + program.snat_count:
        start = wanted.named_port - first
    for i in range(program.snat_count):
        port = first + (start + i) % program.snat_count
        if is_blocked(program, 6, <uint16_t>port):
            continue
        set_awaited_port(wanted, <uint16_t>port)
        if not is_taken(state, wanted):
            return True
    return False


cdef inline uint16_t expected_already(const State *state, const Expectation *wanted) noexcept nogil:
    # Announced by the same session, the same way, for the same port; or 0.
    cdef const Control *control = &state.expectations.controls[wanted.control]
    cdef const Expectation *known
    cdef uint8_t i
    for i in range(control.count):
        known = &state.expectations.pool[control.expected[i]]
        if known.mode == wanted.mode and known.named_port == wanted.named_port:
            return control.expected[i]
    return 0


cdef inline uint16_t announce(State *state, const Expectation *wanted, uint16_t known) noexcept nogil:
    # Puts it among the expectations, or renews the one that is `known`; 0: there are too many.
    if known:
        expect_again(&state.expectations, known, wanted.deadline)
        return known
    return expect(&state.expectations, wanted, hash_key(&state.table, &wanted.key))


cdef inline uint16_t announce_tftp(State *state, const ProgramData *program, uint32_t number) noexcept nogil:
    # The server will answer from a port of its own.
    cdef const Session *session = &state.table.sessions[number]
    cdef const Key *original = &session.flow[ORIGINAL].key
    cdef const Key *reply = &session.flow[REPLY].key
    cdef Expectation wanted
    drop_overdue(&state.expectations, state.now)
    set_endpoints(&wanted, reply, key_dport(reply))
    wanted.mode = EXPECT_TFTP
    wanted.control = number
    wanted.deadline = state.now + program.timers[<int>TM_UDP_FIRST]
    wanted.named_port = key_sport(original)
    wanted.has_target = session.flow[ORIGINAL].rewrite & (RW_SRC | RW_SPORT) != 0
    wanted.target_hi = original.src_hi
    wanted.target_lo = original.src_lo
    wanted.target_port = key_sport(original)
    wanted.has_source = session.flow[ORIGINAL].rewrite & RW_DST != 0
    wanted.source_hi = original.dst_hi
    wanted.source_lo = original.dst_lo
    return announce(state, &wanted, expected_already(state, &wanted))


# ---------------------------------------------------------------- FTP

cdef inline bint names_itself(const Session *session, int direction, const Command *command) noexcept nogil:
    # Only its own address is a sender believed (RFC 2577 4).  229 names none.
    cdef const Key *sent = &session.flow[direction].key
    if direction == REPLY and command.form != FORM_227:
        return True
    return command.hi == sent.src_hi and command.lo == sent.src_lo


cdef inline void plan_data_session(
    const State *state, const ProgramData *program, uint32_t number, int direction, const Command *command,
    Expectation *wanted
) noexcept nogil:
    # What a command announces, the port still the one that it names.
    cdef const Session *session = &state.table.sessions[number]
    cdef const Key *sent = &session.flow[direction].key
    cdef const Key *answered = &session.flow[1 - direction].key
    cdef const Key *original = &session.flow[ORIGINAL].key
    cdef uint8_t rewrite = session.flow[ORIGINAL].rewrite
    set_endpoints(wanted, answered, command.port)
    wanted.mode = EXPECT_ACTIVE if direction == ORIGINAL else EXPECT_PASSIVE
    wanted.control = number
    wanted.deadline = state.now + program.timers[<int>TM_TCP_OPENING]
    wanted.named_port = command.port
    wanted.has_target = rewrite & (RW_SRC if direction == ORIGINAL else RW_DST) != 0
    wanted.target_hi = sent.src_hi
    wanted.target_lo = sent.src_lo
    wanted.target_port = command.port
    wanted.has_source = direction == ORIGINAL and rewrite & RW_DST != 0
    wanted.source_hi = original.dst_hi
    wanted.source_lo = original.dst_lo


cdef inline uint32_t first_number(const Packet *packet) noexcept nogil:
    # Of a segment's payload.
    return be32(packet.l4 + 4) + (packet.tcp_flags >> 1 & 1)


cdef inline uint32_t line_in(const Shift *shift, const Packet *packet, uint32_t size) noexcept nogil:
    # Where in a payload to look for a command: at the line that was rewritten last, if that is sent again, else at the
    # beginning.
    cdef uint32_t ahead = shift.line - first_number(packet)
    return ahead if shift.moved and ahead < size else 0


cdef inline bint is_repeated(const Shift *shift, const Packet *packet, const Command *command) noexcept nogil:
    # Is it the command that was rewritten last?
    return (shift.moved and first_number(packet) + command.end == shift.position
            and command.port == shift.named_port)


cdef inline void rewrite_command(
    Packet *packet, const Command *command, const uint8_t *text, uint32_t length, uint8_t *buffer
) noexcept nogil:
    # Puts `text` in place of the endpoint's; the packet now stands in `buffer`.
    cdef uint8_t *l3 = buffer + 14
    cdef uint32_t header = <uint32_t>(packet.l4[12] >> 4) * 4
    cdef uint8_t *payload = packet.l4 + header
    cdef uint32_t size = packet.l4_len - header
    cdef uint32_t begin = <uint32_t>(payload - packet.l3) + command.begin
    cdef uint32_t old = command.end - command.begin
    cdef uint32_t growth = length - old         # modulo 2^32, as all of this
    cdef uint64_t change = (change16(fold(sum_bytes(payload, size)), 0)
                            + change16(<uint16_t>packet.l4_len, <uint16_t>(packet.l4_len + growth)))
    memcpy(l3, packet.l3, begin)
    memcpy(l3 + begin, text, length)
    memcpy(l3 + begin + length, packet.l3 + begin + old, packet.ip_len - begin - old)
    packet.l4 = l3 + <uint32_t>(packet.l4 - packet.l3)
    packet.l3 = l3
    change += fold(sum_bytes(packet.l4 + header, size + growth))
    put16(packet.l4 + 16, updated(be16(packet.l4 + 16), change))
    if growth and packet.family == 4:
        put16(l3 + 2, <uint16_t>(packet.ip_len + growth))
        put16(l3 + 10, updated(
            be16(l3 + 10), change16(<uint16_t>packet.ip_len, <uint16_t>(packet.ip_len + growth))))
    elif growth:
        put16(l3 + 4, <uint16_t>(packet.ip_len + growth - 40))
    packet.ip_len += growth
    packet.l4_len += growth


cdef inline uint16_t follow_command(
    State *state, const ProgramData *program, uint32_t number, int direction, Packet *packet, uint8_t *buffer
) noexcept nogil:
    # Announces what an FTP segment says; the expectation, or 0 where it says nothing that is understood or new.
    cdef const Session *session = &state.table.sessions[number]
    cdef Shift *shift = &state.expectations.controls[number].shift[direction]
    cdef uint32_t header = <uint32_t>(packet.l4[12] >> 4) * 4
    cdef uint32_t size = packet.l4_len - header
    cdef uint32_t seq = first_number(packet)
    cdef uint8_t text[ENDPOINT_TEXT_MAX]
    cdef uint32_t length
    cdef uint32_t growth
    cdef uint32_t whole
    cdef uint32_t line
    cdef uint16_t known
    cdef bint repeated
    cdef bint awaited
    cdef Command command
    cdef Expectation wanted
    if not 0 < size <= FTP_LINE_MAX:
        return 0
    line = line_in(shift, packet, size)
    if not read_command(packet.l4 + header + line, size - line, packet.family, direction == REPLY, &command):
        return 0
    if not names_itself(session, direction, &command):
        return 0
    command.begin += line
    command.end += line
    drop_overdue(&state.expectations, state.now)
    plan_data_session(state, program, number, direction, &command, &wanted)
    known = expected_already(state, &wanted)
    if not wanted.has_target:
        return announce(state, &wanted, known)
    repeated = is_repeated(shift, packet, &command)
    if repeated:
        set_awaited_port(&wanted, shift.shown_port)
        awaited = (key_dport(&state.expectations.pool[known].key) == shift.shown_port if known
                   else not is_taken(state, &wanted))
    else:
        awaited = True
        if known:
            wanted.key = state.expectations.pool[known].key
        elif not choose_port(state, program, &wanted):
            return 0
    length = write_endpoint(
        &command, packet.family, wanted.key.dst_hi, wanted.key.dst_lo, key_dport(&wanted.key), text)
    growth = length - (command.end - command.begin)
    whole = packet.ip_len + growth
    if length == 0 or whole > IP_MAX or (whole > program.mtu and not packet.unsegmented):
        return 0
    known = announce(state, &wanted, known) if awaited else 0
    if known or repeated:
        rewrite_command(packet, &command, text, length, buffer)
        note_rewriting(shift, seq + line, seq + command.end, growth, command.port, key_dport(&wanted.key))
    return known


cdef inline bint is_open(const Session *session) noexcept nogil:
    return (TCP_ESTABLISHED <= session.state[0] < TCP_TIME_WAIT
            and TCP_ESTABLISHED <= session.state[1] < TCP_TIME_WAIT)


cdef inline uint16_t follow(
    State *state, const ProgramData *program, uint32_t number, int direction, Packet *packet, uint8_t *buffer
) noexcept nogil:
    # A packet of a control session that is to be forwarded: what it announces (an expectation, or 0).  It may move into
    # `buffer`.
    cdef const Control *control = &state.expectations.controls[number]
    cdef const Session *session = &state.table.sessions[number]
    cdef uint16_t announced = 0
    if session.kind == K_UDP:
        return announce_tftp(state, program, number) if control.alg == ALG_TFTP and direction == ORIGINAL else 0
    if control.alg == ALG_FTP and is_open(session):
        announced = follow_command(state, program, number, direction, packet, buffer)
    convert_sequence(&control.shift[direction], packet, False)
    return announced
