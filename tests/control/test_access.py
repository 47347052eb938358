"""Every method for every role, in one's own organization and in another: what the table does not say is denied."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from control.access.methods import METHODS, OPEN, Rule
from control.access.roles import ROLES, Permission
from control.api import dispatch
from control.api import later as later_module
from control.api.dispatch import Dispatcher
from control.api.later import Later
from control.api.refusals import Refusals
from control.kinds import KINDS
from control.objects import Role
from control.store.records import EdgeHost
from control.store.unit import PROVIDER
from tests.control.samples import SAMPLES, plant_all, vdc_of
from tests.control.world import METHODS as CONTRACT
from tests.control.world import RefusedError, World, user, world_at

TENANT_ROLES = [role for role in Role if role is not Role.SYSTEM_ADMINISTRATOR]
OWN, OTHER = "orgs/US1", "orgs/US2"

MACHINES = {
    *("PowerOnMachine", "PowerOffMachine", "ResetMachine", "SuspendMachine", "TakePassword", "RegeneratePassword"),
    *("CreateSnapshot", "RevertSnapshot", "RemoveSnapshot", "Exec", "Console"),
}
NOT_ON = {"INVALID_POWER_STATE", "INVALID_SNAPSHOT"}
"""What callers hear who may, of a machine that is off and has no snapshot."""

SYSTEM_PROFILES = {"GetSystemProfile", "ListSystemProfiles"}
"""They are nobody's."""

# May the role call the method in its own organization?  Written out: the code's table is not asked.
YES = {
    Role.ADMINISTRATOR: {"GetOrg", "ListOrgs", "GetTask", "ListTasks", "OrderVdc", *SYSTEM_PROFILES},
    Role.TECHNICAL_ADMINISTRATOR: {
        *("GetOrg", "ListOrgs", "GetTask", "ListTasks", "ListIpAllocations"),
        *("MoveFirewallRule", "ReplaceFirewallRules", "ApplyChangeSet", "GetEdgeDocument"),
        *MACHINES,
        *("ListEvents", "WatchEvents", "ListSecurityGroupMachines", *SYSTEM_PROFILES),
    },
    Role.STAFF: {"GetOrg", "ListOrgs", "GetTask", "ListTasks", "ListIpAllocations", "GetEdgeDocument"}
    | {"ListEvents", "WatchEvents", "ListSecurityGroupMachines", *SYSTEM_PROFILES},
    Role.ORGANIZATION_ADMINISTRATOR: {
        *("GetOrg", "ListOrgs", "UpdateOrg", "GetTask", "ListTasks", "ListAuditRecords"),
        *("CreateUser", "GetUser", "ListUsers", "UpdateUser", "DeleteUser", "ResetUserCredentials"),
        *("GetApiToken", "ListApiTokens", "DeleteApiToken", "ListEvents", "WatchEvents"),
        *MACHINES,
        *("AddEdgeGateway", "AddPublicIpAddress", "ReleasePublicIpAddress", "ListIpAllocations"),
        *("MoveFirewallRule", "ReplaceFirewallRules", "ApplyChangeSet", "GetEdgeDocument"),
        *("ListSecurityGroupMachines", *SYSTEM_PROFILES),
    },
}
YES[Role.SYSTEM_ADMINISTRATOR] = (
    YES[Role.ORGANIZATION_ADMINISTRATOR]
    | {"CreateOrg", "DeleteOrg", "OrderVdc"}
    | {
        *("GetEdgeHost", "SetEdgeHost", "CreateEnrollmentToken", "ListFormerHosts", "ForgetFormerHost"),
    }
)
OWN_TOKENS = {Role.ADMINISTRATOR, Role.TECHNICAL_ADMINISTRATOR, Role.ORGANIZATION_ADMINISTRATOR}


IP_SET = "type.googleapis.com/control.v1.CreateIpSetRequest"


