# What leaves, and how a frame came in pieces, as Python sees it.

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t

from native.cut cimport is_cuttable, next_piece
from native.engine cimport Result
from native.fragment cimport Fragments, Pieces, set_pieces
from native.packet cimport Packet
from native.record cimport NO_PORT


cdef inline tuple pieces_tuple(const Result *result, uint8_t *room):
    # The frames that an output leaves in; none where it leaves whole.  `room` is for one of them.
    cdef uint32_t done = 0
    cdef uint32_t length
    found = []
    while result.sized and result.limit:
        length = next_piece(result, &done, room)
        if length == 0:
            break
        found.append(PyBytes_FromStringAndSize(<char *>room, length))
    return tuple(found)


cdef inline tuple output_tuple(const Result *result, uint8_t *room):
    # (out port, frame, hairpin, frames of its pieces, fragmentation or None); None where nothing leaves.
    if result.out_port == NO_PORT:
        return None
    frame = PyBytes_FromStringAndSize(<char *>result.frame, result.length)
    came = None
    if result.sized and result.pieces.size:
        came = (result.pieces.size, result.pieces.identification, result.pieces.at)
    return result.out_port, frame, result.hairpin, pieces_tuple(result, room), came


cdef inline int note_pieces(Fragments *fragments, Packet *packet, tuple fragmentation) except -1:
    # Notes how a parsed packet came in pieces.  Raises ValueError where it cannot have come so.
    cdef bint possible
    cdef Pieces pieces
    try:
        pieces.size, pieces.identification, pieces.at = fragmentation
        possible = is_cuttable(packet, &pieces)
    except OverflowError:
        possible = False
    if not possible:
        raise ValueError(f"this frame cannot have come in pieces of {fragmentation}")
    set_pieces(fragments, packet, &pieces)
    return 0
