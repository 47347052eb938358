"""``t1edge control login``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from edge.cli.common import json_option, message, write_json, write_result
from edge.cli.control import session
from edge.cli.control.common import DEFAULT_ADDRESS, ControlCommand, open_client, to_option
from edge.cli.remote import taken_tls
from edge.printable import printable

if TYPE_CHECKING:
    from control.api.client import ControlClient


@click.command("login", cls=ControlCommand, epilog="Example:  t1edge control login --org US1134362 --user maria")
@click.option("--org", required=True, metavar="ACCOUNT", help="The organization; the provider's is system.")
@click.option("--user", required=True, metavar="USERNAME", help="Who.")
@to_option
@json_option
def command(org: str, user: str, as_json: bool, **options: Any) -> None:
    """Begin a session, kept in ~/.config/t1edge/session.json; it asks for what it needs and shows none of it.

    The first login sets a password and enrols an authenticator, which gives the codes of later ones.
    """
    address = options.pop("to") or DEFAULT_ADDRESS
    tls = taken_tls(options)
    with open_client(options, address, "", tls) as client:
        begun = _begun(client, org, user)
    session.keep(session.KeptSession(address, begun["user"], begun["token"], session.paths_of(tls)))
    if as_json:
        write_json({"user": begun["user"], "expireTime": begun["expireTime"]})
    else:
        write_result(printable(f"{begun['user']}: logged in until {begun['expireTime']}"))


def _begun(client: ControlClient, org: str, user: str) -> dict[str, Any]:
    """The session, whatever it takes."""
    from edge.api.client import CallError

    request = {"org": org if org.startswith("orgs/") else f"orgs/{org}", "username": user}
    request["password"] = _ask("Password")
    request["code"] = _ask("Code of the authenticator (at the first login: none)", needed=False)
    try:
        answer = client.call("SessionService/Login", request)
    except CallError as error:
        if error.code != "NEW_PASSWORD_REQUIRED":
            raise
        request["newPassword"] = click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
        answer = client.call("SessionService/Login", request)
    if "session" in answer:
        return dict(answer["session"])
    enrolment = answer["enrolment"]
    message("Enter this into an authenticator, nobody can show it again:")
    message(enrolment["uri"])
    confirmed = {"token": enrolment["token"], "code": _ask("Its code")}
    return dict(client.call("SessionService/ConfirmSecondFactor", confirmed)["session"])


def _ask(text: str, *, needed: bool = True) -> str:
    default = None if needed else ""
    return str(click.prompt(text, hide_input=True, default=default, show_default=False, err=True))
