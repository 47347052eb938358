# Sessions and steps as Python sees them.  No packet passes here: the engine shows what it knows, to whoever asks.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

from native.packet cimport (
    K_ICMP_OTHER, K_ICMP_QUERY, K_ICMP_REPLY, K_TCP, K_UDP, Key, key_dport, key_family, key_sport,
)
from native.record cimport NO_PORT, NO_SLOT, StepRecord
from native.session cimport ORIGINAL, Session


cdef inline int icmp_kind(const Session *session) noexcept nogil:
    # Type of the ICMP message that made the session, -1 for other protocols.
    cdef const Key *original = &session.flow[ORIGINAL].key
    if session.kind == K_ICMP_QUERY or session.kind == K_ICMP_OTHER:
        return key_dport(original) >> 8
    if session.kind == K_ICMP_REPLY:
        # A reply bears the type of its request.
        if key_family(original) == 6:
            return 129
        return 0 if key_sport(original) >> 8 == 8 else (key_sport(original) >> 8) + 1
    return -1


cdef inline object icmp_type_of(const Session *session):
    cdef int number = icmp_kind(session)
    return None if number < 0 else number


cdef inline object slot_or_none(uint32_t slot):
    return None if slot == NO_SLOT else slot


cdef inline object wide(uint64_t hi, uint64_t lo):
    return <object>hi << 64 | lo if hi else lo


cdef inline void shown_ports(const Key *key, uint8_t kind, uint16_t *sport, uint16_t *dport) noexcept nogil:
    # As people see them: of ICMP only the identifier, as the source port.
    sport[0], dport[0] = key_sport(key), key_dport(key)
    if kind == K_ICMP_QUERY:
        dport[0] = 0
    elif kind == K_ICMP_REPLY:
        sport[0], dport[0] = dport[0], 0
    elif kind != K_TCP and kind != K_UDP:
        sport[0] = dport[0] = 0


cdef inline tuple endpoints(const Key *key, uint8_t kind):
    # (family, src, sport, dst, dport).
    cdef uint16_t sport
    cdef uint16_t dport
    shown_ports(key, kind, &sport, &dport)
    return key_family(key), wide(key.src_hi, key.src_lo), sport, wide(key.dst_hi, key.dst_lo), dport


cdef inline object step_tuple(const StepRecord *step):
    return (
        step.stage, step.result,
        None if step.slot == NO_SLOT else step.slot,
        None if step.port == NO_PORT else step.port,
        endpoints(&step.after, step.kind) if step.has_after else None,
        endpoints(&step.saw, step.kind) if step.has_saw else None,
        bool(step.logged),
        slot_or_none(step.dnat_slot),
        slot_or_none(step.snat_slot),
    )
