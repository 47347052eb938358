"""A tenant as one document: made, found done, changed, pruned, and told where it is wrong."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.control.served import EDGE, VDC, Commands, cloud, served
from tests.control.world import World

TENANT = f"""\
organization: US1134362
networks:
  - displayName: DMZ
    owner: {VDC}
    networkType: nat_routed
    edge: {EDGE}
    gatewayCidrs: [10.20.10.1/24]
    staticPools: [10.20.10.10-10.20.10.50]
edges:
  - displayName: {EDGE}
    defaultAction: REJECT
    ipSets:
      - {{displayName: web-srv, ipAddresses: [10.20.10.10]}}
      - {{displayName: admins, ipAddresses: [198.51.100.7]}}
    securityGroups:
      - {{displayName: dmz, members: [DMZ]}}
    applicationPortProfiles:
      - displayName: web 8080
        applicationPorts: [{{protocol: TCP, destinationPorts: ["8080"]}}]
    natRules:
      - {{displayName: web, type: DNAT, externalAddresses: 203.0.113.10, dnatExternalPort: "80",
         internalAddresses: 10.20.10.10, applicationPortProfile: web 8080}}
    firewallRules:
      - {{displayName: in-web, actionValue: ALLOW, destinationFirewallGroups: [web-srv],
         applicationPortProfiles: [web 8080], logging: true}}
      - {{displayName: admin, actionValue: ALLOW, sourceFirewallGroups: [admins], applicationPortProfiles: [SSH]}}
      - {{displayName: out, actionValue: ALLOW, sourceFirewallGroups: [dmz]}}
"""
ORDER = ["in-web", "admin", "out"]


@pytest.fixture
def commands(world: World, tmp_path: Path) -> Iterator[Commands]:
    with served(world, tmp_path) as found:
        yield found


@pytest.fixture
def maria(commands: Commands, admin: str) -> str:
    """The token of an organization's administrator who has a data center and an edge."""
    return cloud(commands, admin)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "tenant.yaml"
    found.write_text(TENANT)
    return found


def rules(commands: Commands, token: str) -> list[str]:
    found = json.loads(commands.run(token, "firewall", "list", "--json").output)["firewallRules"]
    return [rule["displayName"] for rule in found]


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1, old
    file.write_text(text.replace(old, new))


def test_a_second_run_has_nothing_to_do(commands: Commands, maria: str, file: Path) -> None:
    trial = commands.run(maria, "apply", "-f", str(file), "--validate-only").output
    assert "+ networks 'DMZ' added" in trial
    assert trial.endswith("could be done\n")
    refused = commands.run(maria, "apply", "-f", str(file), given="n\n", code=130).output
    assert "10 changes: make them?" in refused
    assert rules(commands, maria) == []
    done = commands.run(maria, "apply", "-f", str(file), given="y\n").output
    assert f"+ edges[{EDGE}].firewallRules 'in-web' added, place 1" in done
    assert "    destinationFirewallGroups: [web-srv]" in done
    assert f"~ edges '{EDGE}' changed\n    defaultAction: DROP -> REJECT" in done
    assert done.endswith("10 changes: SUCCESS\n")
    assert commands.run(maria, "apply", "-f", str(file), "--yes").output == (
        "1 object that the document does not name stays (--prune deletes)\nnothing to do\n"
    )
    assert rules(commands, maria) == ORDER


def test_one_rule_is_changed(commands: Commands, maria: str, file: Path) -> None:
    commands.run(maria, "apply", "-f", str(file), "--yes")
    replace(file, "applicationPortProfiles: [web 8080], logging: true}", "applicationPortProfiles: [web 8080, HTTPS]}")
    changed = commands.run(maria, "apply", "-f", str(file), "--yes").output
    assert changed == (
        "1 object that the document does not name stays (--prune deletes)\n"
        f"~ edges[{EDGE}].firewallRules 'in-web' changed\n"
        "    logging: true -> false\n"
        "    applicationPortProfiles: [web 8080] -> [web 8080, HTTPS]\n"
        "1 change: SUCCESS\n"
    )
    found = json.loads(commands.run(maria, "apply", "-f", str(file), "--yes", "--json").stdout)
    assert found == {"changes": [], "tasks": []}


