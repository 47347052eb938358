"""Messages of ``edge.v1`` as a client reads them: the same values that the commands on the table print."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.timestamp_pb2 import Timestamp

from edge.diff import Change, ChangeKind, FieldChange
from edge.errors import Problem
from edge.trace import TraceNeighbour, TraceOutput, TraceResult, TraceSession, TraceStep
from edge.v1 import config_pb2, event_pb2, session_pb2, trace_pb2
from edge.verdicts import Reason, Stage, StepResult, Verdict


@dataclass(frozen=True, slots=True)
class RevisionAnswer:
    """A revision as a client sees it; times are RFC 3339 texts, '' for none."""

    number: int
    etag: str
    created: str
    comment: str
    confirm_deadline: str
    leader_epoch: int
    restored_from: int

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints."""
        fields: dict[str, object] = {
            "number": self.number,
            "etag": self.etag,
            "createTime": self.created,
            "comment": self.comment,
            "confirmDeadline": self.confirm_deadline,
            "leaderEpoch": self.leader_epoch,
            "restoredFrom": self.restored_from,
        }
        return {key: value for key, value in fields.items() if value or key in ("number", "etag")}


@dataclass(frozen=True, slots=True)
class AppliedAnswer:
    """What a change did, or would do."""

    revision: RevisionAnswer
    warnings: tuple[Problem, ...]
    changes: tuple[Change, ...]

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints."""
        return {
            "revision": self.revision.to_json(),
            "problems": [item.to_json() for item in self.warnings],
            "changes": [item.to_json() for item in self.changes],
        }


def _time(stamp: Timestamp) -> str:
    return stamp.ToJsonString()


def revision(given: config_pb2.Revision) -> RevisionAnswer:
    """A revision."""
    return RevisionAnswer(
        number=given.number,
        etag=given.etag,
        created=_time(given.create_time),
        comment=given.comment,
        confirm_deadline=_time(given.confirm_deadline) if given.HasField("confirm_deadline") else "",
        leader_epoch=given.leader_epoch,
        restored_from=given.restored_from,
    )


def problem(given: config_pb2.Problem, file: str | None) -> Problem:
    """A problem of the document in ``file``."""
    return Problem(
        code=given.code,
        path=given.path,
        message=given.message,
        severity="warning" if given.severity == config_pb2.SEVERITY_WARNING else "error",
        file=file,
        line=given.line or None,
        column=given.column or None,
    )


def change(given: config_pb2.Change) -> Change:
    """What became of one object."""
    kind = ChangeKind(config_pb2.ChangeKind.Name(given.kind).removeprefix("CHANGE_KIND_"))
    fields = tuple(FieldChange(item.path, _value(item.before), _value(item.after)) for item in given.fields)
    return Change(
        kind, given.section, given.name, given.id,
        old_position=given.old_position or None, new_position=given.new_position or None,
        fields=fields, moved=given.moved,
    )  # fmt: skip


def _value(text: str) -> Any:
    return json.loads(text) if text else None


def applied(given: Any, file: str | None) -> AppliedAnswer:
    """The answer to ApplyConfig, PatchConfig or Rollback."""
    return AppliedAnswer(
        revision(given.revision),
        tuple(problem(item, file) for item in given.warnings),
        tuple(change(item) for item in given.changes),
    )


def trace(given: trace_pb2.PacketTrace) -> TraceResult:
    """One pass of one packet."""
    steps = tuple(_step(item) for item in given.steps)
    return TraceResult(
        packet=given.packet,
        in_port=given.in_port,
        hairpin=given.hairpin,
        verdict=Verdict(given.verdict - 1),
        reason=Reason(given.reason - 1),
        explanation=given.explanation,
        steps=steps,
        outputs=tuple(
            TraceOutput(
                item.port,
                item.packet,
                item.data,
                item.fragments,
                _neighbour(item.neighbour) if item.HasField("neighbour") else None,
            )
            for item in given.outputs
        ),
        session=_trace_session(given.session) if given.HasField("session") else None,
        firewall_rule=next(
            ((step.rule or "", step.rule_id) for step in steps if step.stage is Stage.FIREWALL and step.rule_id), None
        ),
        nat_rules=tuple(rule for step in steps for rule in step.nat_rules),
    )


def _neighbour(given: trace_pb2.TraceNeighbour) -> TraceNeighbour:
    try:
        state = trace_pb2.NeighbourState.Name(given.state).removeprefix("NEIGHBOUR_STATE_")
    except ValueError:  # of a newer server
        state = str(given.state)
    return TraceNeighbour(given.address, given.mac_address, state)


def _trace_session(given: trace_pb2.TraceSession) -> TraceSession:
    return TraceSession(
        state=given.state,
        idle_timeout_s=given.idle_timeout.ToNanoseconds() / 1e9,
        packets=(given.forward.packets, given.reverse.packets),
        bytes=(given.forward.bytes, given.reverse.bytes),
    )


def _step(given: trace_pb2.Step) -> TraceStep:
    return TraceStep(
        stage=Stage(given.stage - 1),
        result=StepResult(given.result - 1),
        rule=given.rule or None,
        rule_id=given.rule_id or None,
        port=given.port or None,
        after=given.after_packet or None,
        saw=given.saw_packet or None,
        logged=given.logged,
        nat_rules=tuple((item.rule, item.rule_id) for item in given.nat_rules),
    )


def session(given: session_pb2.Session) -> dict[str, Any]:
    """A session as the object that ``--json`` prints; every field is there."""
    return MessageToDict(given, always_print_fields_with_no_presence=True)


def event(given: event_pb2.Event) -> dict[str, Any]:
    """An event as the object that ``--json`` prints: its time, its kind, and what belongs to that kind."""
    kind = given.WhichOneof("event") or "unknown"
    found = MessageToDict(given)
    inner = found.pop(_camel(kind), {})
    if kind in ("session_started", "session_ended"):
        inner["session"] = session(getattr(given, kind).session)
    return {"time": found.get("time", ""), "kind": kind.upper(), **_without_prefixes(inner)}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)


_PREFIXES = ("VERDICT_", "REASON_", "STAGE_", "STEP_RESULT_", "SESSION_END_CAUSE_", "CONFIG_EVENT_CAUSE_")


def _without_prefixes(value: Any) -> Any:
    """Names of enums as everywhere else."""
    if isinstance(value, dict):
        return {
            key: _plain(inner) if key in ("verdict", "reason", "stage", "result", "cause") else _without_prefixes(inner)
            for key, inner in value.items()
        }
    return [_without_prefixes(item) for item in value] if isinstance(value, list) else value


def _plain(name: str) -> str:
    return next((name.removeprefix(prefix) for prefix in _PREFIXES if name.startswith(prefix)), name)
