# The recorder that a trace attaches to pipeline(); without one (NULL) a note is one comparison.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

from native.packet cimport Key

cdef enum:
    NO_SLOT = 0xffffffff
    NO_PORT = 0xffff
    STEPS = 48              # of four passes

ctypedef struct StepRecord:
    uint8_t stage
    uint8_t result
    uint8_t logged
    uint8_t has_after
    uint8_t has_saw
    uint8_t kind            # native.packet Kind of the packet that it is about
    uint16_t port
    uint32_t slot           # of the rule that decided
    uint32_t dnat_slot      # of a session: the NAT rules that translate it
    uint32_t snat_slot
    Key after
    Key saw

ctypedef struct Recorder:
    uint32_t count
    uint8_t kind            # of the packet that is under way
    StepRecord steps[STEPS]


cdef inline StepRecord *note(
    Recorder *recorder, uint8_t stage, uint8_t result, uint32_t slot, uint16_t port
) noexcept nogil:
    # One more step; NULL when nobody records.
    cdef StepRecord *step
    if recorder == NULL or recorder.count == STEPS:
        return NULL
    step = &recorder.steps[recorder.count]
    recorder.count += 1
    step.stage = stage
    step.result = result
    step.logged = 0
    step.has_after = 0
    step.has_saw = 0
    step.kind = recorder.kind
    step.slot = slot
    step.dnat_slot = NO_SLOT
    step.snat_slot = NO_SLOT
    step.port = port
    return step


cdef inline void note_kind(Recorder *recorder, uint8_t kind) noexcept nogil:
    # What packet the following steps are about.
    if recorder != NULL:
        recorder.kind = kind


cdef inline void note_after(StepRecord *step, const Key *key) noexcept nogil:
    if step != NULL:
        step.has_after = 1
        step.after = key[0]
