"""Good documents, changed at random: whatever comes in, nothing but a DocumentError comes out."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edge.checks import check
from edge.diff import diff, render
from edge.document import LoadedDocument, loads
from edge.errors import DocumentError, Problem

DATA = Path(__file__).parent.parent / "data"
TEXTS = [(DATA / name).read_text(encoding="utf-8") for name in ("edge.yaml", "cloudapi_bundle.json")]
ODD: list[Any] = [
    *(None, True, False, 0, -1, 2**70, 1.5, "", "x", "80", "1-2", "ANY", "a" * 300),
    *(
        [],
        {},
        [None],
        [[]],
        {"values": []},
        {"values": 5},
        {"name": "web-srv"},
        {"id": "x"},
        {"name": None, "id": None},
    ),
    *("10.0.0.1", "10.0.0.0/8", "::1", "0.0.0.0/0", "10.0.0.1%x", "LAN-ACME", "IP_SET", "DNAT", "REFLEXIVE", "IPV6"),
]
CHARACTERS = "{}[]:,-\"'\n \t&*!|>%@`#?~0a\x00\x85\ufeff\u2028\ud800\\"


def _paths(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inner = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from _paths(value, (*path, key))


def _changed_data(document: Any, draw: random.Random) -> str:
    document = copy.deepcopy(document)
    for _ in range(draw.choice((1, 1, 2, 4))):
        path = draw.choice(list(_paths(document)) or [()])
        if not path:
            break
        parent = document
        for step in path[:-1]:
            parent = parent[step]
        action = draw.random()
        if action < 0.6:
            parent[path[-1]] = copy.deepcopy(draw.choice(ODD))
        elif action < 0.8 and isinstance(parent, dict):
            parent[draw.choice(("x", "values", "id", "name", "type", "enabled"))] = parent.pop(path[-1])
        else:
            del parent[path[-1]]
    return json.dumps(document)


def _changed_text(text: str, draw: random.Random) -> str:
    characters = list(text)
    for _ in range(draw.randint(1, 6)):
        at = draw.randrange(len(characters))
        if draw.random() < 0.5:
            characters[at] = draw.choice(CHARACTERS)
        else:
            del characters[at : at + draw.randint(1, 8)]
    return "".join(characters)


def _read(text: str, allow_unsupported: bool) -> LoadedDocument | tuple[Problem, ...]:
    try:
        return loads(text, allow_unsupported=allow_unsupported)
    except DocumentError as error:
        return error.problems


def _is_one_line(text: str) -> bool:
    """Could it be written to any terminal, and mean nothing to it?"""
    return text.isprintable() and bool(text.encode())


@pytest.mark.parametrize("seed", range(4))
def test_only_document_errors_come_out(seed: int) -> None:
    draw = random.Random(seed)
    documents = [yaml.safe_load(text) for text in TEXTS]
    last: LoadedDocument | None = None
    refused = 0
    for _ in range(400):
        which = draw.randrange(2)
        text = _changed_data(documents[which], draw) if draw.random() < 0.6 else _changed_text(TEXTS[which], draw)
        loaded = _read(text, draw.random() < 0.5)
        if isinstance(loaded, tuple):
            refused += 1
            errors = [problem for problem in loaded if problem.severity == "error"]
            assert errors
            assert all(problem.code.isupper() and problem.message for problem in loaded)
            assert all(_is_one_line(str(problem)) for problem in loaded)
            continue
        warnings = check(loaded.config, loaded)
        assert {problem.severity for problem in warnings} <= {"warning"}
        assert all(_is_one_line(str(problem)) for problem in warnings)
        assert diff(loaded, loaded) == []
        if last is not None:
            changes = diff(last, loaded)
            assert bool(changes) is bool(diff(loaded, last))
            assert all(_is_one_line(line) for line in render(changes).split("\n") if line)
        last = loaded
    assert 0 < refused < 400
