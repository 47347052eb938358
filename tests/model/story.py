"""A case in words: configurations line by line, packets as text and hex, and where two values part."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from enum import Enum

from edge.firewall.config import FirewallRule
from edge.model import EdgeConfig, Options
from edge.nat.config import NatRule
from edge.packets import format_frame
from edge.verdicts import Endpoints, Outcome, Output, Step
from tests.model.traffic import BatchEvent, ChangeEvent, DeleteEvent, Event
from tests.model.universe import Universe


def describe(universe: Universe, events: Iterable[Event]) -> str:
    """What there was, and what happened."""
    lines = ["configuration", *configuration(universe.config)]
    before = universe.config
    for number, event in enumerate(events):
        if isinstance(event, ChangeEvent):
            known = set(configuration(before))
            lines.append(f"event {number}: another configuration; what is new in it:")
            lines += [line for line in configuration(event.universe.config) if line not in known]
            before = event.universe.config
        elif isinstance(event, DeleteEvent):
            lines.append(f"event {number}: {event.match} end")
        elif isinstance(event, BatchEvent):
            lines.append(f"event {number}: {event.now_ns} ns, {'on trial' if event.on_trial else 'a batch'}")
            lines += [f"    in {port}: {format_frame(frame)}  {frame.hex()}" for port, frame in event.frames]
        else:
            mapped = " (mapped as a reply)" if event.mapped else ""
            mapped += " (unsegmented)" if event.unsegmented else ""
            mapped += f" ({event.fragmentation})" if event.fragmentation else ""
            text = format_frame(event.frame, frozenset({"ttl", "seq", "ack", "win"}))
            lines += [f"event {number}: {event.now_ns} ns in {event.port}{mapped}: {text}", f"    {event.frame.hex()}"]
    return "\n".join(lines)


def configuration(config: EdgeConfig) -> list[str]:
    """One line for each object."""
    lines = []
    for uplink in config.routing.uplinks:
        subnets = (f"{s.network} ({', '.join(map(str, s.ranges))}; primary {s.primary})" for s in uplink.subnets)
        lines.append(f"  uplink {uplink.name}: {'; '.join(subnets)}")
    for network in config.routing.networks:
        gateways = ", ".join(f"{subnet.gateway} in {subnet.network}" for subnet in network.subnets)
        lines.append(f"  network {network.name} {network.type} {network.connection}: {gateways}")
    for route in config.routing.static_routes:
        hops = ", ".join(f"{hop.address} scope {hop.scope!r} distance {hop.admin_distance}" for hop in route.next_hops)
        lines.append(f"  route {route.name}: {route.network} via {hops}")
    lines += [f"  firewall {changed_fields(rule, ('id', 'name'))}" for rule in config.firewall.rules]
    lines += [f"  nat {changed_fields(rule, ('name',))}" for rule in config.nat.rules]
    lines.append(f"  options {changed_fields(config.options, ())}")
    return lines


def changed_fields(item: FirewallRule | NatRule | Options, always: tuple[str, ...]) -> str:
    """The fields of an object that say something."""
    said = []
    for field in fields(item):
        value = getattr(item, field.name)
        if field.name in always or value != field.default:
            said.append(f"{field.name}={plain(value)}")
    return " ".join(said)


def plain(value: object) -> str:
    """A value without the noise of its class."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, Endpoints):
        return f"{value.src} {value.sport} > {value.dst} {value.dport}"
    if isinstance(value, Step):
        parts = {"rule": value.rule_id, "port": value.port, "after": value.after, "saw": value.saw}
        said = [f"{name}={plain(part)}" for name, part in parts.items() if part is not None]
        return " ".join((value.stage.name, value.result.name, *said, *(["logged"] if value.logged else [])))
    if isinstance(value, Output):
        text = format_frame(value.frame, frozenset({"ttl", "seq", "ack", "win"}))
        frames = "".join(f"\n      {frame.hex()}" for frame in (value.frame, *value.fragments))
        return f"{value.port}{' hairpin' if value.hairpin else ''} {value.fragmentation or ''}: {text}{frames}"
    if isinstance(value, tuple):
        return "(" + ", ".join(plain(item) for item in value) + ")"
    if is_dataclass(value) and type(value).__str__ is object.__str__:
        return "(" + " ".join(f"{field.name}={plain(getattr(value, field.name))}" for field in fields(value)) + ")"
    return str(value)


def unlike(first: object, second: object) -> str:
    """Where two values part: the two sides, without what they have in common."""
    if isinstance(first, Outcome) and isinstance(second, Outcome):
        lines = []
        for name in ("verdict", "reason"):
            one, other = plain(getattr(first, name)), plain(getattr(second, name))
            lines += [f"  {name}: {one} against {other}"] if one != other else []
        for name in ("steps", "outputs"):
            lines += [f"  {name}:", *sides(getattr(first, name), getattr(second, name))]
        return "\n".join(lines)
    if isinstance(first, dict) and isinstance(second, dict):
        keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
        return "\n".join(f"  {key}: {plain(first.get(key))} against {plain(second.get(key))}" for key in keys)
    if isinstance(first, list) and isinstance(second, list):
        return "\n".join(sides(first, second))
    return "\n".join(sides([first], [second]))


def sides(first: Iterable[object], second: Iterable[object]) -> list[str]:
    """Both lists, item by item; ``=`` is what they share."""
    ours, theirs = [plain(item) for item in first], [plain(item) for item in second]
    lines = [f"    {'=' if item in theirs else '<'} {item}" for item in ours]
    return lines + [f"    > {item}" for item in theirs if item not in ours]
