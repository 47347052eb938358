"""From a token to who shows it."""

from __future__ import annotations

from dataclasses import dataclass

from control import names
from control.access import tokens
from control.access.roles import ROLES, Permission
from control.errors import UnauthenticatedError
from control.objects import Role
from control.store import Actor, Reader
from control.surroundings import SECOND_NS

CLOCK_TOLERANCE_NS = 300 * SECOND_NS
"""How far the clock may have been set back since a token was made; by more, the token is not taken any longer."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, with the role that they have at this moment.  ``session``: the hash of the session's token, '' for an
    API token."""

    actor: Actor
    org: str
    role: Role
    session: str

    def may(self, permission: Permission) -> bool:
        """Does the role allow it?"""
        return permission in ROLES[self.role]

    def shown(self, actor: str) -> str:
        """Who did something, as this caller may know it: who the provider's people are is its own business."""
        hidden = actor.startswith(f"{names.SYSTEM}/") and not self.may(Permission.EVERY_ORG)
        return names.SYSTEM if hidden else actor


def caller_of(reader: Reader, token: str) -> Caller:
    """Raises UnauthenticatedError, which does not say why."""
    unknown = UnauthenticatedError("no valid token was shown: log in")
    hashed = tokens.token_hash(token)
    if tokens.is_token(token, tokens.SESSION):
        session = reader.session(hashed)
        if session is None or session[0].kind != "session":
            raise unknown
        row, user = session
        created, expires, hashed_session = row.created_ns, row.expires_ns, hashed
    elif tokens.is_token(token, tokens.API):
        found = reader.by_token(hashed)
        if found is None:
            raise unknown
        api, user = found
        created, expires, hashed_session = api.created_ns, api.expires_ns, ""
    else:
        raise unknown
    if not created - CLOCK_TOLERANCE_NS <= reader.now_ns < expires:
        raise unknown
    return Caller(Actor(user.path, user.uid), user.org, Role(user.body["role"]), hashed_session)
