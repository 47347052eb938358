"""The table of methods.  One that is not in it cannot be called."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType

from control.access.roles import Permission
from control.kinds import KINDS
from control.kinds.kind import WRITES


@dataclass(frozen=True, slots=True)
class Rule:
    """How a method may be called.  ``permission`` None: with any token.  ``writes``: in a unit of work.

    ``own``: the permission that suffices if the request is about the caller themselves.  ``session``: in a session
    only, as what hands out secrets; whoever has found an API token must not get from it what outlives it.
    """

    permission: Permission | None
    writes: bool = False
    own: Permission | None = None
    session: bool = False


METHODS = MappingProxyType(
    {
        "OrgService/CreateOrg": Rule(Permission.ORGS_MANAGE, writes=True),
        "OrgService/GetOrg": Rule(Permission.ORG_READ),
        "OrgService/ListOrgs": Rule(Permission.ORG_READ),
        "OrgService/UpdateOrg": Rule(Permission.ORG_WRITE, writes=True),
        "OrgService/DeleteOrg": Rule(Permission.ORGS_MANAGE, writes=True),
        "UserService/CreateUser": Rule(Permission.USERS_WRITE, writes=True, session=True),
        "UserService/GetUser": Rule(Permission.USERS_READ),
        "UserService/ListUsers": Rule(Permission.USERS_READ),
        "UserService/UpdateUser": Rule(Permission.USERS_WRITE, writes=True),
        "UserService/DeleteUser": Rule(Permission.USERS_WRITE, writes=True),
        "UserService/ResetUserCredentials": Rule(Permission.USERS_WRITE, writes=True, session=True),
        "ApiTokenService/CreateApiToken": Rule(
            Permission.TOKENS_ALL, writes=True, own=Permission.TOKENS_OWN, session=True
        ),
        "ApiTokenService/GetApiToken": Rule(Permission.TOKENS_ALL, own=Permission.TOKENS_OWN),
        "ApiTokenService/ListApiTokens": Rule(Permission.TOKENS_ALL, own=Permission.TOKENS_OWN),
        "ApiTokenService/DeleteApiToken": Rule(Permission.TOKENS_ALL, writes=True, own=Permission.TOKENS_OWN),
        "TaskService/GetTask": Rule(Permission.TASKS_READ),
        "TaskService/ListTasks": Rule(Permission.TASKS_READ),
        "AuditService/ListAuditRecords": Rule(Permission.AUDIT_READ),
        "EdgeHostService/GetEdgeHost": Rule(Permission.PROVIDER_WRITE),
        "EdgeHostService/SetEdgeHost": Rule(Permission.PROVIDER_WRITE, writes=True),
        "EdgeHostService/CreateEnrollmentToken": Rule(Permission.PROVIDER_WRITE, writes=True, session=True),
        "EdgeHostService/ListFormerHosts": Rule(Permission.PROVIDER_WRITE),
        "EdgeHostService/ForgetFormerHost": Rule(Permission.PROVIDER_WRITE, writes=True),
        "EventService/ListEvents": Rule(Permission.RESOURCES_READ),
        "EventService/WatchEvents": Rule(Permission.RESOURCES_READ),
        "FirewallService/MoveFirewallRule": Rule(Permission.NETWORKS_WRITE, writes=True),
        "FirewallService/ReplaceFirewallRules": Rule(Permission.NETWORKS_WRITE, writes=True),
        "ChangeSetService/ApplyChangeSet": Rule(Permission.NETWORKS_WRITE, writes=True),
        "OrderService/OrderVdc": Rule(Permission.SUBSCRIPTIONS, writes=True),
        "OrderService/AddEdgeGateway": Rule(Permission.SERVICES_ORDER, writes=True),
        "OrderService/AddPublicIpAddress": Rule(Permission.SERVICES_ORDER, writes=True),
        "OrderService/ReleasePublicIpAddress": Rule(Permission.SERVICES_ORDER, writes=True),
        "EdgeGatewayService/GetEdgeDocument": Rule(Permission.RESOURCES_READ),
        "EdgeGatewayService/ListIpAllocations": Rule(Permission.RESOURCES_READ),
        "GroupService/ListSecurityGroupMachines": Rule(Permission.RESOURCES_READ),
        "ProfileService/GetSystemProfile": Rule(Permission.CATALOG_READ),
        "ProfileService/ListSystemProfiles": Rule(Permission.CATALOG_READ),
        "SessionService/Logout": Rule(None, writes=True),
        **{
            kind.method(verb): Rule(kind.permission(verb), writes=verb in WRITES)
            for kind in KINDS
            for verb in kind.methods
        },
        **{
            f"MachineService/{name}": Rule(Permission.MACHINES_WRITE, writes=True)
            for name in (
                *("PowerOnMachine", "PowerOffMachine", "ResetMachine", "SuspendMachine"),
                *("CreateSnapshot", "RevertSnapshot", "RemoveSnapshot", "RegeneratePassword"),
            )
        },
        "MachineService/TakePassword": Rule(Permission.MACHINES_WRITE, writes=True, session=True),
        "MachineService/Exec": Rule(Permission.MACHINES_WRITE),
        "MachineService/Console": Rule(Permission.MACHINES_WRITE),
    }
)
"""Method -> its rule."""

OPEN = frozenset({"SessionService/Login", "SessionService/ConfirmSecondFactor", "EdgeHostService/Enroll"})
"""What needs no token."""
