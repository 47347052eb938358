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


_LOOK = frozenset({Permission.ORG_READ, Permission.TASKS_READ})
_ORGANIZATION = _LOOK | {
    Permission.ORG_WRITE,
    Permission.USERS_READ,
    Permission.USERS_WRITE,
    Permission.TOKENS_OWN,
    Permission.TOKENS_ALL,
    Permission.AUDIT_READ,
}

ROLES = MappingProxyType(
    {
        Role.ADMINISTRATOR: _LOOK | {Permission.TOKENS_OWN},
        Role.ORGANIZATION_ADMINISTRATOR: _ORGANIZATION,
        Role.TECHNICAL_ADMINISTRATOR: _LOOK | {Permission.TOKENS_OWN},
        Role.STAFF: _LOOK,
        Role.SYSTEM_ADMINISTRATOR: _ORGANIZATION | {Permission.ORGS_MANAGE, Permission.EVERY_ORG},
    }
)
"""Role -> what it may."""
