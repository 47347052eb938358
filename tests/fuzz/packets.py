"""Arbitrary bytes as one frame into a fresh edge.

Byte 0 chooses the edge, byte 1 the port, the rest is the frame.
"""

from __future__ import annotations

from edge.packets import format_frame
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from tests.fuzz.edges import edges
from tests.fuzz.invariants import check_edge, check_outcome, expect

LARGEST_FRAME = 65_553


def run(data: bytes) -> None:
    """Raises where the outcome makes no sense, or is not the reference's."""
    if len(data) < 2:
        return
    config = edges()[data[0] % len(edges())]
    port = config.ports[data[1] % len(config.ports)]
    frame = data[2:][:LARGEST_FRAME]
    edge, reference = Edge(config), ReferenceEdge(config)
    expect(edge.ingress_port(frame) == reference.ingress_port(frame), "native and reference see it enter elsewhere")
    outcome = edge.process(port, frame, 0)
    check_outcome(frame, outcome)
    expect(format_frame(frame) != "", "a frame without a text")
    expect(outcome == reference.process(port, frame, 0), "native and reference differ")
    check_edge(edge, 1, config.options.max_sessions)