def requests(org: str, task: str, token: str) -> dict[str, dict[str, Any]]:
    """A request for each method that names an object of ``org``; the user is victor, who is there."""
    name, only = f"{org}/users/victor", {"validateOnly": True}
    return {
        "OrgService/CreateOrg": {"org": {"accountId": "US77", "displayName": "x"}, **only},
        "OrgService/GetOrg": {"name": org},
        "OrgService/ListOrgs": {},
        "OrgService/UpdateOrg": {"org": {"name": org, "displayName": "x"}, **only},
        "OrgService/DeleteOrg": {"name": org, **only},
        "UserService/CreateUser": {"parent": org, "user": user("newone"), **only},
        "UserService/GetUser": {"name": name},
        "UserService/ListUsers": {"parent": org},
        "UserService/UpdateUser": {"user": {"name": name, "email": "b@c.example"}, "updateMask": "email", **only},
        "UserService/DeleteUser": {"name": name, **only},
        "UserService/ResetUserCredentials": {"name": name, **only},
        "ApiTokenService/CreateApiToken": {"parent": name, "apiToken": {"displayName": "x"}, **only},
        "ApiTokenService/GetApiToken": {"name": token},
        "ApiTokenService/ListApiTokens": {"parent": name},
        "ApiTokenService/DeleteApiToken": {"name": token, **only},
        "TaskService/GetTask": {"name": task},
        "TaskService/ListTasks": {"parent": org},
        "AuditService/ListAuditRecords": {"parent": org},
        "EdgeHostService/GetEdgeHost": {"edge": f"{org}/edges/one"},
        "EdgeHostService/SetEdgeHost": {"edge_host": {"edge": f"{org}/edges/one", "address": "unix:x"}, **only},
        "EdgeHostService/CreateEnrollmentToken": {"edge": f"{org}/edges/one", "address": "192.0.2.1:7440", **only},
        "EdgeHostService/ListFormerHosts": {},
        "EdgeHostService/ForgetFormerHost": {"edge": f"{org}/edges/one", "address": "192.0.2.9:7440", **only},
        "EventService/ListEvents": {"parent": org},
        "EventService/WatchEvents": {"parent": org},
        "OrderService/OrderVdc": {
            "parent": org,
            "vdc": {"region": "regions/one", "plan": "VDC_PLAN_ON_DEMAND"},
            **only,
        },
        "OrderService/AddEdgeGateway": {
            "parent": org,
            "vdc": vdc_of(org),
            "gatewayCidr": "10.77.0.1/24",
            "lanName": "x",
            **only,
        },
        "OrderService/AddPublicIpAddress": {"edge": f"{org}/edges/one", "quantity": 1, **only},
        "OrderService/ReleasePublicIpAddress": {
            "edge": f"{org}/edges/one",
            "address": f"198.51.100.2{org[-1]}",
            **only,
        },
        "EdgeGatewayService/ListIpAllocations": {"parent": f"{org}/edges/one"},
        "EdgeGatewayService/GetEdgeDocument": {"name": f"{org}/edges/one"},
        "GroupService/ListSecurityGroupMachines": {"parent": f"{org}/edges/one/securityGroups/one"},
        "ProfileService/GetSystemProfile": {"name": "systemProfiles/HTTPS"},
        "ProfileService/ListSystemProfiles": {},
        "FirewallService/MoveFirewallRule": {
            "name": f"{org}/edges/one/firewallRules/one",
            "position": {"first": True},
            **only,
        },
        "FirewallService/ReplaceFirewallRules": {"parent": f"{org}/edges/one", **only},
        "ChangeSetService/ApplyChangeSet": {
            "parent": org,
            "requests": [{"@type": IP_SET, "parent": f"{org}/edges/one", "ipSet": {"displayName": "x"}}],
            **only,
        },
        **{
            f"MachineService/{name}": {"name": f"{vdc_of(org)}/machines/one", **only}
            for name in MACHINES - {"Exec", "Console"}
        },
        "MachineService/Exec": {"name": f"{vdc_of(org)}/machines/one", "argv": ["true"]},
        "MachineService/Console": {"open": {"name": f"{vdc_of(org)}/machines/one"}},
        **{name: request for sample in SAMPLES for name, request in sample.requests(org).items()},
    }


