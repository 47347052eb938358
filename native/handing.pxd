# Whose a packet is that has come in at a worker, and how it gets there.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from native.ahead cimport WORTHWHILE, ask_together
from native.engine cimport State
from native.fragment cimport set_pieces
from native.owner cimport owner_of
from native.packet cimport K_ICMP_ERROR, PARSED, Packet
from native.program cimport ProgramData
from native.ring cimport HANDED_FRAME, Handed, Hands, Ring, put_packet, ring_next, ring_of, ring_put
from native.session cimport NONE, WAVE, flow_of, is_over, prefetch_bucket, prefetch_session
from native.stats cimport R_FRAGMENT_HELD
from native.steer cimport Steering
from native.wire cimport likely, prefetch, unlikely


cdef inline bint is_known(const State *state, const Packet *packet) noexcept nogil:
    # Does it belong to a session of this worker's?
    cdef uint32_t found
    if unlikely(packet.error != PARSED or packet.kind == K_ICMP_ERROR):
        return False
    found = flow_of(&state.table, packet)
    return likely(found != NONE) and not is_over(&state.table, found, state.now)


cdef inline uint32_t owner_here(const State *state, const Packet *packet) noexcept nogil:
    # The worker that a packet belongs to.  What a session of this worker has is its own: only for the rest the owner is
    # worked out.  What is no packet anyone may refuse.
    if likely(is_known(state, packet)):
        return state.worker
    if packet.error != PARSED and packet.error != R_FRAGMENT_HELD:
        return state.worker
    return owner_of(<const Steering *>state.shared.steering, packet)


cdef inline State *take_over(State *state, Packet *packet) noexcept nogil:
    # What came in pieces at one worker and belongs to another; nobody else is at work with either.
    cdef State *other = <State *>state.shared.states[owner_of(<const Steering *>state.shared.steering, packet)]
    set_pieces(&other.fragments, packet, &state.fragments.came)
    return other


cdef inline Handed *hand_over(
    Hands *hands, uint32_t owner, uint16_t port, const Packet *packet, const uint8_t *frame, uint32_t length
) noexcept nogil:
    # A parsed frame, as one that has just come in; NULL: there is no room.
    cdef Handed *handed = ring_put(ring_of(hands, hands.worker, owner), length)
    if unlikely(handed == NULL):
        return NULL
    handed.port = port
    handed.kind = HANDED_FRAME
    put_packet(handed, packet, frame)
    hands.handed += 1
    return handed


cdef inline uint32_t take_wave(Ring *ring, Handed **wave) noexcept nogil:
    # Up to WAVE frames of a ring that nobody has taken yet.
    cdef uint32_t count = 0
    while count < WAVE:
        wave[count] = ring_next(ring)
        if wave[count] == NULL:
            break
        count += 1
    return count


cdef inline void look_at(State *state, const ProgramData *program, Handed **wave, uint32_t count) noexcept nogil:
    # Asks for what a wave of handed frames will need, and the firewall about those that belong to no session.
    cdef Packet *new[WAVE]
    cdef uint32_t found = 0
    cdef uint32_t i
    for i in range(count):
        prefetch_bucket(&state.table, &wave[i].packet)
        prefetch(&wave[i][1])
    for i in range(count):
        prefetch_session(&state.table, &wave[i].packet)
        new[found] = &wave[i].packet
        found += wave[i].packet.guess == NONE
    if unlikely(found >= WORTHWHILE):
        ask_together(state, program, new, found)
