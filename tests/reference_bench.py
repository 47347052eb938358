"""An edge on a bench, the readable one if nobody says: packets in as text, what became of them as short words."""

from __future__ import annotations

from typing import Protocol

from edge.model import EdgeConfig
from edge.packets import Conversation, build_frame, format_frame, parse_packet, reply_to
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.verdicts import Outcome
from tests.support import SECOND

AnyEdge = Edge | ReferenceEdge


class MakeEdge(Protocol):
    """Either edge."""

    def __call__(self, config: EdgeConfig, *, seed: int | None = None) -> AnyEdge: ...


class Bench:
    """An edge with a clock, fed with packets in text."""

    def __init__(self, config: EdgeConfig, seed: int | None = None, make: MakeEdge = ReferenceEdge) -> None:
        self.edge = make(config, seed=seed)
        self.now_ns = 0
        self.conversation = Conversation()
        self.last: Outcome | None = None

    def send(self, text: str) -> Outcome:
        packet = parse_packet(text)
        self.now_ns += round(packet.wait_s * SECOND)
        frame = build_frame(packet, self.conversation)
        return self.frame(packet.in_port or self.edge.ingress_port(frame), frame)

    def frame(self, port: str, frame: bytes, *, unsegmented: bool = False) -> Outcome:
        self.last = self.edge.process(port, frame, self.now_ns, unsegmented=unsegmented)
        for seen in (frame, *(output.frame for output in self.last.outputs)):
            self.conversation.saw(seen)
        return self.last

    def reply(self, text: str = "") -> Outcome:
        assert self.last is not None
        output = self.last.outputs[0]
        return self.frame(output.port, build_frame(reply_to(output.frame, text), self.conversation))

    def hairpin(self) -> Outcome:
        assert self.last is not None
        assert self.last.outputs[0].hairpin
        return self.frame(self.last.outputs[0].port, self.last.outputs[0].frame)


def why(outcome: Outcome) -> tuple[str, str]:
    return outcome.verdict.name, outcome.reason.name


def left(outcome: Outcome, *show: str) -> list[tuple[str, str]]:
    return [(output.port, format_frame(output.frame, set(show))) for output in outcome.outputs]


def stages(outcome: Outcome) -> list[str]:
    return [
        " ".join(filter(None, (step.stage.name, step.result.name, step.rule_id, step.port))) for step in outcome.steps
    ]