OF_KIND = {sample.of.method(verb): (sample, verb) for sample in SAMPLES for verb in sample.of.methods}
SHARED = {name for name, (sample, _) in OF_KIND.items() if not sample.of.form.startswith("orgs/")}


def may(role: Role, name: str) -> bool:
    """In one's own organization."""
    if name in OF_KIND:
        sample, verb = OF_KIND[name]
        return role in sample.allowed(verb)
    return name.partition("/")[2] in YES[role]


class Cloud:
    """Two tenants with a user of each role, victor with an API token in both, and the tokens of their sessions."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.admin = world.administrator()
        self.tokens: dict[Role, str] = {Role.SYSTEM_ADMINISTRATOR: self.admin}
        self.requests = {}
        for org in (OWN, OTHER):
            self.build(org)
        gone = {"task": f"{OTHER}/tasks/0", "token": f"{OTHER}/users/nobody/apiTokens/0"}
        self.absent = {name: {**request, **_renamed(request)} for name, request in requests(OTHER, **gone).items()}

    def build(self, org: str) -> None:
        account = org.removeprefix("orgs/")
        self.world.call("OrgService/CreateOrg", {"org": {"accountId": account, "displayName": account}}, self.admin)
        for role in TENANT_ROLES:
            token = self.world.add_user(self.admin, org, role.name.lower(), role.value)
            if org == OWN:
                self.tokens[role] = token
        victor = self.world.add_user(self.admin, org, "victor", "ROLE_TECHNICAL_ADMINISTRATOR")
        request = {"parent": f"{org}/users/victor", "apiToken": {"displayName": "ci"}}
        token = self.world.call("ApiTokenService/CreateApiToken", request, victor)["apiToken"]["name"]
        task = self.world.call("TaskService/ListTasks", {"parent": org}, self.admin)["tasks"][0]["name"]
        plant_all(self.world, org)
        with self.world.store.write(PROVIDER) as unit:
            unit.set_edge_host(EdgeHost(f"{org}/edges/one", "192.0.2.9:7440"))
            unit.remove_edge_host(f"{org}/edges/one")
        self.requests[org] = requests(org, task, token)


def _renamed(request: dict[str, Any]) -> dict[str, Any]:
    """The same request for objects that are not there."""
    found: dict[str, Any] = {}
    for key, value in request.items():
        if isinstance(value, dict):
            found[key] = {**value, **_renamed(value)}
        elif isinstance(value, str):
            found[key] = value.replace("/victor", "/nobody").replace(OTHER, "orgs/US3")
    return found


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with world_at(Path(tmp_path_factory.mktemp("cloud"))) as world:
        yield Cloud(world)


def outcome(world: World, name: str, request: dict[str, Any], token: str) -> str:
    """OK or the reason of the refusal."""
    try:
        world.call(name, request, token)
    except RefusedError as refused:
        return refused.reason
    return "OK"


@pytest.mark.parametrize("name", [name for name in METHODS if name != "SessionService/Logout"])
@pytest.mark.parametrize("role", list(Role))
def test_every_cell_of_the_table(cloud: Cloud, role: Role, name: str) -> None:
    method = name.partition("/")[2]
    system = role is Role.SYSTEM_ADMINISTRATOR
    allowed = may(role, name)
    own = outcome(cloud.world, name, cloud.requests[OWN][name], cloud.tokens[role])
    other = outcome(cloud.world, name, cloud.requests[OTHER][name], cloud.tokens[role])
    expected = "OK" if allowed else "PERMISSION_DENIED"
    if method == "DeleteOrg" and allowed:
        expected = "OBJECT_IN_USE"
    if name in OF_KIND and method.startswith("Delete") and allowed:
        assert own in {"OK", "OBJECT_IN_USE"}
        expected = own
    if method in MACHINES and allowed and own in NOT_ON:
        expected = own
    assert own == expected
    scoped = method not in {"ListOrgs", "CreateOrg", *SYSTEM_PROFILES} and name not in SHARED
    # Who may end the tokens of others gets as far as the question whose organization it is.
    reaches = allowed or (method == "CreateApiToken" and role is Role.ORGANIZATION_ADMINISTRATOR)
    assert other == ("OBJECT_UNKNOWN" if reaches and scoped and not system else expected)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in {"SessionService/Logout", *SHARED}])
@pytest.mark.parametrize("role", TENANT_ROLES)
def test_what_others_have_looks_like_what_nobody_has(cloud: Cloud, role: Role, name: str) -> None:
    seen = set()
    for request in (cloud.requests[OTHER][name], cloud.absent[name]):
        try:
            cloud.world.call(name, request, cloud.tokens[role])
            seen.add("OK")
        except RefusedError as refused:
            given: Any = request
            for part in (dispatch.HANDLERS[name].target or ("",))[0].split("."):
                given = given.get(part, "")
            told = refused.text.replace(str(given), "NAME")
            seen.add(f"{refused.code} {refused.reason} {told} {refused.fields} {refused.users}")
    assert len(seen) == 1


@pytest.mark.parametrize("role", TENANT_ROLES)
def test_tokens_of_ones_own(cloud: Cloud, role: Role) -> None:
    parent = f"{OWN}/users/{role.name.lower()}"
    request = {"parent": parent, "apiToken": {"displayName": "x"}, "validateOnly": True}
    expected = "OK" if role in OWN_TOKENS else "PERMISSION_DENIED"
    assert outcome(cloud.world, "ApiTokenService/CreateApiToken", request, cloud.tokens[role]) == expected
    assert outcome(cloud.world, "ApiTokenService/ListApiTokens", {"parent": parent}, cloud.tokens[role]) == expected


def test_a_name_that_begins_like_ones_own_is_not(cloud: Cloud) -> None:
    name = f"{OWN}/users/{Role.TECHNICAL_ADMINISTRATOR.name.lower()}x"
    token = cloud.tokens[Role.TECHNICAL_ADMINISTRATOR]
    assert outcome(cloud.world, "ApiTokenService/ListApiTokens", {"parent": name}, token) == "PERMISSION_DENIED"


@pytest.mark.parametrize("name", list(METHODS))
def test_without_a_token_nothing_can_be_called(cloud: Cloud, name: str) -> None:
    request = cloud.requests[OWN].get(name, {})
    assert outcome(cloud.world, name, request, "") == "UNAUTHENTICATED"


def test_every_kind_has_a_sample() -> None:
    assert [sample.kind for sample in SAMPLES] == [kind.name for kind in KINDS]


def test_every_method_of_the_contract_is_in_the_tables() -> None:
    assert set(CONTRACT) == set(METHODS) | OPEN == set(dispatch.HANDLERS)
    assert not set(METHODS) & OPEN
    assert set(ROLES) == set(Role)


def test_a_method_outside_of_the_table_is_denied(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    rest = {name: rule for name, rule in METHODS.items() if name != "OrgService/ListOrgs"}
    monkeypatch.setattr(dispatch, "METHODS", rest)
    assert outcome(cloud.world, "OrgService/ListOrgs", {}, cloud.admin) == "PERMISSION_DENIED"


def test_writing_methods_have_what_writing_needs() -> None:
    for name, rule in METHODS.items():
        fields = CONTRACT[name].input_type.fields_by_name
        assert isinstance(rule, Rule)
        assert ({"validate_only", "request_id"} <= set(fields)) == (rule.writes and name != "SessionService/Logout")
        assert rule.own in {None, Permission.TOKENS_OWN}


def test_tenants_see_their_own_organization_only(cloud: Cloud) -> None:
    for role in TENANT_ROLES:
        found = cloud.world.call("OrgService/ListOrgs", {}, cloud.tokens[role])["orgs"]
        assert [org["name"] for org in found] == [OWN]
    every = cloud.world.call("OrgService/ListOrgs", {}, cloud.admin)["orgs"]
    assert [org["name"] for org in every] == [OWN, OTHER, "orgs/system"]


def test_what_hands_out_secrets_takes_a_session(world: World, admin: str) -> None:
    org, maria = world.tenant(admin, "US1")
    own = {"parent": f"{org}/users/maria", "apiToken": {"displayName": "ci"}, "requestId": "t"}
    secret = world.call("ApiTokenService/CreateApiToken", own, maria)["secret"]
    calls: dict[str, dict[str, Any]] = {
        "ApiTokenService/CreateApiToken": own,  # the answer to the same request holds the secret
        "UserService/CreateUser": {"parent": org, "user": user("eva"), "requestId": "u"},
        "UserService/ResetUserCredentials": {"name": f"{org}/users/maria", "requestId": "v"},
    }
    others = {  # see test_enrolment, test_machines
        "EdgeHostService/CreateEnrollmentToken", "MachineService/TakePassword",
    }  # fmt: skip
    assert {name for name, rule in METHODS.items() if rule.session} == set(calls) | others
    world.call("UserService/CreateUser", calls["UserService/CreateUser"], maria)
    for name, request in calls.items():
        assert outcome(world, name, request, secret) == "PERMISSION_DENIED"
        assert outcome(world, name, request, maria) == "OK"


def test_a_loop_of_refusals_is_a_record_a_minute(world: World, admin: str) -> None:
    org, _ = world.tenant(admin, "US1")
    staff = world.add_user(admin, org, "eva", "ROLE_STAFF")

    def told() -> list[str]:
        request = {"parent": org, "filter": f'actor = "{org}/users/eva"', "pageSize": 1_000}
        found = world.call("AuditService/ListAuditRecords", request, admin)["records"]
        return [record["outcome"] for record in found if record["outcome"] != "OK"]

    for _ in range(20):
        assert outcome(world, "UserService/ListUsers", {"parent": org}, staff) == "PERMISSION_DENIED"
    assert told() == ["PERMISSION_DENIED"]
    assert outcome(world, "OrgService/GetOrg", {"name": "orgs/US2"}, staff) == "OBJECT_UNKNOWN"
    assert told() == ["PERMISSION_DENIED", "OBJECT_UNKNOWN"]
    world.now_s += 60
    outcome(world, "UserService/ListUsers", {"parent": org}, staff)
    assert len(told()) == 3
    world.now_s -= 120  # a clock that is set back does not silence the trail
    outcome(world, "UserService/ListUsers", {"parent": org}, staff)
    assert len(told()) == 4


def test_who_is_refused_does_not_wait_to_write(world: World, admin: str) -> None:
    org, _ = world.tenant(admin, "US1")
    staff = world.add_user(admin, org, "eva", "ROLE_STAFF")
    later = Later()
    world.dispatcher = Dispatcher(world.store, world.vault, world.passwords, world, later=later)
    answers: list[str] = []

    def ask() -> None:
        answers.append(outcome(world, "UserService/ListUsers", {"parent": org}, staff))

    with world.store.write(PROVIDER):
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(10)
        assert answers == ["PERMISSION_DENIED"]
    later.close()
    query = {"parent": org, "filter": 'outcome = "PERMISSION_DENIED"'}
    [record] = world.call("AuditService/ListAuditRecords", query, admin)["records"]
    assert record["actor"] == f"{org}/users/eva"
    # What has no room is told the next time.
    world.now_s += 60
    world.dispatcher = Dispatcher(world.store, world.vault, world.passwords, world, later=lambda _: False)
    ask()
    world.dispatcher = Dispatcher(world.store, world.vault, world.passwords, world)
    ask()
    assert len(world.call("AuditService/ListAuditRecords", query, admin)["records"]) == 2


def test_what_is_left_behind_is_done_in_order_and_bounded(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(later_module, "MOST", 3)
    later, begun, go = Later(), threading.Event(), threading.Event()
    done: list[int] = []

    def first() -> None:
        begun.set()
        assert go.wait(30)
        raise ValueError("a bug")

    assert later(first)
    assert begun.wait(30)
    assert [later(partial(done.append, number)) for number in range(5)] == [True, True, True, False, False]
    go.set()
    later.close()
    assert done == [0, 1, 2]
    assert "a bug" in caplog.text


def test_refusals_are_kept_of_so_many_users() -> None:
    refusals = Refusals()
    assert all(refusals.begin(str(number), "x", 0) for number in range(10_001))
    assert refusals.begin("0", "x", 0)  # forgotten
    assert not refusals.begin("10000", "x", 0)
    refusals.forget("10000", "x")
    assert refusals.begin("10000", "x", 0)


def test_denied_calls_are_in_the_trail(cloud: Cloud) -> None:
    cloud.world.now_s += 60
    outcome(cloud.world, "OrgService/CreateOrg", cloud.requests[OWN]["OrgService/CreateOrg"], cloud.tokens[Role.STAFF])
    request = {"parent": OWN, "filter": 'outcome = "PERMISSION_DENIED"', "orderBy": "number desc", "pageSize": 1}
    (record,) = cloud.world.call("AuditService/ListAuditRecords", request, cloud.admin)["records"]
    assert (record["actor"], record["method"]) == (f"{OWN}/users/staff", "OrgService/CreateOrg")


# Permission -> how the row of the documentation's table begins that tells of it.
TOLD = {
    Permission.ORG_READ: "see the organization and its tasks",
    Permission.ORG_WRITE: "change what is said of the organization",
    Permission.ORGS_MANAGE: "make and delete organizations",
    Permission.USERS_READ: "see, add, change, delete users",
    Permission.USERS_WRITE: "see, add, change, delete users",
    Permission.TOKENS_OWN: "API tokens of one's own",
    Permission.TOKENS_ALL: "see and end those of others",
    Permission.TASKS_READ: "see the organization and its tasks",
    Permission.AUDIT_READ: "audit trail",
    Permission.CATALOG_READ: "see templates and sizes",
    Permission.PROVIDER_WRITE: "change templates and sizes",
    Permission.VDCS_READ: "see regions",
    Permission.SUBSCRIPTIONS: "order, change and cancel data centers",
    Permission.RESOURCES_READ: "see machines, events",
    Permission.SERVICES_ORDER: "order edges and public addresses",
    Permission.NETWORKS_WRITE: "change networks",
    Permission.MACHINES_WRITE: "change machines",
}
COLUMNS = [Role.SYSTEM_ADMINISTRATOR, Role.ORGANIZATION_ADMINISTRATOR, Role.ADMINISTRATOR, Role.TECHNICAL_ADMINISTRATOR,
           Role.STAFF]  # fmt: skip


def test_the_documentation_tells_of_every_permission() -> None:
    assert set(Permission) - {Permission.EVERY_ORG} == set(TOLD)


@pytest.mark.parametrize("permission", TOLD, ids=str)
def test_the_documentation_says_who_may_do_what(permission: Permission) -> None:
    page = (Path(__file__).parents[2] / "docs" / "control.md").read_text()
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith(f"| {TOLD[permission]}")]
    assert rows, "no row tells of it"
    told = {role for role, cell in zip(COLUMNS, rows[0][1:], strict=True) if cell.strip()}
    assert told == {role for role in Role if permission in ROLES[role]}
