"""Texts that are documents and texts that are not: syntax, keys, nesting, encodings, positions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edge.document import from_data, load, loads
from edge.document.text import Source
from edge.document.yaml_text import plain
from edge.errors import DocumentError, Problem

EXPLODING = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 10)}]" for i in range(9)
)

NOT_DOCUMENTS = [
    ("empty", "", "1:1 SYNTAX"),
    ("blank", " \n\t", "1:1 SYNTAX"),
    ("a comment", "# nothing\n", "1:1 SYNTAX"),
    ("a list", "- 1\n", "1:1 WRONG_TYPE"),
    ("a text", "hello", "1:1 WRONG_TYPE"),
    ("a list in JSON", "[1]", "1:1 WRONG_TYPE"),
    ("JSON with a comma too many", '{"a": 1,}', "1:9 SYNTAX"),
    ("JSON with NaN", '{"a": NaN}', "1:7 SYNTAX"),
    ("an unclosed flow list", "a: [1,\nb", "3:1 SYNTAX"),
    ("a key twice in JSON", '{"a": {"b": 1,\n "b": 2}}', "2:2 DUPLICATE_KEY"),
    ("a key twice in YAML", "a:\n  b: 1\n  b: 2", "3:3 DUPLICATE_KEY"),
    ("an unknown alias", "a: *x", "1:4 SYNTAX"),
    ("an alias inside itself", "a: &x [*x]", "1:8 SYNTAX"),
    ("aliases that explode", EXPLODING, "5:36 LIMIT_EXCEEDED"),
    ("two documents", "a: 1\n---\nb: 1", "2:1 SYNTAX"),
    ("a tag of Python", "a: !!python/object:os.system x", "1:4 SYNTAX"),
    ("a tag that does not fit", "a: !!int x", "1:4 SYNTAX"),
    ("a key that is a list", "? [a]\n: 1", "1:3 SYNTAX"),
    ("a key that is an alias", "a: &x y\n*x : 1", "2:1 SYNTAX"),
    ("deep YAML", "a: " + "[" * 150 + "]" * 150, "1:103 SYNTAX"),
    ("deeper YAML", "[" * 100_000, "1:1 SYNTAX"),
    ("deep JSON", '{"a":' * 100_000, "1:1 SYNTAX"),
    ("a NUL", "a: \0", "1:4 SYNTAX"),
    ("a control character", "a: \x07", "1:4 SYNTAX"),
    ("half of a surrogate pair", "a: '\ud800'", "1:5 SYNTAX"),
    ("half of an escaped pair", '{"a": "\\ud83d\\ude00 \\udc00"}', "1:21 SYNTAX"),
    ("a number past the last in JSON", '{"a": 1e999}', "1:7 SYNTAX"),
    ("a number past the last in YAML", "a: 1e999", "1:4 SYNTAX"),
    ("a whole number of 1,200 digits in YAML", "a: " + "1" * 1200, "1:4 SYNTAX"),
    ("a number of 5,000 digits", '{"a": ' + "1" * 5000 + "}", "1:7 SYNTAX"),
]


@pytest.mark.parametrize(("text", "expected"), [c[1:] for c in NOT_DOCUMENTS], ids=[c[0] for c in NOT_DOCUMENTS])
def test_text_that_is_no_document(text: str, expected: str) -> None:
    with pytest.raises(DocumentError) as caught:
        loads(text)
    problem = next(problem for problem in caught.value.problems if problem.code == expected.split()[1])
    assert f"{problem.line}:{problem.column} {problem.code}" == expected
    assert len(problem.message) < 200


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"edgeGateway: {name: \xff}", "1:21 SYNTAX"),
        (b"a: b\n\xe9: c", "2:1 SYNTAX"),
        ("edgeGateway: {name: x}".encode("utf-16"), "1:1 SYNTAX"),
    ],
)
def test_file_that_is_not_utf8(tmp_path: Path, raw: bytes, expected: str) -> None:
    file = tmp_path / "edge.yaml"
    file.write_bytes(raw)
    with pytest.raises(DocumentError) as caught:
        load(file)
    problem = caught.value.problems[0]
    assert f"{problem.line}:{problem.column} {problem.code}" == expected
    assert problem.file == str(file)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml"):
        with pytest.raises(DocumentError) as caught:
            load(path)
        assert caught.value.problems[0].code == "UNREADABLE"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("NO", "NO"),
        ("true", True),
        ("False", False),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("~", None),
        ("", None),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("10.0.0.1", "10.0.0.1"),
        ("2001-01-01", "2001-01-01"),
        ("<<", "<<"),
        (".inf", float("inf")),
        ("٣", "٣"),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    assert plain(text) == value
    assert type(plain(text)) is type(value)


def test_a_quoted_number_is_a_text() -> None:
    with pytest.raises(DocumentError) as caught:
        loads("edgeGateway: {name: '5'}\nnatRules: '5'")
    assert caught.value.problems[0].message == "expected a list, not the text '5'"


def test_flow_yaml_and_json_are_told_apart() -> None:
    assert loads("{edgeGateway: {name: x}}").config.name == "x"
    assert loads('{"edgeGateway": {name: x}}', file="a.yaml").config.name == "x"
    with pytest.raises(DocumentError, match="not JSON"):
        loads('{"edgeGateway": {name: x}}')
    with pytest.raises(DocumentError, match="not JSON"):
        loads("edgeGateway: {name: x}", file="a.json")
    assert loads('\ufeff {"edgeGateway": {"name": "x"}}').config.name == "x"


def test_aliases_share_what_they_name() -> None:
    text = "edgeGateway: {name: x}\nfirewallGroups:\n- &g {name: a, typeValue: IP_SET, ipAddresses: &i [10.0.0.1]}\n"
    loaded = loads(text + "- {name: b, typeValue: IP_SET, ipAddresses: *i}\n")
    assert [group.ranges for group in loaded.config.firewall.groups] == [loaded.config.firewall.groups[0].ranges] * 2


@pytest.mark.parametrize("syntax", ["json", "yaml"])
def test_places_of_keys_values_and_what_is_missing(syntax: str) -> None:
    text = '{\n  "a": {"b": [1,\n    {"c": 2}]},\n  "d": []}'
    source = Source(text, syntax, None)
    wanted = [
        ((), False),
        (("a",), True),
        (("a", "b", 1, "c"), True),
        (("a", "b", 1, "c"), False),
        (("a", "x", 3), True),
    ]
    assert [source.places(wanted)[item] for item in wanted] == [(1, 1), (2, 3), (3, 6), (3, 11), (2, 8)]


def test_long_texts_are_not_echoed() -> None:
    long = "A" * 10_000_000
    for text in (
        f'{{"edgeGateway": {{"name": "x", "{long}": 1}}}}',
        f'{{"edgeGateway": {{"name": "x"}}, "options": {{"limits": "{long}", "snatPortRange": "{long}"}}}}',
        f'{{"edgeGateway": {{"name": "x"}}, "natRules": "{long}"}}',
        f'{{"edgeGateway": {{"name": "x"}}, "staticRoutes": [{{"name": "{long}", "networkCidr": "{long}"}}]}}',
    ):
        with pytest.raises(DocumentError) as caught:
            loads(text)
        assert len(str(caught.value)) < 1000


def test_plain_data_has_paths_and_no_places() -> None:
    with pytest.raises(DocumentError) as caught:
        from_data({"edgeGateway": {"name": 5}, 7: 1})
    assert [(p.path, p.line) for p in caught.value.problems] == [("[7]", None), ("edgeGateway.name", None)]


def test_thousands_of_mistakes_are_all_told() -> None:
    groups = [{"name": f"group-{i}", "typeValue": "IP_SET", "ipAddresses": ["10.0.0.1"]} for i in range(2000)]
    rules = [
        {"name": f"r{i}", "actionValu": "ALLOW", f"x{i}": 1, "sourceFirewallGroups": [{"nam": "x"}, 5, "group-x"]}
        for i in range(1000)
    ]
    dangling = [{"name": "r", "actionValue": "DROP", "sourceFirewallGroups": [f"grup-{i}"]} for i in range(1000)]
    data = {
        "edgeGateway": {"name": "T1"},
        "firewallGroups": groups,
        "firewallRules": {"userDefinedRules": rules, "defaultRules": dangling},
    }
    with pytest.raises(DocumentError) as caught:
        loads(json.dumps(data))
    assert len(caught.value.problems) == 7000


@pytest.mark.parametrize("syntax", ["json", "yaml"])
def test_a_key_given_twice_hides_nothing_else_and_the_first_counts(syntax: str) -> None:
    text = (
        '{"edgeGateway": {"name": "T1", "name": 5},\n'
        ' "natRules": [{"name": "n", "type": "PAT", "type": "SNAT", "type": "DNAT"}],\n'
        ' "staticRoutes": [{"foo": 1}],\n'
        ' "staticRoutes": [{"bar": 1}]}'
    )
    with pytest.raises(DocumentError) as caught:
        loads(text, file=f"edge.{syntax}")
    assert [f"{p.line}:{p.column} {p.path} {p.code}" for p in caught.value.problems] == [
        "1:32 edgeGateway.name DUPLICATE_KEY",
        "2:37 natRules[0].type INVALID_VALUE",
        "2:44 natRules[0].type DUPLICATE_KEY",
        "2:60 natRules[0].type DUPLICATE_KEY",
        "3:19 staticRoutes[0].name MISSING_FIELD",
        "3:19 staticRoutes[0].networkCidr MISSING_FIELD",
        "3:19 staticRoutes[0].nextHops MISSING_FIELD",
        "3:20 staticRoutes[0].foo UNKNOWN_FIELD",
        "4:2 staticRoutes DUPLICATE_KEY",
    ]


def test_control_characters_of_the_author_reach_no_terminal() -> None:
    hostile = "a\nerror: b\u001b[31m\u0000"
    data = {
        "edgeGateway": {"name": hostile},
        hostile: 1,
        "firewallRules": {
            "userDefinedRules": [{"name": "r", "actionValue": hostile, "sourceFirewallGroups": [hostile]}]
        },
    }
    with pytest.raises(DocumentError) as caught:
        loads(json.dumps(data), file="a\nb.json")
    problems = caught.value.problems
    assert ("edgeGateway.name", "INVALID_VALUE") in [(problem.path, problem.code) for problem in problems]
    assert all(str(problem).isprintable() for problem in problems)
    assert str(Problem("X", "a\x1b", "b\n")) == "a\\x1b: X: b\\n"
