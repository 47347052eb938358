"""The table of roles.  What is not in it is not allowed."""

from __future__ import annotations

from enum import Enum, auto
from types import MappingProxyType

from control.objects import Role


class Permission(Enum):
    """What a method can ask for."""

    ORG_READ = auto()
    """See the organization."""
    ORG_WRITE = auto()
    """Change what is said of the organization."""
    ORGS_MANAGE = auto()
    """Make and delete organizations."""
    EVERY_ORG = auto()
    """Reach into other organizations than one's own: the provider's."""
    USERS_READ = auto()
    """See users and their roles."""
    USERS_WRITE = auto()
    """Add, change and delete users."""
    TOKENS_OWN = auto()
    """Have API tokens."""
    TOKENS_ALL = auto()
    """See and end the API tokens of others."""
    TASKS_READ = auto()
    """See what was ordered."""
    AUDIT_READ = auto()
    """See who did what."""
    CATALOG_READ = auto()
    """See what the provider offers: regions, templates, sizes."""
    PROVIDER_WRITE = auto()
    """Change what the provider offers, and see where it comes from."""
    VDCS_READ = auto()
    """See the data centers."""
    SUBSCRIPTIONS = auto()
    """Order, change and cancel data centers."""
    RESOURCES_READ = auto()
    """See what is in the data centers: networks, edges, machines."""
    SERVICES_ORDER = auto()
    """Order edges and public addresses, and give them back."""
    NETWORKS_WRITE = auto()
    """Change networks, data center groups, and what is on an edge."""
    MACHINES_WRITE = auto()
    """Change machines, and reach into them."""


_LOOK = frozenset({Permission.ORG_READ, Permission.TASKS_READ, Permission.CATALOG_READ, Permission.VDCS_READ})
_WORK = _LOOK | {
    Permission.TOKENS_OWN,
    Permission.RESOURCES_READ,
    Permission.NETWORKS_WRITE,
    Permission.MACHINES_WRITE,
}
_ORGANIZATION = _WORK | {
    Permission.ORG_WRITE,
    Permission.USERS_READ,
    Permission.USERS_WRITE,
    Permission.TOKENS_ALL,
    Permission.SERVICES_ORDER,
    Permission.AUDIT_READ,
}

ROLES = MappingProxyType(
    {
        Role.ADMINISTRATOR: _LOOK | {Permission.TOKENS_OWN, Permission.SUBSCRIPTIONS},
        Role.ORGANIZATION_ADMINISTRATOR: _ORGANIZATION,
        Role.TECHNICAL_ADMINISTRATOR: _WORK,
        Role.STAFF: _LOOK | {Permission.RESOURCES_READ},
        Role.SYSTEM_ADMINISTRATOR: frozenset(Permission),
    }
)
"""Role -> what it may."""
