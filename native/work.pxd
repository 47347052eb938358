# What a thread that forwards has at hand.

from libc.stdint cimport uint8_t
from libc.stdlib cimport malloc
from libc.string cimport memset

from native.answer cimport ANSWER_ROOM
from native.engine cimport Engine, Work
from native.forward cimport ARENA_SIZE
from native.neighbour cimport OUTBOX_BYTES, Outbox
from native.port cimport ARRIVALS, Arrival, Ports


cdef inline int prepare(Engine engine, Work *work, Ports ports) except -1:
    # Room for the work of an engine between these ports: work.room is to be freed.
    memset(work, 0, sizeof(Work))
    if engine.links is None:
        raise RuntimeError("this engine has no link layer")
    work.room = <uint8_t *>malloc(
        ARRIVALS * sizeof(Arrival) + sizeof(Outbox) + OUTBOX_BYTES + ARENA_SIZE + 2 * ANSWER_ROOM)
    if work.room == NULL:
        raise MemoryError("no memory for forwarding")
    work.arrivals = <Arrival *>work.room        # first: rooms of odd sizes would leave it unaligned
    work.outbox = <Outbox *>(work.room + ARRIVALS * sizeof(Arrival))
    work.outbox.count = 0
    work.outbox.used = 0
    work.outbox.bytes = <uint8_t *>&work.outbox[1]
    work.arena = work.outbox.bytes + OUTBOX_BYTES
    work.spare = work.arena + ARENA_SIZE
    work.cut = work.spare + ANSWER_ROOM
    work.state = &engine.state
    work.program = &engine.program.data
    work.table = &ports.table
    work.neighbours = &engine.links.data
    work.hands = engine.hands
    if work.hands != NULL:
        work.hands.sleepers[work.hands.worker].wake_fd = ports.table.wake_fd
    work.answers = engine.answers
    work.packets = engine.packets
    return 0
