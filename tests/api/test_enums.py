"""Numbers on the wire stand for the names of the model: each name for itself, and none is missing."""

from __future__ import annotations

from typing import Any

import pytest

from edge.api import convert
from edge.diff import ChangeKind
from edge.errors import Severity
from edge.events import ConfigCause
from edge.state import SessionEndCause
from edge.trace import NEIGHBOUR_STATES
from edge.v1 import config_pb2, event_pb2, packet_pb2, trace_pb2
from edge.verdicts import Reason, Stage, StepResult, Verdict


@pytest.mark.parametrize(
    ("wire", "prefix", "model", "number"),
    [
        (packet_pb2.Verdict, "VERDICT_", Verdict, convert.verdict_number),
        (packet_pb2.Reason, "REASON_", Reason, convert.reason_number),
        (trace_pb2.Stage, "STAGE_", Stage, convert.stage_number),
        (trace_pb2.StepResult, "STEP_RESULT_", StepResult, convert.result_number),
        (event_pb2.SessionEndCause, "SESSION_END_CAUSE_", SessionEndCause, int),
    ],
)
def test_every_number_means_the_same_name(wire: Any, prefix: str, model: Any, number: Any) -> None:
    expected = {f"{prefix}{item.name}": number(item) for item in model}
    assert dict(wire.items()) == {f"{prefix}UNSPECIFIED": 0, **expected}


@pytest.mark.parametrize(
    ("wire", "prefix", "names"),
    [
        (event_pb2.ConfigEventCause, "CONFIG_EVENT_CAUSE_", [cause.name for cause in ConfigCause]),
        (config_pb2.ChangeKind, "CHANGE_KIND_", [kind.value for kind in ChangeKind]),
        (trace_pb2.NeighbourState, "NEIGHBOUR_STATE_", list(NEIGHBOUR_STATES)),
        (config_pb2.Severity, "SEVERITY_", [name.upper() for name in Severity.__args__]),
    ],
)
def test_every_name_is_on_the_wire(wire: Any, prefix: str, names: list[str]) -> None:
    assert sorted(wire.keys()) == sorted([f"{prefix}UNSPECIFIED", *(f"{prefix}{name}" for name in names)])


def test_every_kind_of_event_is_a_member_of_event() -> None:
    members = [field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["event"].fields]
    assert [f"EVENT_KIND_{name.upper()}" for name in members] == event_pb2.EventKind.keys()[1:]
