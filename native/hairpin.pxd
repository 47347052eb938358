# What leaves by an uplink for an address of the edge itself.  The provider's router would send it straight back; under
# strict-rfc the edge does that within, so that the packet passes the pipeline again (RFC 4787 REQ-9, RFC 5382 REQ-8,
# RFC 5508 REQ-7).

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.answer cimport ANSWER_ROOM
from native.decide cimport is_owned
from native.engine cimport Result, State
from native.fragment cimport set_pieces
from native.kinds cimport PORT_UPLINK
from native.packet cimport Packet, parse
from native.program cimport ProgramData
from native.record cimport NO_PORT, NO_SLOT, Recorder, note
from native.session cimport set_hash
from native.stats cimport R_TTL_EXPIRED, S_ROUTE, T_HAIRPIN, T_TTL_EXPIRED, V_DROP
from native.wire cimport be16, change16, put16, updated

cdef enum:
    MAX_PASSES = 4      # a packet that hairpins passes twice; more often only where NAT turns addresses in circles

ctypedef struct Journey:
    # One packet, and what answers it, through pass after pass.
    uint32_t passes
    uint8_t *buffer     # where the edge may write an answer: the packet is elsewhere
    bint answered       # an answer entered again: verdict and reason are those of what it answered
    uint8_t verdict
    uint8_t reason
    bint of_session


cdef inline void mark_hairpin(
    const ProgramData *program, uint8_t family, uint64_t dst_hi, uint64_t dst_lo, Result *result
) noexcept nogil:
    # Does what leaves come back?
    result.hairpin = program.ports[result.out_port].kind == PORT_UPLINK and is_owned(program, family, dst_hi, dst_lo)


cdef inline void begin_journey(Journey *journey, uint8_t *answers) noexcept nogil:
    journey.passes = 1
    journey.buffer = answers
    journey.answered = False
    journey.verdict = 0
    journey.reason = 0
    journey.of_session = False


cdef inline void give_hop_back(const uint8_t *frame) noexcept nogil:
    # The pass before took one; the way through the edge is to cost one in all.  No VLAN tag is on what leaves.
    cdef uint8_t *l3 = <uint8_t *>frame + 14
    cdef uint16_t lifetime
    if l3[0] >> 4 == 4:
        lifetime = be16(l3 + 8)
        l3[8] += 1
        put16(l3 + 10, updated(be16(l3 + 10), change16(lifetime, lifetime + 0x100)))
    else:
        l3[7] += 1


cdef inline void keep_answered(Journey *journey, const Result *result) noexcept nogil:
    # What becomes of an answer is told by steps and output only.
    if not journey.answered:
        journey.answered = True
        journey.verdict = result.verdict
        journey.reason = result.reason
        journey.of_session = result.of_session


cdef inline bint enter_again(
    State *state, Journey *journey, uint8_t *answers, Packet *packet, uint16_t *in_port, Result *result,
    Recorder *recorder
) noexcept nogil:
    # Makes the output the packet of another pass, by the uplink that it would have left by; False: it went in circles.
    cdef bint unsegmented = packet.unsegmented
    note(recorder, S_ROUTE, T_HAIRPIN, NO_SLOT, result.out_port)
    if result.own:
        keep_answered(journey, result)
    else:
        give_hop_back(result.frame)
    if result.frame == journey.buffer:          # an answer, or what an application layer gateway has rewritten
        journey.buffer = answers + ANSWER_ROOM if journey.buffer == answers else answers
    if journey.passes == MAX_PASSES:
        note(recorder, S_ROUTE, T_TTL_EXPIRED, NO_SLOT, NO_PORT)
        result.verdict = V_DROP
        result.reason = R_TTL_EXPIRED
        result.hairpin = False
        result.out_port = NO_PORT
        return False
    journey.passes += 1
    in_port[0] = result.out_port
    parse(packet, result.frame, result.length, 1, unsegmented)
    set_hash(&state.table, packet)
    if result.sized and result.pieces.size:
        set_pieces(&state.fragments, packet, &result.pieces)
    result.hairpin = False
    result.sized = False
    result.own = False
    result.of_session = False
    result.out_port = NO_PORT
    result.frame = NULL
    result.length = 0
    return True


cdef inline void end_journey(const Journey *journey, Result *result) noexcept nogil:
    if journey.answered:
        result.verdict = journey.verdict
        result.reason = journey.reason
        result.of_session = journey.of_session
