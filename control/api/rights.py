"""Whether a caller may: the role, the session, and whose the object is."""

from __future__ import annotations

from typing import Any

from control import names
from control.access.callers import Caller
from control.access.methods import Rule
from control.access.roles import Permission
from control.api.method import Method
from control.errors import ControlError, NoSuchObjectError, PermissionDeniedError


def target_of(method: Method, request: Any) -> str:
    """What a request is about, '' if that is no object that is there.  Raises ArgumentError for what is no name."""
    if method.target is None:
        return ""
    field, form = method.target
    found = request
    for part in field.split("."):
        found = getattr(found, part)
    return names.parse(found, form, field)


def refusal_of(rule: Rule, method: Method, request: Any, caller: Caller) -> ControlError | None:
    """Why the caller may not, None if they may.  What lies in another organization is not there."""
    if not _allowed(rule, method, request, caller):
        return PermissionDeniedError("the role does not allow it")
    if rule.session and not caller.session:
        return PermissionDeniedError("it takes a session: an API token does not suffice")
    target = target_of(method, request)
    own = not target or names.is_shared(target) or names.organization(target) == caller.org
    if not own and not caller.may(Permission.EVERY_ORG):
        return NoSuchObjectError(target)
    return None


def _allowed(rule: Rule, method: Method, request: Any, caller: Caller) -> bool:
    """May the role?  Does not look at whether the object is there."""
    if rule.permission is None or caller.may(rule.permission):
        return True
    if rule.own is None or not caller.may(rule.own):
        return False
    return f"{target_of(method, request)}/".startswith(f"{caller.actor.path}/")
