# Bursts of frames that are walked round and round, timed from raw frame to rewritten frame.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from native.engine cimport BURST, Engine, Result, State
from native.entry cimport set_and_parse
from native.machine cimport ticks
from native.packet cimport Packet
from native.pipeline cimport pipeline
from native.program cimport ProgramData
from native.session cimport WAVE, prefetch_bucket, prefetch_session
from native.stats cimport V_ALLOW, V_HELD
from native.wire cimport unlikely


ctypedef struct Traffic:
    const uint8_t *frames       # one after another
    const uint32_t *begin       # by frame, and where the last one ends
    const uint16_t *ports       # by frame
    const uint32_t *order       # the frame of each packet
    Py_ssize_t packets
    Py_ssize_t at               # whose turn it is


cdef inline void fill_burst(Engine engine, Traffic *traffic) noexcept nogil:
    cdef uint32_t used = 0
    cdef uint32_t which
    cdef uint32_t i
    for i in range(BURST):
        which = traffic.order[traffic.at]
        traffic.at = 0 if traffic.at + 1 == traffic.packets else traffic.at + 1
        engine.offsets[i] = used
        engine.lengths[i] = traffic.begin[which + 1] - traffic.begin[which]
        engine.in_ports[i] = traffic.ports[which]
        memcpy(engine.arena + used, traffic.frames + traffic.begin[which], engine.lengths[i])
        used += (engine.lengths[i] + 63) & ~<uint32_t>63


cdef inline uint32_t run_burst(Engine engine, const ProgramData *program) noexcept nogil:
    # 256 frames of the arena; how many were neither allowed nor held.
    cdef State *state = &engine.state
    cdef Packet *packets = engine.packets
    cdef uint8_t *arena = engine.arena
    cdef uint8_t *answers = engine.answers
    cdef const uint32_t *offsets = engine.offsets
    cdef const uint32_t *lengths = engine.lengths
    cdef const uint16_t *in_ports = engine.in_ports
    cdef Result result
    cdef uint32_t i
    cdef uint32_t first = 0
    cdef uint32_t refused = 0
    while first < BURST:
        for i in range(first, first + WAVE):
            set_and_parse(state, program, &packets[i], arena + offsets[i], lengths[i], in_ports[i], False)
            prefetch_bucket(&state.table, &packets[i])
        for i in range(first, first + WAVE):
            prefetch_session(&state.table, &packets[i])
        for i in range(first, first + WAVE):
            pipeline(state, program, &packets[i], in_ports[i], False, answers, &result, NULL)
            refused += unlikely(result.verdict != V_ALLOW) and result.verdict != V_HELD
        first += WAVE
    return refused


cdef inline uint64_t run_trial(
    Engine engine, Traffic *traffic, int bursts, uint64_t step_ns, uint64_t *refused
) noexcept nogil:
    # Clocks of so many bursts, without those of filling them; the clock moves by `step_ns` a burst.
    cdef const ProgramData *program = &engine.program.data
    cdef uint64_t spent = 0
    cdef uint64_t start
    cdef int _burst
    refused[0] = 0
    for _burst in range(bursts):
        fill_burst(engine, traffic)
        engine.state.now += step_ns
        start = ticks()
        refused[0] += run_burst(engine, program)
        spent += ticks() - start
    return spent
