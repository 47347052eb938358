"""SessionService."""

from __future__ import annotations

from control import names
from control.access.login import NewSession
from control.api import convert
from control.api.context import OpenCall, WriteCall
from control.v1 import session_pb2 as pb
from edge.errors import ArgumentError

_MAX_SECRET = 1_024


def login(request: pb.LoginRequest, call: OpenCall) -> pb.LoginResponse:
    """Begin a session, or the first one."""
    names.parse(request.org, "orgs/*", "org")
    names.parse(f"users/{request.username}", "users/*", "username")
    for field in ("password", "code", "new_password"):
        if len(getattr(request, field)) > _MAX_SECRET:
            raise ArgumentError(f"the {field} is too long", [(field, f"expected at most {_MAX_SECRET} characters")])
    found = call.logins.login(request.org, request.username, request.password, request.code, request.new_password)
    if isinstance(found, NewSession):
        return pb.LoginResponse(session=_session(found))
    expires = convert.timestamp(found.expires_ns)
    return pb.LoginResponse(enrolment=pb.SecondFactorEnrolment(uri=found.uri, token=found.token, expire_time=expires))


def confirm_second_factor(request: pb.ConfirmSecondFactorRequest, call: OpenCall) -> pb.ConfirmSecondFactorResponse:
    """End the first login."""
    return pb.ConfirmSecondFactorResponse(session=_session(call.logins.confirm(request.token, request.code)))


def logout(request: pb.LogoutRequest, call: WriteCall) -> pb.LogoutResponse:  # noqa: ARG001 - there is nothing in it
    """End the session that is shown; an API token is ended by its deletion."""
    if not call.caller.session:
        raise ArgumentError("an API token is no session: delete it to end it")
    call.unit.end_session(call.caller.session)
    call.note(call.caller.actor.path)
    return pb.LogoutResponse()


def _session(found: NewSession) -> pb.Session:
    return pb.Session(token=found.token, expire_time=convert.timestamp(found.expires_ns), user=found.user)
