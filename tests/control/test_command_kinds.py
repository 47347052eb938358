"""Commands about objects of every kind: what they make, find by short names, change and delete."""

from __future__ import annotations

import json
import re
import shlex
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from google.protobuf import json_format, message_factory

from control.access.methods import METHODS
from control.api.client import ControlClient
from control.kinds import KINDS
from control.store.unit import PROVIDER
from control.tenant.fields import object_shape
from control.tenant.references import REFERENCES
from edge.cli.control.finder import Finder
from edge.cli.control.nouns import NOUNS, Action
from edge.cli.control.session import KeptSession, keep
from edge.cli.main import cli
from tests.control.served import EDGE, VDC, Commands, order, region, served
from tests.control.world import METHODS as CONTRACT
from tests.control.world import World


@pytest.fixture
def commands(world: World, tmp_path: Path) -> Iterator[Commands]:
    with served(world, tmp_path) as found:
        yield found


def test_every_kind_has_commands() -> None:
    assert sorted(noun.kind for noun in NOUNS.values()) == sorted(kind.name for kind in KINDS)


def examples(group: click.Group) -> Iterator[list[str]]:
    """The arguments of every command's example."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from examples(command)
        elif name not in {"serve", "demo", "rekey", "stop-machines", "login"}:
            line = (command.epilog or "").removeprefix("Example:  t1edge ")
            words = shlex.split(line.replace(" ...", " --description x"))
            yield words[: words.index(">")] if ">" in words else words


def something(message: Any, depth: int = 2) -> dict[str, Any]:
    """A message as JSON that has one of everything, to some depth."""
    empty = message_factory.GetMessageClass(message)()
    found = json_format.MessageToDict(empty, always_print_fields_with_no_presence=True)
    for field in message.fields:
        if field.name in {"name", "display_name"}:
            found[field.json_name] = "orgs/US1/things/pipeline" if field.name == "name" else "pipeline"
        inner = field.message_type
        if depth and inner is not None and inner.full_name.startswith("control."):
            one = something(inner, depth - 1)
            found[field.json_name] = [one] if field.is_repeated else one
    return found


def test_every_method_is_called_by_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: set[str] = set()

    def answer(_: ControlClient, name: str, *__: Any) -> dict[str, Any]:
        called.add(name)
        found = something(CONTRACT[name].output_type)
        return found | ({"task": {**found["task"], "status": "TASK_STATUS_SUCCESS"}} if "task" in found else {})

    def answers(client: ControlClient, name: str, *_: Any) -> Iterator[dict[str, Any]]:
        answer(client, name)
        return iter(())

    monkeypatch.setattr(ControlClient, "call", answer)
    monkeypatch.setattr(ControlClient, "watch", answers)
    monkeypatch.setattr(ControlClient, "converse", answers)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    Path("acme.yaml").write_text("vdcGroups: [{displayName: all, region: regions/MIA, vdcs: [orgs/US1/vdcs/v]}]")
    Path("branch.yaml").write_text("displayName: branch")
    Path("rules.yaml").write_text("[]")
    session = KeptSession("unix:nobody", "orgs/US1/users/maria", "x")
    group = cli.get_command(click.Context(cli), "control")
    assert isinstance(group, click.Group)
    name = ("--first-name", "Eva", "--last-name", "Paz", "--email", "eva@example.com")
    others = [["users", "create", "eva", "--role", "staff", *name], ["edges", "host", "T1-ACME"],
              ["profiles", "get", "systemProfiles/HTTPS"]]  # fmt: skip
    for line in [*examples(group), *(["control", *other] for other in others)]:
        keep(session)
        CliRunner().invoke(cli, line, input="y")
    console = "MachineService/Console"  # it takes a terminal, and has its own tests
    assert set(METHODS) - called == {"ApiTokenService/GetApiToken", console}


def test_regions_and_provider_networks(commands: Commands, admin: str) -> None:
    made = commands.run(admin, "regions", "create", "USMIA01P", "--description", "Miami").output
    assert made == "Create Region regions/USMIA01P: SUCCESS\n"
    commands.run(admin, "regions", "create", "New York", "--id", "USNYC01P")
    fields = ("--wan-access", "mpls", "--gateway-cidr", "203.0.113.1/24", "--pool", "203.0.113.10-203.0.113.20",
              "--pool", "203.0.113.30")  # fmt: skip
    several = commands.run(admin, "providers", "create", "MPLS", *fields, code=2).output
    assert "there are several, --region says which: regions/USMIA01P, regions/USNYC01P" in several
    commands.run(admin, "providers", "create", "MPLS", "--region", "New York", *fields)
    shown = json.loads(commands.run(admin, "providers", "get", "MPLS", "--json").output)
    assert shown["name"] == "regions/USNYC01P/providerNetworks/MPLS"
    assert (shown["wanAccess"], shown["pools"]) == ("WAN_ACCESS_MPLS", ["203.0.113.10-203.0.113.20", "203.0.113.30"])
    assert "203.0.113.30" in commands.run(admin, "providers", "list").output
    commands.run(admin, "providers", "update", "MPLS", "--pool", "203.0.113.40", "--set", "description=null")
    shown = json.loads(commands.run(admin, "providers", "get", "MPLS", "--json").output)
    assert shown["pools"] == ["203.0.113.40"]
    stale = commands.run(admin, "providers", "delete", "MPLS", "--etag", "x", code=1).output
    assert "ETAG_MISMATCH" in stale
    assert "OBJECT_UNKNOWN" in commands.run(admin, "providers", "get", "WAN", code=1).output
    assert "could be done" in commands.run(admin, "providers", "delete", "MPLS", "--validate-only").output
    commands.run(admin, "providers", "delete", "MPLS")
    assert json.loads(commands.run(admin, "providers", "list", "--json").output) == {"providerNetworks": []}


def test_a_name_that_two_objects_have(commands: Commands, admin: str) -> None:
    commands.run(admin, "regions", "create", "one")
    commands.run(admin, "regions", "update", "one", "--display-name", "other")
    commands.run(admin, "regions", "create", "one", "--id", "two")
    assert "regions/one, regions/two" in commands.run(admin, "regions", "get", "one", code=2).output
    assert "two" in commands.run(admin, "regions", "get", "regions/two").output


def test_objects_of_files(commands: Commands, admin: str, tmp_path: Path) -> None:
    file = tmp_path / "region.yaml"
    file.write_text("displayName: A\ndescription: from a file\n")
    commands.run(admin, "regions", "create", "-f", str(file))
    assert "from a file" in commands.run(admin, "regions", "get", "A").output
    file.write_text("displayName: B\ndescribtion: 5\n")
    wrong = commands.run(admin, "regions", "create", "-f", str(file), code=2).output
    assert (
        wrong
        == f"{file}:2:1: describtion: UNKNOWN_FIELD: there is no field 'describtion'; did you mean 'description'?\n"
    )
    file.write_text("description: 5\ndescription: x\n")
    wrong = commands.run(admin, "regions", "create", "-f", str(file), code=2).output
    assert f"{file}:1:14: description: WRONG_TYPE" in wrong
    assert f"{file}:2:1: description: DUPLICATE_KEY" in wrong
    assert "NAME is missing" in commands.run(admin, "regions", "create", code=2).output
    assert "nothing to change" in commands.run(admin, "regions", "update", "A", code=2).output
    assert "is not JSON" in commands.run(admin, "regions", "update", "A", "--set", "description=x", code=2).output
    assert "cannot be meant" in commands.run(admin, "regions", "update", "A", "--set", "description=[5]", code=2).output
    assert "expected FIELD=JSON" in commands.run(admin, "regions", "update", "A", "--set", "x=1", code=2).output


def test_help_tells_what_the_contract_tells() -> None:
    shown = CliRunner().invoke(cli, ["control", "providers", "create", "--help"]).output
    assert "--wan-access [INTERNET|MPLS]" in shown
    assert "--pool TEXT" in shown


def test_references_are_fields() -> None:
    by_name = {kind.name: kind for kind in KINDS}
    for name, table in REFERENCES.items():
        for path in table:
            shape = object_shape(by_name[name])
            for step in path.split("."):
                shape = shape.inner(step)


@pytest.fixture
def acme(commands: Commands, admin: str) -> str:
    return region(commands, admin)


def test_orders(commands: Commands, admin: str, acme: str) -> None:
    poor = ("--org", "US1134362", "--region", "USMIA01P", "--plan", "POOL", "--quota", "vcpu=2,memoryGb=5,storageGb=2")
    assert "vdc.quota.vcpu" in commands.run(admin, "vdcs", "order", *poor, code=2).output
    assert "PERMISSION_DENIED" in commands.run(acme, "vdcs", "order", *poor, code=1).output
    order(commands, admin)
    assert VDC in commands.run(acme, "vdcs", "list").output
    listed = commands.run(acme, "edges", "list").output
    assert f"{EDGE}  USMIA01P  203.0.113.10" in listed
    assert "REALIZED" in listed
    commands.run(acme, "edges", "add-ip", EDGE, "--quantity", "2")
    shown = commands.run(acme, "edges", "show", EDGE).output
    assert re.search(rf"203.0.113.10 +PRIMARY_IP {EDGE}", shown)
    assert re.search(r"203.0.113.12 +free", shown)
    assert EDGE in commands.run(admin, "edges", "host", EDGE, "--org", "US1134362").output
    could = ("--address", "unix:/run/t1edge.sock", "--validate-only")
    assert "unix:/run" in commands.run(admin, "edges", "host", EDGE, "--org", "US1134362", *could).output
    assert "PERMISSION_DENIED" in commands.run(acme, "edges", "host", EDGE, code=1).output
    commands.run(acme, "edges", "release-ip", EDGE, "--address", "203.0.113.12")
    assert "203.0.113.12" not in commands.run(acme, "edges", "addresses", EDGE).output
    used = commands.run(acme, "edges", "release-ip", EDGE, "--address", "203.0.113.10", code=1).output
    assert used == f"orgs/US1134362/edges/{EDGE}: OBJECT_IN_USE: needs it: primary\n"
    commands.run(
        acme, "edges", "order", "--vdc", VDC, "--wan-access", "INTERNET", "--gateway-cidr", "10.99.0.1/24",
        "--lan-name", "OFFICE",
    )  # fmt: skip
    assert "OFFICE" in commands.run(acme, "networks", "list").output


def test_networks(commands: Commands, admin: str, acme: str) -> None:
    order(commands, admin)
    commands.run(
        acme, "networks", "create", "DMZ", "--owner", VDC, "--network-type", "nat_routed", "--edge", EDGE,
        "--gateway-cidr", "10.20.10.1/24", "--static-pool", "10.20.10.10-10.20.10.50",
        "--dhcp", "enabled=true,pools=10.20.10.100-10.20.10.120,pools=10.20.10.130-10.20.10.140,leaseTimeS=600",
    )  # fmt: skip
    shown = json.loads(commands.run(acme, "networks", "get", "DMZ", "--json").output)
    assert shown["edge"] == f"orgs/US1134362/edges/{EDGE}"
    assert shown["owner"] == f"orgs/US1134362/vdcs/{VDC}"
    assert shown["dhcp"] == {
        "enabled": True, "pools": ["10.20.10.100-10.20.10.120", "10.20.10.130-10.20.10.140"], "leaseTimeS": "600",
    }  # fmt: skip
    listed = commands.run(acme, "networks", "list", "--filter", 'display_name = "DMZ"').output
    assert re.search(rf"DMZ +NAT_ROUTED +{EDGE} +10.20.10.1/24", listed)
    commands.run(acme, "networks", "update", "DMZ", "--dns-primary", "9.9.9.9", "--dhcp", '{"enabled": false}')
    shown = json.loads(commands.run(acme, "networks", "get", "DMZ", "--json").output)
    assert (shown["dnsPrimary"], shown["dhcp"]["enabled"]) == ("9.9.9.9", False)
    for wrong, text in (
        ("enabled", "expected KEY=VALUE"),
        ("enabled=1", "expected true or false"),
        ("leases=1", "there is no 'leases', only enabled, pools, leaseTimeS"),
        ("leaseTimeS=x", "invalid literal"),
        ("enabled=true,enabled=true", "given twice"),
        ("{", "Expecting"),
    ):
        assert text in commands.run(acme, "networks", "update", "DMZ", "--dhcp", wrong, code=2).output
    dangling = ("--owner", "NOWHERE", "--network-type", "ISOLATED", "--gateway-cidr", "10.1.0.1/24")
    assert "'NOWHERE'" in commands.run(acme, "networks", "create", "X", *dangling, code=1).output
    commands.run(acme, "networks", "delete", "DMZ")


def test_tasks_are_followed(commands: Commands, admin: str, acme: str) -> None:
    order(commands, admin)
    commands.world.attended = False
    update = ("edges", "update", EDGE, "--default-action", "reject")
    still = commands.run(acme, *update, "--timeout", "0.5", code=4).output
    assert "it still runs; t1edge control tasks get orgs/US1134362/tasks/" in still
    busy = commands.run(acme, *update, "--busy-timeout", "0", code=1).output
    assert "BUSY_ENTITY" in busy
    edge = f"orgs/US1134362/edges/{EDGE}"
    with commands.world.store.write(PROVIDER) as unit:
        state = unit.edge_state(edge)
        assert state is not None
        unit.failed(edge, state.desired, "INVALID_DOCUMENT", "the edge says no")
    begun = commands.run(acme, *update, "--no-wait").output
    assert begun == f"Update Edge Gateway {edge}: RUNNING\n"

    def refuse() -> None:
        time.sleep(0.3)
        with commands.world.store.write(PROVIDER) as unit:
            state = unit.edge_state(edge)
            assert state is not None
            unit.failed(edge, state.desired, "INVALID_DOCUMENT", "the edge says no")

    with commands.world.store.write(PROVIDER) as unit:
        unit.failed(edge, 10**6, "INVALID_DOCUMENT", "the edge says no")
    thread = threading.Thread(target=refuse)
    thread.start()
    refused = commands.run(acme, *update, code=1).output
    thread.join()
    assert "INVALID_DOCUMENT: the edge says no" in refused


def test_the_ten_lines_of_the_readme(commands: Commands, admin: str) -> None:
    page = (Path(__file__).parents[2] / "README.md").read_text()
    block = next(
        text for text in re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL) if "vdcs order" in text
    )
    lines = [shlex.split(line, comments=True)[2:] for line in block.splitlines()]
    assert [line[0] for line in lines if line[0] in {"serve", "login", "apply"}] == ["serve", "login", "apply"]
    shown = [commands.run(admin, *line).output for line in lines if line[0] not in {"serve", "login", "apply"}]
    assert len(shown) == 7
    assert "ALLOW (FW_RULE)" in shown[-1]


def test_machines(commands: Commands, admin: str, acme: str) -> None:
    order(commands, admin)
    made = commands.run(
        acme, "vms", "create", "web1", "--template", "Debian 10", "--sizing-policy", "gp.small-01",
        "--nic", "network=LAN-USMIA01P,primary=true,ipMode=POOL", "--tag", "web", "--power-on",
    ).output  # fmt: skip
    assert made == f"Create Machine orgs/US1134362/vdcs/{VDC}/machines/web1: SUCCESS\n"
    shown = commands.run(acme, "vms", "list").output
    assert re.search(r"web1 +POWERED_ON +debian-10 +gp.small-01 +10\.1\.0\.128 +web", shown)
    assert "shown only now: " in commands.run(acme, "vms", "password", "web1").output
    commands.run(acme, "vms", "snapshot", "web1")
    commands.run(acme, "vms", "suspend", "web1")
    commands.run(acme, "vms", "power-on", "web1")
    command = ["control", "vms", "exec", "--to", commands.address, "web1", "ls", "--all"]
    refused = CliRunner().invoke(cli, command, env={"T1EDGE_TOKEN": acme})
    assert refused.exit_code == 1
    assert "NOT_EMULATED" in refused.output
    assert "a console needs a terminal" in commands.run(acme, "vms", "console", "web1", code=2).output
    assert "INVALID_POWER_STATE" in commands.run(acme, "vms", "delete", "web1", code=1).output
    commands.run(acme, "vms", "power-off", "web1")
    commands.run(acme, "vms", "delete", "web1", "--vdc", VDC)
    assert "web1" not in commands.run(acme, "vms", "list").output


def test_machines_of_a_group(commands: Commands, admin: str, acme: str) -> None:
    order(commands, admin)
    commands.run(
        acme, "vms", "create", "web1", "--template", "Debian 10", "--sizing-policy", "gp.small-01",
        "--nic", "network=LAN-USMIA01P,primary=true,ipMode=POOL",
    )  # fmt: skip
    commands.run(acme, "groups", "create", "lan", "--member", "LAN-USMIA01P")
    shown = commands.run(acme, "groups", "machines", "lan").output
    assert re.search(rf"web1 +10\.1\.0\.128 +orgs/US1134362/vdcs/{VDC}/machines/web1", shown)
    found = json.loads(commands.run(acme, "groups", "machines", "lan", "--filter", "display_name=x", "--json").output)
    assert found == {"machines": []}


def test_profiles_that_vmware_ships(commands: Commands, admin: str, acme: str) -> None:
    order(commands, admin)
    commands.run(acme, "profiles", "create", "web", "--application-port", "protocol=TCP,destinationPorts=8080")
    assert commands.run(acme, "profiles", "list").output.split("\n")[2].split()[0] == "web"
    shown = commands.run(acme, "profiles", "list", "--system").output
    assert re.search(r"\n  FTP +TCP 21 +FTP +true\n", shown)
    assert re.search(r"\n  ICMP Echo Request +ICMPv4 type 8 code 0 ", shown)
    assert "TCP from 53" in shown
    assert len(shown.strip().splitlines()) == 2 + 416
    options = ("--filter", "port=443 AND protocol=TCP", "--order-by", "display_name desc", "--limit", "1", "--json")
    chosen = json.loads(commands.run(acme, "profiles", "list", "--system", *options).output)["systemProfiles"]
    assert ["443" in str(each["services"]) for each in chosen] == [True]
    assert "the same on every edge" in commands.run(acme, "profiles", "list", "--system", "--edge", EDGE, code=2).output
    assert "TCP 443" in commands.run(acme, "profiles", "get", "HTTPS").output
    assert json.loads(commands.run(acme, "profiles", "get", "web", "--json").output)["displayName"] == "web"
    assert (
        "there is no Application Port Profile 'HTTPX'" in commands.run(acme, "profiles", "get", "HTTPX", code=1).output
    )
    for command in (("delete", "HTTPS"), ("update", "HTTPS", "--description", "x")):
        refused = commands.run(acme, "profiles", *command, code=2).output
        assert "what VMware ships can only be read" in refused


def test_events(commands: Commands, admin: str, acme: str) -> None:
    order(commands, admin)
    shown = json.loads(commands.run(acme, "events", "list", "--json").output)["events"]
    assert [event["number"] for event in shown] == [str(number) for number in range(1, len(shown) + 1)]
    edge = f"orgs/US1134362/edges/{EDGE}"
    assert "OBJECT_CREATED" in [event["kind"] for event in shown if event["object"] == edge]
    threading.Timer(0.5, commands.run, (acme, "edges", "update", EDGE, "--description", "x", "--no-wait")).start()
    first = json.loads(commands.run(acme, "events", "watch", "--count", "1", "--json").output)
    assert (first["kind"], first["object"]) == ("OBJECT_CHANGED", edge)
    token = first["resumeToken"]
    commands.run(acme, "edges", "update", EDGE, "--description", "y")
    followed = commands.run(acme, "events", "watch", "--count", "1", "--resume", token).output
    assert re.search(rf"Z OBJECT_CHANGED {edge}", followed)


def test_a_list_of_rules_replaces_what_was_seen(
    commands: Commands, admin: str, acme: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order(commands, admin)
    commands.run(acme, "firewall", "create", "out", "--action-value", "ALLOW")
    file = tmp_path / "rules.yaml"
    file.write_text("- {displayName: out, actionValue: DROP}\n")
    listed = Finder.listed

    def listed_before_another(finder: Finder, *about: Any) -> list[dict[str, Any]]:
        found = listed(finder, *about)
        rule = {"displayName": "late", "actionValue": "ALLOW"}
        request = {"parent": f"orgs/US1134362/edges/{EDGE}", "firewallRule": rule}
        commands.world.call("FirewallService/CreateFirewallRule", request, acme)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Finder, "listed", listed_before_another)
        refused = commands.run(acme, "firewall", "replace", "-f", str(file), "--edge", EDGE, code=1).output
    assert "ETAG_MISMATCH" in refused
    assert "late" in commands.run(acme, "firewall", "list").output
    commands.run(acme, "firewall", "replace", "-f", str(file))
    assert "late" not in commands.run(acme, "firewall", "list").output
    stale = commands.run(acme, "firewall", "replace", "-f", str(file), "--etag", "x", code=1).output
    assert "ETAG_MISMATCH" in stale


def test_what_is_not_there_is_said_to_be_not_there(commands: Commands, admin: str, acme: str) -> None:
    order(commands, admin)
    for verb in (("get",), ("delete",), ("update", "--description", "x")):
        shown = commands.run(acme, "profiles", verb[0], "nosuch", *verb[1:], code=1).output
        assert shown == "OBJECT_UNKNOWN: there is no Application Port Profile 'nosuch'\n"


def test_examples_of_help_texts_work(
    commands: Commands, admin: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {f"{word} create": noun.example for word, noun in NOUNS.items() if noun.example}
    for word, noun in NOUNS.items():
        actions = {verb: action for verb, action in noun.verbs.items() if isinstance(action, Action)}
        lines |= {f"{word} {verb}": action.example for verb, action in actions.items() if action.example != "NAME"}
    for line in ("regions create", "providers create"):
        commands.run(admin, *line.split(), *shlex.split(lines.pop(line)))
    token = commands.world.tenant(admin, "US1134362")[1]
    order(commands, admin)
    commands.run(token, "edges", "update", EDGE, "--display-name", "T1-ACME")
    monkeypatch.chdir(tmp_path)
    Path("acme.yaml").write_text("vdcGroups: [{displayName: all, region: regions/MIA, vdcs: [orgs/US1/vdcs/v]}]")
    Path("branch.yaml").write_text("""\