def test_what_is_not_named_goes_only_on_request(commands: Commands, maria: str, file: Path) -> None:
    commands.run(maria, "apply", "-f", str(file), "--yes")
    commands.run(maria, "firewall", "create", "by-hand", "--action-value", "ALLOW", "--before", "admin")
    commands.run(maria, "ip-sets", "create", "more", "--ip-address", "10.0.0.1")
    commands.run(maria, "routes", "create", "r", "--network-cidr", "10.99.0.0/16", "--next-hop", "ipAddress=10.20.10.2")
    stays = commands.run(maria, "apply", "-f", str(file), "--yes").output
    assert stays == "3 objects that the document does not name stay (--prune deletes)\nnothing to do\n"
    assert rules(commands, maria) == ["in-web", "by-hand", "admin", "out"]
    replace(file, "networks:", "unused: []\nnetworks:")
    assert "there is no section 'unused'" in commands.run(maria, "apply", "-f", str(file), "--prune", code=2).output
    replace(file, "unused: []\n", "")
    pruned = commands.run(maria, "apply", "-f", str(file), "--yes", "--prune").output
    assert pruned == (
        "- networks 'LAN-USMIA01P' removed\n"
        f"- edges[{EDGE}].ipSets 'more' removed\n"
        f"- edges[{EDGE}].firewallRules 'by-hand' removed, place 2\n"
        "3 changes: SUCCESS\n"
    )
    assert rules(commands, maria) == ORDER
    assert "r " in commands.run(maria, "routes", "list").output  # the document has no such section
    assert commands.run(maria, "apply", "-f", str(file), "--yes", "--prune").output == "nothing to do\n"


def test_what_is_used_is_not_pruned(commands: Commands, maria: str, file: Path) -> None:
    commands.run(maria, "apply", "-f", str(file), "--yes")
    text = file.read_text()
    file.write_text(re.sub(r"    firewallRules:(\n      .*)+", "", text).replace(
        "      - {displayName: admins, ipAddresses: [198.51.100.7]}\n", ""
    ))  # fmt: skip
    refused = commands.run(maria, "apply", "-f", str(file), "--yes", "--prune", code=1).output
    assert "OBJECT_IN_USE" in refused
    assert f"orgs/US1134362/edges/{EDGE}/firewallRules/admin" in refused
    assert "LAN-USMIA01P" in commands.run(maria, "networks", "list").output  # all or nothing


def test_rules_get_the_order_of_the_document(commands: Commands, maria: str, file: Path) -> None:
    chosen = random.Random(7)
    line = "      - {{displayName: {}, actionValue: ALLOW}}\n"
    head = f"edges:\n  - displayName: {EDGE}\n    firewallRules:\n"
    names = [f"r{number}" for number in range(8)]
    for prune in (True, False, True, True):
        wanted = chosen.sample(names, chosen.randint(3, 8))
        file.write_text(head + "".join(map(line.format, wanted)))
        commands.run(maria, "apply", "-f", str(file), "--yes", *(["--prune"] if prune else []))
        found = rules(commands, maria)
        assert [name for name in found if name in wanted] == wanted
        if prune:
            assert found == wanted
        assert "nothing to do" in commands.run(maria, "apply", "-f", str(file), "--yes").output
    wanted = [wanted[-1], *wanted[:-1]]
    file.write_text(head + "".join(map(line.format, wanted)))
    shown = commands.run(maria, "apply", "-f", str(file), "--yes").output
    assert shown == (
        f"> edges[{EDGE}].firewallRules '{wanted[0]}' moved, from place {len(wanted)} to 1\n1 change: SUCCESS\n"
    )
    file.write_text(head + 2 * line.format("twin"))
    commands.run(maria, "apply", "-f", str(file), "--yes", "--prune")
    assert rules(commands, maria) == ["twin", "twin"]
    assert "nothing to do" in commands.run(maria, "apply", "-f", str(file), "--yes").output


