# Sessions for whoever asks: which of them are meant, and copies that outlive the turn in which they were taken.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.engine cimport State
from native.packet cimport K_TCP, K_UDP, Key, key_dport, key_family, key_proto, key_sport
from native.session cimport ORIGINAL, REPLY, Session
from native.shift cimport told_by

ctypedef struct NextSegment:
    # Of one side of a TCP session: what it would send next.
    uint32_t seq                # as it counts itself
    uint32_t shown              # as the other side is told
    uint16_t window             # as it is on the wire
    bint known

ctypedef struct SessionRecord:
    uint64_t id
    Session session
    NextSegment next[2]         # by side

ctypedef struct Match:
    # All that is asked for must hold.
    int protocol            # -1: any
    int family              # of the addresses, 0: any
    uint64_t first_hi
    uint64_t first_lo
    uint64_t last_hi
    uint64_t last_lo
    int port_number         # of TCP or UDP, -1: any
    int port                # that it entered or left by, -1: any
    uint32_t rule_slot      # of a rule that admitted or translated it
    bint by_rule
    uint32_t before_revision    # 0: any


cdef inline bint lies_in(const Match *match, uint64_t hi, uint64_t lo) noexcept nogil:
    if hi < match.first_hi or (hi == match.first_hi and lo < match.first_lo):
        return False
    return hi < match.last_hi or (hi == match.last_hi and lo <= match.last_lo)


cdef inline bint has_end(const Match *match, const Key *key) noexcept nogil:
    return lies_in(match, key.src_hi, key.src_lo) or lies_in(match, key.dst_hi, key.dst_lo)


cdef inline bint has_port(const Match *match, const Key *key) noexcept nogil:
    return key_sport(key) == match.port_number or key_dport(key) == match.port_number


cdef inline bint matches(const Match *match, const Session *session) noexcept nogil:
    cdef const Key *original = &session.flow[ORIGINAL].key
    cdef const Key *reply = &session.flow[REPLY].key
    if match.protocol >= 0 and key_proto(original) != match.protocol:
        return False
    if match.family and (key_family(original) != match.family or not (
            has_end(match, original) or has_end(match, reply))):
        return False
    if match.port_number >= 0 and ((session.kind != K_TCP and session.kind != K_UDP) or not (
            has_port(match, original) or has_port(match, reply))):
        return False
    if match.port >= 0 and session.flow[ORIGINAL].out_port != match.port and session.flow[REPLY].out_port != match.port:
        return False
    if match.by_rule and (session.fw_slot != match.rule_slot and session.dnat_slot != match.rule_slot
                          and session.snat_slot != match.rule_slot):
        return False
    return match.before_revision == 0 or session.revision < match.before_revision


cdef inline uint32_t next_match(const State *state, const Match *match, uint32_t number, uint32_t end) noexcept nogil:
    # The first live session from `number` on that matches, whichever worker's; `end` if there is none before that.
    cdef const Session *session
    while number < end:
        session = &state.table.sessions[number]
        if session.live and session.expires > state.now and matches(match, session):
            return number
        number += 1
    return end


cdef inline void note_next(const State *state, const Session *session, int side, NextSegment *next) noexcept nogil:
    # Behind the highest end seen, with the window by which it last moved the other side's limit.
    next.known = session.kind == K_TCP and session.flow[side].own_reach != 0
    if not next.known:
        return
    next.seq = session.seqlo[side]
    next.shown = told_by(state, session, side, next.seq)
    next.window = session.flow[side].edge_win


cdef inline void note_session(const State *state, uint32_t number, SessionRecord *record) noexcept nogil:
    # All that is told of a live session.
    record.id = state.table.sessions[number].id
    record.session = state.table.sessions[number]
    note_next(state, &state.table.sessions[number], ORIGINAL, &record.next[ORIGINAL])
    note_next(state, &state.table.sessions[number], REPLY, &record.next[REPLY])
