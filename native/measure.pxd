# Bursts of frames that are walked round and round, timed from raw frame to rewritten frame.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from native.ahead cimport ask_ahead
from native.engine cimport ARENA, BURST, Engine, Result, State
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
    const uint8_t *aside        # of each packet: 1 where its clocks do not count; NULL
    uint8_t marks[256]          # those of the burst under way
    Py_ssize_t packets
    Py_ssize_t at               # whose turn it is


cdef inline void fill_burst(Engine engine, Traffic *traffic) noexcept nogil:
    cdef uint32_t used = 0
    cdef uint32_t which
    cdef uint32_t i
    for i in range(BURST):
        which = traffic.order[traffic.at]
        if traffic.aside != NULL:
            traffic.marks[i] = traffic.aside[traffic.at]
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
        ask_ahead(state, program, packets + first, WAVE)
        for i in range(first, first + WAVE):
            pipeline(state, program, &packets[i], in_ports[i], False, answers, &result, NULL)
            refused += unlikely(result.verdict != V_ALLOW) and result.verdict != V_HELD
        first += WAVE
    return refused


cdef inline uint64_t run_apart(
    Engine engine, const ProgramData *program, const uint8_t *aside, uint64_t *refused
) noexcept nogil:
    # As run_burst(): clocks of the packets that are not set aside.  Each is timed by itself, and without a branch, so
    # that nothing tells the processor which kind of packet comes next; the clock costs all of them alike.
    cdef State *state = &engine.state
    cdef Packet *packets = engine.packets
    cdef Result result
    cdef uint64_t spent = 0
    cdef uint64_t then = ticks()
    cdef uint64_t now
    cdef uint32_t first = 0
    cdef uint32_t i
    while first < BURST:
        for i in range(first, first + WAVE):
            set_and_parse(state, program, &packets[i], engine.arena + engine.offsets[i], engine.lengths[i],
                          engine.in_ports[i], False)
            prefetch_bucket(&state.table, &packets[i])
            now = ticks()
            spent += (now - then) & (<uint64_t>aside[i] - 1)
            then = now
        for i in range(first, first + WAVE):
            prefetch_session(&state.table, &packets[i])
            now = ticks()
            spent += (now - then) & (<uint64_t>aside[i] - 1)
            then = now
        ask_ahead(state, program, packets + first, WAVE)
        for i in range(first, first + WAVE):
            pipeline(state, program, &packets[i], engine.in_ports[i], False, engine.answers, &result, NULL)
            refused[0] += unlikely(result.verdict != V_ALLOW) and result.verdict != V_HELD
            now = ticks()
            spent += (now - then) & (<uint64_t>aside[i] - 1)
            then = now
        first += WAVE
    return spent


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
        if traffic.aside != NULL:
            spent += run_apart(engine, program, traffic.marks, refused)
            continue
        start = ticks()
        refused[0] += run_burst(engine, program)
        spent += ticks() - start
    return spent


cdef inline list time_trials(
    Engine engine, list frames, const uint16_t[::1] ports, const uint32_t[::1] order, int trials, int bursts,
    uint64_t step_ns, const uint8_t[::1] aside
):
    # What Engine.time_bursts() says, for an engine that is nobody else's.
    cdef Traffic traffic
    cdef uint32_t count = len(frames)
    cdef uint32_t i
    cdef uint64_t spent
    cdef uint64_t refused
    cdef uint32_t *begin
    if len(ports) != len(frames) or order.shape[0] == 0 or max(order) >= len(frames):
        raise ValueError("every frame needs a port, and order has to name frames")
    if aside is not None and aside.shape[0] != order.shape[0]:
        raise ValueError("every packet of the order is set aside, or not")
    if max(map(len, frames)) > ARENA // BURST:
        raise ValueError(f"a burst has room for frames of at most {ARENA // BURST} bytes")
    for port in ports:
        engine._port(port)
    joined = b"".join(frames)
    begin = <uint32_t *>malloc(4 * (<size_t>count + 1))
    if begin == NULL:
        raise MemoryError("no memory for the places of frames")
    begin[0] = 0
    for i in range(count):
        begin[i + 1] = begin[i] + <uint32_t>len(frames[i])
    traffic.frames = joined
    traffic.begin = begin
    traffic.ports = &ports[0]
    traffic.order = &order[0]
    traffic.aside = NULL if aside is None else &aside[0]
    traffic.packets = order.shape[0]
    traffic.at = 0
    clocks = []
    try:
        for _ in range(trials):
            with nogil:
                spent = run_trial(engine, &traffic, bursts, step_ns, &refused)
            if refused:
                raise ValueError(f"{refused} packets of a trial were not allowed")
            clocks.append(spent)
    finally:
        free(begin)
    return clocks
