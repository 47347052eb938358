# What the firewall says about packets of a wave that belong to no session yet, asked for all of them at once: lookups
# in large tables wait for memory, and together they wait once.
#
# The answer is about the packet as it came.  Where NAT has the firewall look at other addresses or ports, or the packet
# leaves by another kind of port than most do, it is not used, and the packet asks anew.

from libc.stdint cimport uint32_t, uint64_t

from native.classify cimport DIRECTION_OUT, NO_RULE, Rules
from native.engine cimport State
from native.packet cimport K_TCP, K_UDP, PARSED, Key, Packet
from native.program cimport ProgramData
from native.session cimport NONE, WAVE
from native.wire cimport prefetch, unlikely

cdef enum:
    WORTHWHILE = 4              # fewer packets ask as they come
    SIDE = 0xff                 # of a key's meta; 0: from a network


cdef inline void ask_ahead(State *state, const ProgramData *program, Packet *packets, uint32_t count) noexcept nogil:
    # Of up to WAVE packets whose sessions have been asked for.
    cdef Packet *new[WAVE]
    cdef uint32_t found = 0
    cdef uint32_t i
    for i in range(count):
        new[found] = &packets[i]
        found += packets[i].guess == NONE
    if unlikely(found >= WORTHWHILE):
        ask_together(state, program, new, found)


cdef inline void ask_together(State *state, const ProgramData *program, Packet **new, uint32_t most) noexcept nogil:
    # Of `most` packets that belong to no session, up to WAVE; afterwards `new` has those that were asked about.
    cdef const Rules *rules = &program.firewall
    cdef uint64_t keys[5 * WAVE]
    cdef uint32_t found[WAVE]
    cdef Packet *packet
    cdef uint32_t count = 0
    cdef uint32_t i
    if rules.empty or program.overlay.count or rules.dead != NULL:
        return
    for i in range(most):
        packet = new[i]
        if (packet.error == PARSED and packet.key.meta & SIDE == 0
                and (packet.kind == K_TCP or packet.kind == K_UDP)):
            (<Key *>&keys[5 * count])[0] = packet.key
            new[count] = packet
            count += 1
    if count < WORTHWHILE:
        return
    rules.many(rules, keys, NULL, DIRECTION_OUT, count, found)
    for i in range(count):
        new[i].asked = found[i]
        if found[i] != NO_RULE:
            prefetch(&program.firewall_rules[found[i]])
    for i in range(count):
        if found[i] != NO_RULE:
            prefetch(&state.counters[program.firewall_rules[found[i]].slot])