def test_secrets_are_sent_and_never_shown(commands: Commands, maria: str, file: Path) -> None:
    file.write_text(f"""\
edges:
  - displayName: {EDGE}
    ipsecTunnels:
      - displayName: branch
        preSharedKey: geheim-geheim
        localEndpoint: {{localAddress: 203.0.113.10, localNetworks: [10.1.0.0/24]}}
        remoteEndpoint: {{remoteAddress: 198.51.100.9, remoteNetworks: [10.9.0.0/16]}}
""")
    made = commands.run(maria, "apply", "-f", str(file), "--yes").output
    assert "preSharedKey: (secret)" in made
    assert "not compared" not in made
    again = commands.run(maria, "apply", "-f", str(file), "--yes", "--json")
    assert json.loads(again.stdout)["changes"] == []
    assert again.stderr.count("a secret is not compared") == 1
    shown = commands.run(maria, "ipsec", "get", "branch").output
    assert re.search(r"preSharedKeySet +true", shown)
    assert "geheim" not in made + again.output + shown


WRONG = [
    (
        "- displayName: DMZ",
        "- displayNam: DMZ",
        3,
        "displayNam: UNKNOWN_FIELD: there is no field 'displayNam'; did you",
    ),
    ("gatewayCidrs: [10.20.10.1/24]", "gatewayCidrs: [10.20.10.1/33]", 7, "gatewayCidrs[0]: INVALID_VALUE"),
    ("gatewayCidrs: [10.20.10.1/24]", "gatewayCidrs: 10.20.10.1/24", 7, "gatewayCidrs: WRONG_TYPE: expected a list"),
    ("networkType: nat_routed", "networkType: bridged", 5, "networkType: INVALID_VALUE: expected one of ISOLATED,"),
    ("    networkType: nat_routed\n", "", 3, "networks[0]: MISSING_FIELD: the field 'networkType'"),
    ("members: [DMZ]", "members: [DMY]", 16, "securityGroups[0].members[0]: DANGLING_REFERENCE: there is no 'DMY'"),
    (f"  - displayName: {EDGE}", "  - displayName: T2", 10, "edges[0]: OBJECT_UNKNOWN: there is no Edge Gateway 'T2'"),
    ("displayName: admins", "displayName: web-srv", 14, "ipSets[1].displayName: DUPLICATE_NAME: 'web-srv' is there"),
    ("logging: true", "logging: 1", 25, "logging: WRONG_TYPE: expected true or false, not the number 1"),
    (
        "actionValue: ALLOW, sourceFirewallGroups: [dmz]",
        "sourceFirewallGroups: [dmz]",
        27,
        "MISSING_FIELD: the field 'actionValue' is required",
    ),
    ("organization: US1134362", "organization: 5", 1, "organization: WRONG_TYPE"),
    ("organization: US1134362", "organisation: US1", 1, "organisation: UNKNOWN_FIELD: there is no section"),
    ("ipSets:", "ipSet:", 12, "ipSet: UNKNOWN_FIELD: there is no field 'ipSet'; did you mean 'ipSets'?"),
    # What only the control plane can tell.
    ("externalAddresses: 203.0.113.10", "externalAddresses: 192.0.2.1", 21, "natRules[0].externalAddresses"),
    ("staticPools: [10.20.10.10-10.20.10.50]", "staticPools: [10.9.9.10]", 3, "networks[0]"),
]


