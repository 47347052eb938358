"""What ``t1edge control firewall`` has besides the commands of every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from control.kinds import BY_NAME
from control.tenant.fields import Fields, object_shape
from edge.cli.control.common import ControlCommand, file_option
from edge.cli.control.generic import run_write, write_options

if TYPE_CHECKING:
    from edge.cli.control.finder import Finder

_KIND = BY_NAME["firewall_rule"]
_METHOD = "FirewallService/ReplaceFirewallRules"
_LIST = "FirewallService/ListFirewallRules"


@click.command(
    "replace", cls=ControlCommand, epilog="Example:  t1edge control firewall replace --edge T1-ACME -f rules.yaml"
)
@file_option("A list of rules, YAML or JSON.")
@click.option("--etag", default="", help="Only if the list is still in this state (default: as the command finds it).")
@write_options(_KIND, _METHOD)
def replace(file: str, etag: str, as_json: bool, **options: Any) -> None:
    """Put the list of rules in FILE in place of all rules of the edge, in its order.

    Rules of a display name that is there are changed, others made; what the list does not name is deleted.
    """
    rules = _read(file)

    def request(finder: Finder) -> dict[str, Any]:
        edge = finder.parent(_KIND)
        found = etag or finder.connection.client.call(_LIST, {"parent": edge, "pageSize": 1})["etag"]
        # Of before the listing: a rule that somebody makes from now on is not deleted for not being in FILE.
        there = finder.listed(_KIND, edge)
        known = {item["displayName"]: item["name"] for item in reversed(there)}
        for rule in rules:
            finder.resolve(_KIND, rule, object_shape(_KIND), edge)
            name = known.pop(str(rule.get("displayName")), "")
            if name:
                rule["name"] = name
        return {"parent": edge, "firewallRules": rules, "etag": found}

    run_write(_KIND, options, _METHOD, request, as_json=as_json)


def _read(file: str) -> list[Fields]:
    """Raises DocumentError."""
    from control.tenant.written import Written

    written = Written.read(file)
    shape, own = object_shape(_KIND), set(_KIND.model.model_fields)
    found = [written.object(path, item, shape, own) for path, item in written.list((), written.data)]
    written.check()
    return found


COMMANDS = {"firewall replace": replace}
