"""Requests that nobody would write: whatever they hold, the answer is one of the contract's."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import Descriptor

from control.access.methods import METHODS as RULES
from control.api import messages
from control.v1 import edge_pb2
from edge.errors import ArgumentError
from tests.control.cloud import Cloud
from tests.control.samples import SAMPLES, plant_all
from tests.control.world import METHODS, RefusedError, World

TEXTS = (
    "\N{MATHEMATICAL BOLD DIGIT ONE}0.0.0.1", "", "x", "one", " ", "\0", "\x1b[2J", "\u202e", "\ud7ff", "x" * 70_000,
    "\N{PILE OF POO}" * 200, "../..", "*", "%", "-1", "1/0", "orgs/US1", "orgs/US1/", "orgs/US2/edges/one",
    "regions/one/../..", "10.0.0.0/0", "10.20.0.1/24", "::/0", "::1%1", "::ffff:1.2.3.4", "0.0.0.0", "10.0.0.01",
    "255.255.255.255-0.0.0.0", "1-2-3", "2001:db8::-2001:db8::ffff:ffff:ffff:ffff", "65536", "0-65535", "8000-80",
    "1e9", "NaN", "' OR 1=1 --", '"', "{}", "ANY", "any", "TCP", "EQUALS", "203.0.113.10", "true", "null",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 64, 65_535, 65_536, 2**31 - 1, -(2**31))
FLOATS = (0.0, -0.0, 1.5, 1e308, -1e308, math.inf, -math.inf, math.nan, 2.0**60)


class Nonsense:
    """Fills messages by their descriptions."""

    def __init__(self, seed: int, names: tuple[str, ...]) -> None:
        self.rng = random.Random(seed)
        self.texts = (*TEXTS, *names)

    def fill(self, message: Any, depth: int = 0) -> None:
        for field in message.DESCRIPTOR.fields:
            if self.rng.random() < (0.3 if depth < 4 else 0.9) or field.name in {"busy_timeout", "request_id"}:
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                getattr(message, field.name)  # a map has no elements of its own kind to fill
            elif field.is_repeated:
                for _ in range(self.rng.choice((0, 1, 1, 2, 5))):
                    self.add(message, field, depth)
            elif field.message_type is not None:
                getattr(message, field.name).SetInParent()
                self.fill(getattr(message, field.name), depth + 1)
            else:
                setattr(message, field.name, self.value(field))

    def add(self, message: Any, field: Any, depth: int) -> None:
        if field.message_type is None:
            getattr(message, field.name).append(self.value(field))
        else:
            self.fill(getattr(message, field.name).add(), depth + 1)

    def value(self, field: Any) -> Any:
        match field.cpp_type:
            case field.CPPTYPE_STRING:
                text = self.rng.choice(self.texts)
                return text.encode() if field.type == field.TYPE_BYTES else text
            case field.CPPTYPE_BOOL:
                return self.rng.random() < 0.5
            case field.CPPTYPE_DOUBLE | field.CPPTYPE_FLOAT:
                return self.rng.choice(FLOATS)
            case field.CPPTYPE_ENUM:
                return self.rng.choice((0, 1, 2, 3, 77))
            case field.CPPTYPE_UINT32 | field.CPPTYPE_UINT64:
                return abs(self.rng.choice(NUMBERS))
            case _:
                return self.rng.choice(NUMBERS)


def name_fields(descriptor: Descriptor, names: dict[str, str], request: Any) -> None:
    """What a request is about is there, so that the rest of it is looked at."""
    for field in descriptor.fields:
        if field.name in {"parent", "name", "edge"}:
            setattr(request, field.name, names.get(field.name, getattr(request, field.name)))
        elif field.message_type is not None and "etag" in field.message_type.fields_by_name and not field.is_repeated:
            getattr(request, field.name).name = names["name"]


OWN = [(sample, verb) for sample in SAMPLES for verb in ("Create", "Update", "List") if verb in sample.of.methods]


def told(world: World, name: str, request: Any, token: str) -> str:
    """The status of the answer."""
    answer, status = world.dispatcher.call(name, request, f"Bearer {token}")
    assert (status is None) or not answer
    return "OK" if status is None else RefusedError(status).code


@pytest.mark.parametrize(("sample", "verb"), OWN, ids=[sample.of.method(verb) for sample, verb in OWN])
def test_nonsense_in_objects_has_an_answer(world: World, sample: Any, verb: str) -> None:
    check_objects(world, sample, verb)


@pytest.mark.parametrize("verb", ["Create", "Update"])
def test_nonsense_has_an_answer_on_each_database(either: World, verb: str) -> None:
    check_objects(either, SAMPLES[-1], verb)


def check_objects(world: World, sample: Any, verb: str) -> None:
    """Nonsense for a method of a kind: it is answered, and by far not always taken."""
    cloud = Cloud(world)
    plant_all(world, cloud.org)
    known = tuple(each.name(cloud.org) for each in SAMPLES)
    nonsense = Nonsense(7, known)
    name = sample.of.method(verb)
    build = message_factory.GetMessageClass(METHODS[name].input_type)
    seen = set()
    for _ in range(80):
        request = build()
        nonsense.fill(request)
        names = {"parent": sample.parent(cloud.org), "name": sample.name(cloud.org)}
        if nonsense.rng.random() < 0.9:
            name_fields(METHODS[name].input_type, names, request)
        if verb == "Update" and nonsense.rng.random() < 0.8:
            request.update_mask.ClearField("paths")
            getattr(request, sample.kind).etag = ""
        seen.add(told(world, name, request, cloud.admin))
    assert "INVALID_ARGUMENT" in seen
    assert "INTERNAL" not in seen


OTHERS = [name for name in RULES if name.startswith(("OrderService", "EdgeGatewayService/ListIp"))]


@pytest.mark.parametrize("name", OTHERS)
def test_nonsense_in_orders_has_an_answer(world: World, name: str) -> None:
    cloud = Cloud(world)
    plant_all(world, cloud.org)
    nonsense = Nonsense(8, tuple(each.name(cloud.org) for each in SAMPLES))
    build = message_factory.GetMessageClass(METHODS[name].input_type)
    seen = set()
    for _ in range(80):
        request = build()
        nonsense.fill(request)
        name_fields(
            METHODS[name].input_type, {"parent": cloud.org, "edge": f"{cloud.org}/edges/one", "name": ""}, request
        )
        seen.add(told(world, name, request, cloud.admin))
    assert seen - {"OK"}
    assert "INTERNAL" not in seen


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_options_have_numbers_that_json_has(number: float) -> None:
    edge = edge_pb2.EdgeGateway()
    edge.options.fields["deep"].struct_value.fields["mtu"].list_value.values.add().number_value = number
    with pytest.raises(ArgumentError) as caught:
        messages.read(edge, "edge_gateway", {"options"})
    assert caught.value.violations == (("edge_gateway.options", "expected numbers that JSON has"),)