displayName: branch
preSharedKey: abc
localEndpoint: {localAddress: 203.0.113.10, localNetworks: [10.20.0.0/24]}
remoteEndpoint: {remoteAddress: 198.51.100.7, remoteNetworks: [10.99.0.0/16]}
""")
    commands.run(token, "firewall", "create", "out", "--edge", "T1-ACME", "--action-value", "DROP")
    account = ("--org", "US1134362")
    stages = ("edges add-ip",), ("firewall", "edges order")  # what others need, and what needs others
    for line in sorted(lines, key=lambda line: line.startswith(stages[1]) - line.startswith(stages[0])):
        provider = line.split()[0] in {"templates", "sizes"}
        who, org = (admin, account) if line == "vdcs order" else (admin, ()) if provider else (token, ())
        edges = ("--edge", "T1-ACME") if line == "firewall move" else ()  # by then there is more than one
        commands.run(who, *line.split(), *shlex.split(lines[line]), *org, *edges)


def test_lists_of_several_places_have_one_order(commands: Commands, admin: str, acme: str) -> None:
    order(commands, admin)
    commands.run(
        acme, "edges", "order", "--vdc", VDC, "--wan-access", "INTERNET", "--gateway-cidr", "10.99.0.1/24",
        "--lan-name", "OFFICE",
    )  # fmt: skip
    edges = json.loads(commands.run(acme, "edges", "list", "--json").output)["edgeGateways"]
    first, second = (item["name"] for item in edges)
    for number, place in enumerate((second, first, second, first)):
        commands.world.now_s += 0.25
        commands.run(acme, "ip-sets", "create", f"s{number}", "--edge", place, "--ip-address", "10.1.0.9")

    def listed(*options: str) -> list[str]:
        found = json.loads(commands.run(acme, "ip-sets", "list", "--json", *options).output)["ipSets"]
        return [item["displayName"] for item in found]

    assert listed("--order-by", "create_time desc", "--limit", "3") == ["s3", "s2", "s1"]
    assert listed("--order-by", "display_name") == ["s0", "s1", "s2", "s3"]
    commands.run(acme, "firewall", "create", "out", "--edge", first, "--action-value", "DROP")
    refused = commands.run(acme, "firewall", "list", "--order-by", "position", code=2).output
    assert "position is the order of one list: --edge says which" in refused
    commands.run(acme, "firewall", "list", "--order-by", "position desc", "--edge", first)