@pytest.mark.parametrize(("old", "new", "line", "text"), WRONG, ids=lambda value: str(value)[:20])
def test_what_is_wrong_is_told_with_its_line(
    commands: Commands, maria: str, file: Path, old: str, new: str, line: int, text: str
) -> None:
    file.write_text(file.read_text().replace(old, new, 1))
    output = commands.run(maria, "apply", "-f", str(file), "--yes", code=2).output
    found = [entry for entry in output.splitlines() if entry.startswith(f"{file}:{line}:") and text in entry]
    assert found, output
    assert rules(commands, maria) == []


def test_an_edge_and_its_rules(commands: Commands, maria: str, file: Path) -> None:
    commands.run(maria, "apply", "-f", str(file), "--yes")
    document = json.loads(commands.run(maria, "edges", "document", EDGE).output)
    assert document["edgeGateway"]["name"] == EDGE
    web = "tcp 198.51.100.99:40000 > 203.0.113.10:80 S"
    assert "ALLOW (FW_RULE)" in commands.run(maria, "edges", "trace", EDGE, web).output
    commands.run(maria, "firewall", "move", "out", "--before", "admin")
    assert rules(commands, maria) == ["in-web", "out", "admin"]
    assert "only one of them" in commands.run(maria, "firewall", "move", "out", "--first", "--last", code=2).output
    listed = file.with_name("rules.yaml")
    listed.write_text("- {displayName: admin, actionValue: DROP}\n- {displayName: in-web, actionValue: REJECT}\n")
    commands.run(maria, "firewall", "replace", "-f", str(listed))
    assert rules(commands, maria) == ["admin", "in-web"]
    (result,) = json.loads(commands.run(maria, "edges", "trace", EDGE, web, "--json").output)["packets"]
    assert result["verdict"] == "DROP"
    listed.write_text("- {displayName: admin, action: DROP}\n")
    assert (
        f"{listed}:1:24: [0].action: UNKNOWN_FIELD"
        in commands.run(maria, "firewall", "replace", "-f", str(listed), code=2).output
    )


def test_machines(commands: Commands, maria: str, file: Path) -> None:
    file.write_text(f"""\
vdcs:
  - id: {VDC}
    description: from the document
    machines:
      - displayName: web1
        template: Debian 10
        sizingPolicy: gp.small-01
        nics: [{{network: LAN-USMIA01P, primary: true, ipMode: pool}}]
        metadata: {{owner: maria}}
      - displayName: web2
        template: Debian 10
        custom: {{vcpu: 2, memoryGb: 3}}
""")
    made = commands.run(maria, "apply", "-f", str(file), "--yes", code=1).output
    assert "PERMISSION_DENIED" in made  # data centers are other people's
    replace(file, "    description: from the document\n", "")
    made = commands.run(maria, "apply", "-f", str(file), "--yes").output
    assert f"+ vdcs[{VDC}].machines 'web1' added\n    displayName: web1\n    template: Debian 10\n" in made
    assert "nics: [{network: LAN-USMIA01P, primary: true, ipMode: POOL}]" in made
    assert commands.run(maria, "apply", "-f", str(file), "--yes").output == "nothing to do\n"
    replace(file, "ipMode: pool", "ipMode: manual, address: 10.1.0.77")
    changed = commands.run(maria, "apply", "-f", str(file), "--yes").output
    assert changed.startswith(f"~ vdcs[{VDC}].machines 'web1' changed\n    nics: ")
    file.write_text(f"vdcs:\n  - id: {VDC}\n    machines: []\n")
    pruned = commands.run(maria, "apply", "-f", str(file), "--yes", "--prune").output
    assert pruned.endswith("2 changes: SUCCESS\n")
    replace(file, "machines: []", "machines: [{displayName: x, template: Debian 11, sizingPolicy: gp.small-01}]")
    wrong = commands.run(maria, "apply", "-f", str(file), "--yes", code=2).output
    assert f"{file}:3:43: vdcs[0].machines[0].template: DANGLING_REFERENCE: there is no 'Debian 11'" in wrong
