"""The tour: two tenants are made, one of them is looked at closely."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from control.tenant.fields import object_shape
from edge.cli.common import paint, plural, write_result
from edge.cli.control.apply import make
from edge.cli.control.common import Connection
from edge.cli.control.demo.people import People, serving
from edge.cli.control.edges import loaded_document
from edge.cli.control.finder import Finder
from edge.cli.control.follow import followed
from edge.cli.control.generic import cell
from edge.cli.control.nouns import NOUNS
from edge.cli.tables import print_table
from edge.printable import printable

if TYPE_CHECKING:
    from control.api.client import ControlClient

_REGION = "USMIA01P"
_ACME, _GLOBEX = "US1134362", "US2246810"
_TENANTS = ((_ACME, "Acme", "1349404", "acme.yaml"), (_GLOBEX, "Globex", "1349405", "globex.yaml"))
_EDGE = f"orgs/{_ACME}/edges/T1-{_ACME}-{_REGION}"
_WEB, _SSH = "tcp 198.51.100.99:40000 > 203.0.113.10:80 S", "tcp 198.51.100.99:40001 > 203.0.113.10:22 S"
_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True)
class _Tenant:
    """Clients of an organization's people: who buys, and who may do everything else."""

    buyer: ControlClient
    engineer: ControlClient


def tour(folder: Path, *, kept: bool) -> None:
    """Show it.  Raises EdgeErrors for whatever goes wrong."""
    with contextlib.ExitStack() as stack:
        _title("A control plane begins: SQLite, edges on memory ports, simulated machines")
        address = stack.enter_context(serving(folder))
        people = People(address, stack)
        one_time = (folder / "data" / "first-login").read_text(encoding="utf-8").strip()
        system = people.first_login("orgs/system/users/administrator", one_time)
        _cloud(system)
        tenants = {account: _tenant(people, system, account, name) for account, name, *_ in _TENANTS}
        _show_orders(tenants)
        _show_documents(tenants)
        _show_edges(tenants)
        _show_machines(tenants[_ACME].engineer)
        acme = tenants[_ACME]
        _title("What Acme's edge does: one packet that it lets in, and one that it does not")
        _show_traces(acme.engineer, _WEB, _SSH)
        _show_change(acme)
        _show_refusals(tenants, _member(people, acme.engineer, _ACME, "sam", "ROLE_STAFF"))
        _show_audit(tenants)
        if kept:
            _keep(folder, people)
    _title("The control plane has ended")


def _title(text: str) -> None:
    write_result("\n" + paint(text, "cyan"))


def _call(client: ControlClient, method: str, request: dict[str, Any]) -> dict[str, Any]:
    """A change, done when its task has ended."""
    answer = client.call(method, request)
    if "task" in answer:
        followed(client, answer["task"], _TIMEOUT_S)
    return answer


def _cloud(system: ControlClient) -> None:
    """The provider's part."""
    _call(system, "RegionService/CreateRegion", {"region": {"displayName": _REGION, "description": "Miami"}})
    internet = {
        "displayName": "INTERNET",
        "wanAccess": "WAN_ACCESS_INTERNET",
        "gatewayCidr": "203.0.113.1/24",
        "pools": ["203.0.113.10-203.0.113.99"],
    }
    request = {"parent": f"regions/{_REGION}", "providerNetwork": internet}
    _call(system, "RegionService/CreateProviderNetwork", request)


def _tenant(people: People, system: ControlClient, account: str, name: str) -> _Tenant:
    """An organization and its people."""
    _call(system, "OrgService/CreateOrg", {"org": {"accountId": account, "displayName": name}})
    return _Tenant(
        _member(people, system, account, "berta", "ROLE_ADMINISTRATOR"),
        _member(people, system, account, "maria", "ROLE_ORGANIZATION_ADMINISTRATOR"),
    )


def _member(people: People, adder: ControlClient, account: str, username: str, role: str) -> ControlClient:
    """Somebody who has logged in."""
    user = {
        "username": username, "email": f"{username}@{account.lower()}.example", "firstName": username.title(),
        "lastName": "Demo", "role": role,
    }  # fmt: skip
    answer = _call(adder, "UserService/CreateUser", {"parent": f"orgs/{account}", "user": user})
    return people.first_login(f"orgs/{account}/users/{username}", answer["oneTimePassword"])


