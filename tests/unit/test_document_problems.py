"""Bad documents: each has one mistake in an otherwise good document, and says where and as what it is reported.

The mistakes stand in tests/mistakes, by section of the document, each as
(what is wrong, text to replace in tests/data/edge.yaml, its replacement, "line:column path CODE" of each problem).
"""

from __future__ import annotations

import pytest

from edge.document import loads
from edge.errors import DocumentError
from tests.mistakes import document, firewall, nat, options, routing
from tests.support import SAMPLE

MISTAKES: list[tuple[str, ...]] = [
    *document.MISTAKES,
    *routing.MISTAKES,
    *firewall.MISTAKES,
    *nat.MISTAKES,
    *options.MISTAKES,
]


@pytest.mark.parametrize(
    ("old", "new", "expected"), [(m[1], m[2], m[3:]) for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_mistake_is_reported_where_it_stands(old: str, new: str, expected: tuple[str, ...]) -> None:
    assert old in SAMPLE
    with pytest.raises(DocumentError) as caught:
        loads(SAMPLE.replace(old, new, 1), file="edge.yaml")
    problems = caught.value.problems
    assert [f"{p.line}:{p.column} {p.path} {p.code}" for p in problems] == list(expected)
    assert all(p.severity == "error" and p.message and p.file == "edge.yaml" for p in problems)


def test_the_document_without_mistakes_loads() -> None:
    assert loads(SAMPLE, file="edge.yaml").problems == ()


def test_every_mistake_of_a_document_is_reported_at_once() -> None:
    text = SAMPLE
    chosen = (
        "unknown field",
        "negative priority",
        "unknown member",
        "no gateway",
        "DNS on",
        "unknown limits",
        "pool too large",
    )
    for mistake in MISTAKES:
        if mistake[0] in chosen:
            text = text.replace(mistake[1], mistake[2], 1)
    with pytest.raises(DocumentError) as caught:
        loads(text)
    codes = sorted(problem.code for problem in caught.value.problems)
    assert codes == [
        "DANGLING_REFERENCE",
        "INVALID_VALUE",
        "LIMIT_EXCEEDED",
        "MISSING_FIELD",
        "NOT_EMULATED",
        "OUT_OF_RANGE",
        "UNKNOWN_FIELD",
    ]
    assert str(caught.value).count("\n") == len(codes) - 1


def test_every_mistake_of_one_object_is_reported_at_once() -> None:
    text = (
        "edgeGateway: {name: T1}\n"
        "natRules:\n"
        "  - {type: DNAT, externalAddresses: bad, dnatExternalPort: x, priority: -1, applicationPortProfile: nope}\n"
    )
    with pytest.raises(DocumentError) as caught:
        loads(text)
    assert [f"{p.path} {p.code}" for p in caught.value.problems] == [
        "natRules[0].name MISSING_FIELD",
        "natRules[0].internalAddresses MISSING_FIELD",
        "natRules[0].externalAddresses INVALID_VALUE",
        "natRules[0].dnatExternalPort INVALID_VALUE",
        "natRules[0].priority OUT_OF_RANGE",
        "natRules[0].applicationPortProfile DANGLING_REFERENCE",
    ]
