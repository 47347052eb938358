"""A complete document reads as the configuration it was made of, and shows no secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edge.complete import complete
from edge.document import from_data, load
from edge.masking import PLACEHOLDER, masked, unmasked

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    (
        *ROOT.glob("tests/data/*.*"),
        *ROOT.glob("examples/**/*edge*.yaml"),
        *(path for path in ROOT.glob("tests/scenarios/*.yaml") if ".edgetest." not in path.name),
    )
)
MINIMAL: dict[str, Any] = {"edgeGateway": {"name": "T1"}}


def test_there_are_documents_to_complete() -> None:
    assert len(DOCUMENTS) >= 4


@pytest.mark.parametrize("path", [path for path in DOCUMENTS if ".edgetest." not in path.name], ids=lambda p: p.name)
def test_it_is_the_same_configuration(path: Path) -> None:
    loaded = load(path, allow_unsupported=True)
    whole = complete(loaded)
    again = from_data(json.loads(json.dumps(whole)), allow_unsupported=True)
    assert again.config == loaded.config
    assert complete(again) == whole
    codes = [problem.code for problem in again.problems]
    assert codes == [problem.code for problem in loaded.problems]


def test_a_minimal_document_has_everything_filled_in() -> None:
    whole = complete(from_data(MINIMAL))
    assert whole["edgeGateway"].keys() == {"id", "name", "edgeGatewayUplinks"}
    (rule,) = whole["firewallRules"]["defaultRules"]
    assert rule == {
        "id": from_data(MINIMAL).config.firewall.rules[0].id,
        "name": "default_rule",
        "actionValue": "DROP",
        "direction": "IN_OUT",
        "ipProtocol": "IPV4_IPV6",
        "enabled": True,
        "logging": False,
    }
    for section in ("orgVdcNetworks", "firewallGroups", "applicationPortProfiles", "natRules", "staticRoutes"):
        assert whole[section] == []
    options = whole["options"]
    assert (options["mtu"], options["timers"]["tcpFirst"], options["providerFilter"][0]["protocol"]) == (
        1500,
        120,
        "TCP",
    )
    assert from_data(whole).config == from_data(MINIMAL).config


def test_what_was_written_stays() -> None:
    written = MINIMAL | {
        "nat/rules": {
            "resultTotal": 1,
            "values": [
                {
                    "name": "n",
                    "ruleType": "SNAT",
                    "externalAddresses": "203.0.113.10",
                    "internalAddresses": "10.0.0.0/8",
                    "active": False,
                    "priority": None,
                    "description": "mine",
                }
            ],
        },
        "orgVdcNetworks": [{"name": "LAN", "connection": {"connectionType": "NON_DISTRIBUTED"}}],
    }
    loaded = from_data(written)
    whole = complete(loaded)
    assert whole["nat/rules"]["resultTotal"] == 1
    (rule,) = whole["nat/rules"]["values"]
    assert rule["description"] == "mine"
    assert (rule["ruleType"], rule["type"], rule["active"], rule["enabled"], rule["priority"]) == (
        "SNAT",
        "SNAT",
        False,
        False,
        0,
    )
    assert whole["orgVdcNetworks"][0]["connection"] == {
        "connectionType": "NON_DISTRIBUTED",
        "connectionTypeValue": "NON_DISTRIBUTED",
    }
    assert "natRules" not in whole
    assert from_data(whole).config == loaded.config
    assert written["nat/rules"]["values"][0].keys() >= {"priority"}


TUNNELS = {
    "ipsecTunnels": [
        {"id": "1", "name": "a", "preSharedKey": "s3cret", "remoteEndpoint": {"remoteId": "x"}},
        {"name": "b", "preSharedKey": "other"},
    ],
    "routing/bgp/neighbors": {"values": [{"neighborAddress": "192.0.2.1", "neighborPassword": "pw"}]},
}


def test_secrets_are_masked_and_come_back() -> None:
    shown = masked(TUNNELS)
    assert "s3cret" not in json.dumps(shown)
    assert shown["ipsecTunnels"][0]["preSharedKey"] == PLACEHOLDER
    assert shown["routing/bgp/neighbors"]["values"][0]["neighborPassword"] == PLACEHOLDER
    assert shown["ipsecTunnels"][0]["remoteEndpoint"] == {"remoteId": "x"}
    assert unmasked(shown, TUNNELS) == (TUNNELS, [])


def test_secrets_are_found_by_id_and_by_name_and_under_another_key() -> None:
    shown = masked(TUNNELS)
    first, second = shown["ipsecTunnels"]
    moved = {"ipsec/tunnels": {"values": [second, first | {"name": "renamed"}]}}
    found, missing = unmasked(moved, TUNNELS)
    assert missing == []
    assert [item["preSharedKey"] for item in found["ipsec/tunnels"]["values"]] == ["other", "s3cret"]


def test_a_placeholder_without_a_secret_is_told() -> None:
    _, missing = unmasked({"ipsecTunnels": [{"name": "new", "preSharedKey": PLACEHOLDER}]}, TUNNELS)
    assert missing == [("ipsecTunnels", 0, "preSharedKey")]


def test_a_complete_document_shows_no_secret() -> None:
    loaded = from_data(MINIMAL | TUNNELS, allow_unsupported=True)
    assert "s3cret" not in json.dumps(complete(loaded))
    assert loaded.document["ipsecTunnels"][0]["preSharedKey"] == "s3cret"


def test_a_secret_is_hidden_whatever_it_looks_like() -> None:
    tunnel = {"name": "t", "preSharedKey": 12345678, "peer": {"passwords": ["a", {"old": "b"}]}, "secretless": True}
    assert masked({"ipsecTunnels": [tunnel]}) == {
        "ipsecTunnels": [
            {
                "name": "t",
                "preSharedKey": PLACEHOLDER,
                "peer": {"passwords": [PLACEHOLDER, {"old": PLACEHOLDER}]},
                "secretless": True,
            }
        ]
    }
    shown = masked({"ipsecTunnels": [tunnel]})
    assert unmasked(shown, {"ipsecTunnels": [tunnel]})[0] == {"ipsecTunnels": [tunnel]}