def _show_orders(tenants: dict[str, _Tenant]) -> None:
    _title("Two tenants: each buys a data center, which brings an edge, a public address and a network")
    rows = []
    for account, name, subscription, _ in _TENANTS:
        vdc = {
            "region": f"regions/{_REGION}", "plan": "VDC_PLAN_POOL", "subscription": subscription,
            "quota": {"vcpu": 20, "memoryGb": 50, "storageGb": 200},
        }  # fmt: skip
        made = _call(tenants[account].buyer, "OrderService/OrderVdc", {"parent": f"orgs/{account}", "vdc": vdc})
        edge, network = made["edgeGateway"], made["network"]
        rows.append(
            [
                name, account, made["vdc"]["name"].rpartition("/")[2], edge["displayName"],
                edge["publicAddresses"][0], f"{network['displayName']} {network['gatewayCidrs'][0]}",
            ]
        )  # fmt: skip
    print_table("tenants", ("name", "account", "data center", "edge", "public address", "network"), rows)


def _show_documents(tenants: dict[str, _Tenant]) -> None:
    _title("A document says what each of them wants: t1edge control apply -f acme.yaml")
    for account, _, _, file in _TENANTS:
        path = files("edge.cli.control.demo") / file
        client = tenants[account].engineer
        found = make(Connection(client, "", _TIMEOUT_S), str(path))
        counts: dict[str, int] = {}
        for change in found.changes:
            section = change.section.rpartition(".")[2]
            counts[section] = counts.get(section, 0) + 1
        made = ", ".join(f"{section} {number}" for section, number in counts.items())
        write_result(f"  {file}: {plural(len(found.steps), 'change')} in one change set: {made}")


def _show_edges(tenants: dict[str, _Tenant]) -> None:
    _title("Every edge has what its tenant wants")
    _show_objects("edges", [(tenant.engineer, f"orgs/{account}") for account, tenant in tenants.items()])


def _show_machines(client: ControlClient) -> None:
    _title("Acme's machine is switched on")
    vdc = f"orgs/{_ACME}/vdcs/{_REGION}-{_ACME}P1349404"
    _call(client, "MachineService/PowerOnMachine", {"name": f"{vdc}/machines/web1"})
    _show_objects("vms", [(client, vdc)])


def _show_objects(word: str, places: list[tuple[ControlClient, str]]) -> None:
    """The table of a noun, of what lies in all of these places."""
    from control.kinds import BY_NAME

    noun = NOUNS[word]
    kind = BY_NAME[noun.kind]
    found = [
        item for client, place in places for item in Finder(Connection(client, "", _TIMEOUT_S), {}).listed(kind, place)
    ]
    print_table(word, noun.columns, [[cell(item, name, object_shape(kind)) for name in noun.columns] for item in found])


def _show_traces(client: ControlClient, *packets: str) -> None:
    from edge.cli.trace import emphasized
    from edge.trace import new_edge, render, trace_packets

    loaded = loaded_document(client, _EDGE)
    for packet in packets:
        (result,) = trace_packets(new_edge(loaded.config), [packet])
        write_result(render(result, emphasized) + "\n")


def _show_change(acme: _Tenant) -> None:
    _title("The rule in-web is changed to reject; the first packet again")
    rule = {"name": f"{_EDGE}/firewallRules/in-web", "actionValue": "REJECT"}
    _call(acme.engineer, "FirewallService/UpdateFirewallRule", {"firewallRule": rule, "updateMask": "actionValue"})
    _show_traces(acme.engineer, _WEB)


def _show_refusals(tenants: dict[str, _Tenant], reader: ControlClient) -> None:
    from edge.api.client import CallError

    _title("Who may not")
    rule = {"name": f"{_EDGE}/firewallRules/in-web"}
    rows = []
    for who, client, what, method in (
        ("sam, who only looks", reader, "deletes a rule", "FirewallService/DeleteFirewallRule"),
        ("berta, who buys", tenants[_ACME].buyer, "looks at a rule", "FirewallService/GetFirewallRule"),
        ("maria of Globex", tenants[_GLOBEX].engineer, "looks at a rule of Acme's", "FirewallService/GetFirewallRule"),
    ):
        try:
            client.call(method, rule)
        except CallError as error:
            rows.append([who, what, error.code, error.problems[0].message])
    print_table("refused", ("who", "what", "reason", "message"), rows)


def _show_audit(tenants: dict[str, _Tenant]) -> None:
    from control import chain
    from control.api.client import audit_line

    _title("Everything is on record, and the record is whole")
    for account, tenant in tenants.items():
        request = {"parent": f"orgs/{account}", "orderBy": "number"}
        records = tenant.engineer.pages("AuditService/ListAuditRecords", request, "records")
        for org, head in chain.verify(map(audit_line, records), "").items():
            write_result(printable(f"  {org}: {plural(head.number, 'record')}, unchanged; head {head}"))


def _keep(folder: Path, people: People) -> None:
    from control.access.vault import write_private

    file = folder / "logins"
    write_private(file, "\n".join([*people.logins, ""]))
    _title(f"It is kept in {folder}; {file} has how to log in")
    write_result(f"  t1edge control serve --data {folder / 'data'}")
