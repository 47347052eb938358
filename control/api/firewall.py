"""FirewallService, as far as it has more than other services have: rules have an order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

from control.api import convert, kinds, messages
from control.api.context import ReadCall, WriteCall
from control.api.method import Method
from control.api.places import instead, placed
from control.errors import StaleObjectError
from control.kinds.firewall import FIREWALL_RULE
from control.kinds.order import GAP, LAST, Wish, etag, position
from control.objects.firewall import FirewallRule
from control.objects.values import checked
from control.store import Record
from control.v1 import firewall_pb2 as pb
from edge.errors import ArgumentError

_KIND = FIREWALL_RULE
_EDGE = "orgs/*/edges/*"


def create_firewall_rule(request: pb.CreateFirewallRuleRequest, call: WriteCall) -> pb.CreateFirewallRuleResponse:
    """A new rule at a place."""
    record = created(request, call)
    return pb.CreateFirewallRuleResponse(firewall_rule=_message(record, call), task=_task("Create", record.path, call))


def list_firewall_rules(request: pb.ListFirewallRulesRequest, call: ReadCall) -> pb.ListFirewallRulesResponse:
    """A page, and the state of the whole list."""
    answer: Any = kinds.list_(_KIND, request, call)
    answer.etag = etag(call.state.places_of(_KIND.name, request.parent))
    return answer  # type: ignore[no-any-return]


def move_firewall_rule(request: pb.MoveFirewallRuleRequest, call: WriteCall) -> pb.MoveFirewallRuleResponse:
    """Another place."""
    record = moved(request, call)
    return pb.MoveFirewallRuleResponse(firewall_rule=_message(record, call), task=_task("Move", record.path, call))


def replace_firewall_rules(request: pb.ReplaceFirewallRulesRequest, call: WriteCall) -> pb.ReplaceFirewallRulesResponse:
    """The whole list."""
    records = replaced(request, call)
    answer = pb.ReplaceFirewallRulesResponse(
        etag=etag(call.unit.places_of(_KIND.name, request.parent)),
        task=convert.task_message(call.unit.done("Replace Firewall Rules", request.parent)),
    )
    for record in records:
        kinds.fill(_KIND, answer.firewall_rules.add(), record, call)
    return answer


def created(request: pb.CreateFirewallRuleRequest, call: WriteCall) -> Record:
    """The rule that is made, without a task."""
    call.unit.get(request.parent)
    wish = _wish(request.position) if request.HasField("position") else LAST
    return kinds.created(_KIND, request, call, position(call.unit, _KIND.name, request.parent, wish))


def moved(request: pb.MoveFirewallRuleRequest, call: WriteCall) -> Record:
    """The rule that is moved, without a task.  Raises StaleObjectError."""
    known = call.unit.get(request.name)
    _check_etag(request.etag, known.etag, known.path)
    place = position(call.unit, _KIND.name, known.parent, _wish(request.position), moved=known.path)
    record = call.changes.move(_KIND, known, place)
    call.note(record.path, position=place)
    return record


def replaced(request: pb.ReplaceFirewallRulesRequest, call: WriteCall) -> list[Record]:
    """The rules that are there afterwards, without a task.  Raises StaleObjectError."""
    unit, edge = call.unit, call.unit.get(request.parent).path
    _check_etag(request.etag, etag(unit.places_of(_KIND.name, edge)), f"the list of rules of {edge}")
    before = {record.path: record for record in unit.all(_KIND.name, edge)}
    values = [_value(rule, f"firewall_rules[{index}]") for index, rule in enumerate(request.firewall_rules)]
    named = [rule.name for rule in request.firewall_rules]
    for index, name in enumerate(named):
        if name and (name not in before or name in named[:index]):
            text = "expected a rule that is there" if name not in before else "the rule is in the list twice"
            raise ArgumentError("the list is wrong", [(f"firewall_rules[{index}].name", text)])
    gone = [record for name, record in before.items() if name not in named]
    for record in gone:
        call.changes.delete(_KIND, record)
    made = []
    for index, (rule, value) in enumerate(zip(request.firewall_rules, values, strict=True)):
        place = f"firewall_rules[{index}]"
        with placed(instead(_KIND.name, place), place):
            if rule.name:
                record = call.changes.update(_KIND, before[rule.name], value, rule.etag)
            else:
                record = call.changes.create(_KIND, edge, value, position=GAP)
        unit.places[record.path] = place
        made.append(record)
    unit.renumber([record.path for record in made], GAP)
    unit.touch(edge)
    call.note(edge, firewall_rules=[record.path for record in made], deleted=[record.path for record in gone])
    return made


def _value(given: pb.FirewallRule, place: str) -> FirewallRule:
    return checked(FirewallRule, messages.read(given, place, FirewallRule.model_fields), place)


def _wish(given: pb.RulePosition) -> Wish:
    place = given.WhichOneof("place")
    if place and getattr(given, place):
        if place in {"before", "after"}:
            return Wish(place, getattr(given, place))
        return Wish("before" if place == "first" else "after")
    text = "expected one of first, last, before and after"
    raise ArgumentError("the position is wrong", [("position", text)])


def _check_etag(known: str, now: str, what: str) -> None:
    if known and known != now:
        raise StaleObjectError(f"{what} has been changed: it is {now} now, not what the caller knows")


def _message(record: Record, call: WriteCall) -> pb.FirewallRule:
    found = pb.FirewallRule()
    kinds.fill(_KIND, found, record, call)
    return found


def _task(verb: str, path: str, call: WriteCall) -> Any:
    return convert.task_message(call.unit.done(f"{verb} {_KIND.words}", path))


def _apply_one(change: Callable[[Any, WriteCall], Record], request: Any, call: WriteCall) -> tuple[str, str]:
    record = change(request, call)
    return record.path, record.etag


def _apply_list(request: pb.ReplaceFirewallRulesRequest, call: WriteCall) -> tuple[str, str]:
    replaced(request, call)
    return request.parent, etag(call.unit.places_of(_KIND.name, request.parent))


HANDLERS = MappingProxyType(
    {
        "FirewallService/CreateFirewallRule": Method(
            create_firewall_rule, ("parent", _EDGE), apply=partial(_apply_one, created)
        ),
        "FirewallService/ListFirewallRules": Method(list_firewall_rules, ("parent", _EDGE)),
        "FirewallService/MoveFirewallRule": Method(
            move_firewall_rule, ("name", _KIND.form), apply=partial(_apply_one, moved)
        ),
        "FirewallService/ReplaceFirewallRules": Method(replace_firewall_rules, ("parent", _EDGE), apply=_apply_list),
    }
)
