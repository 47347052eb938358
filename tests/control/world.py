"""A control plane in the test's own process, with a clock that the test moves."""

from __future__ import annotations

import contextlib
import random
import re
import time
from base64 import b32decode, b64decode
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from argon2 import PasswordHasher
from google.protobuf import json_format, message_factory
from google.rpc import code_pb2, error_details_pb2

from control.access.passwords import Passwords
from control.access.totp import code_at
from control.access.vault import Vault, secret_place
from control.api.client import ControlClient
from control.api.contract import SERVICES
from control.api.dispatch import Dispatcher
from control.checking import check_edges
from control.machines.keeper import Keeper
from control.machines.simulated import SimulatedDriver
from control.serving import FIRST_LOGIN, ControlSettings, opened
from control.store import Record, Store
from control.store.unit import PROVIDER
from control.surroundings import SECOND_NS, Surroundings

METHODS = {f"{service.name}/{method.name}": method for service in SERVICES for method in service.methods}
PASSWORD = "correct horse battery"
FAST = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class RefusedError(Exception):
    """A call that failed, as a client sees it."""

    def __init__(self, status: Any) -> None:
        self.raw = status.SerializeToString()
        self.code = code_pb2.Code.Name(status.code)
        self.text = status.message
        self.reason = ""
        self.fields: dict[str, str] = {}
        self.users: list[str] = []
        self.retry_s: float | None = None
        for detail in status.details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            failure, retry = error_details_pb2.PreconditionFailure(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                self.reason = info.reason
            elif detail.Unpack(bad):
                self.fields = {item.field: item.description for item in bad.field_violations}
            elif detail.Unpack(failure):
                self.users = [item.subject for item in failure.violations]
            elif detail.Unpack(retry):
                self.retry_s = retry.retry_delay.ToNanoseconds() / 1e9
        super().__init__(f"{self.code} {self.reason}: {self.text} {self.fields}")


class World:
    """The calls of clients, without the network between."""

    def __init__(self, data: Path, database: str = "", *, seed: int = 1) -> None:
        self.data = data
        self.database = database
        self.now_s = 1_800_000_000.0
        self.calls: list[tuple[str, str]] = []
        self.woken: list[str] = []
        self.ordered: list[str] = []
        self.attended = True
        self.surroundings = Surroundings(lambda: int(self.now_s * SECOND_NS), random.Random(seed).randbytes)
        self.seeds: dict[str, bytes] = {}
        self._stack = contextlib.ExitStack()
        self.open()

    def open(self) -> None:
        settings = ControlSettings(self.data, "unix:none", database=self.database)
        passwords = Passwords(self.surroundings.random, FAST)
        found = self._stack.enter_context(opened(settings, self.surroundings, passwords))
        self.store: Store = found.store
        self.vault, self.passwords = found.vault, found.passwords
        self.driver = SimulatedDriver()
        self.keeper = Keeper(self.store, self.driver)
        self.keeper.adopt()
        self.dispatcher = Dispatcher(
            found.store, found.vault, found.passwords, self, check=check_edges, fleet=self, keeper=Machines(self)
        )

    def close(self) -> None:
        self._stack.close()

    def called(self, method: str, code: str, seconds: float) -> None:
        assert seconds >= 0
        self.calls.append((method, code))

    def wake(self, edges: Collection[str]) -> None:
        """A fleet that has everything at once, unless a test wants to see what is before."""
        self.woken += edges
        if self.attended:
            self.realize(edges)

    def running(self, _: str) -> None:
        """They do not really run."""

    def realize(self, edges: Collection[str]) -> None:
        """Edges have what they should have."""
        with self.store.write(PROVIDER) as unit:
            for edge in edges:
                state = unit.edge_state(edge)
                assert state is not None
                unit.realized(edge, state.desired, f"etag-{state.desired}")

    def call(self, name: str, request: dict[str, Any] | None = None, token: str = "") -> dict[str, Any]:
        method = METHODS[name]
        message = json_format.ParseDict(request or {}, message_factory.GetMessageClass(method.input_type)())
        answer, status = self.dispatcher.call(name, message, f"Bearer {token}" if token else "")
        if status is not None:
            raise RefusedError(status)
        found = message_factory.GetMessageClass(method.output_type).FromString(answer)
        return json_format.MessageToDict(found, always_print_fields_with_no_presence=True)

    # ------------------------------------------------------------------ people

    def first_login(self, path: str, one_time: str, password: str = PASSWORD) -> str:
        """A first login from end to end; the session's token."""
        _, org, _, user = path.split("/")
        request = {"org": f"orgs/{org}", "username": user, "password": one_time, "newPassword": password}
        enrolment = self.call("SessionService/Login", request)["enrolment"]
        self.seeds[path] = seed_of(enrolment["uri"])
        confirmed = {"token": enrolment["token"], "code": self.code(path)}
        return str(self.call("SessionService/ConfirmSecondFactor", confirmed)["session"]["token"])

    def code(self, path: str) -> str:
        return code_at(self.seeds[path], int(self.now_s) // 30)

    def login(self, path: str, password: str = PASSWORD, code: str | None = None) -> dict[str, Any]:
        """A later login."""
        _, org, _, user = path.split("/")
        request = {"org": f"orgs/{org}", "username": user, "password": password}
        return self.call("SessionService/Login", {**request, "code": self.code(path) if code is None else code})

    def administrator(self) -> str:
        """The provider's first login."""
        one_time = (self.data / FIRST_LOGIN).read_text().strip()
        return self.first_login("orgs/system/users/administrator", one_time)

    def add_user(self, token: str, org: str, username: str, role: str) -> str:
        """A user who has logged in; the session's token."""
        return self.first_login(f"{org}/users/{username}", self.create_user(token, org, username, role))

    def create_user(self, token: str, org: str, username: str, role: str, **more: Any) -> str:
        """A user; the one-time password."""
        answer = self.call("UserService/CreateUser", {"parent": org, "user": user(username, role), **more}, token)
        return str(answer["oneTimePassword"])

    def tenant(self, token: str, account: str) -> tuple[str, str]:
        """An organization with an administrator of its own: its name and their token."""
        self.call("OrgService/CreateOrg", {"org": {"accountId": account, "displayName": account}}, token)
        org = f"orgs/{account}"
        return org, self.add_user(token, org, "maria", "ROLE_ORGANIZATION_ADMINISTRATOR")


class Machines:
    """Whoever runs machines: at once, unless a test wants to see what is before."""

    def __init__(self, world: World) -> None:
        self._world = world

    def wake(self, subjects: Collection[str], edges: Collection[str]) -> None:
        self._world.ordered += subjects
        if edges:
            self._world.keeper.connect()
        if self._world.attended:
            for subject in subjects:
                self._world.keeper.do_all(subject.removeprefix("machine:"))


def unsealed(vault: Vault, record: Record, name: str) -> str:
    """A secret of an object, '' if it has none."""
    sealed = record.sealed.get(name)
    return vault.open(b64decode(sealed), secret_place(record.path, name)).decode() if sealed else ""


def user(username: str, role: str = "ROLE_STAFF") -> dict[str, str]:
    """A user's fields."""
    return {"username": username, "email": "m@example.com", "firstName": "María", "lastName": "Gómez", "role": role}


def seed_of(uri: str) -> bytes:
    """The seed in an otpauth URI."""
    match = re.search(r"secret=([A-Z2-7]+)", uri)
    assert match is not None
    return b32decode(match[1] + "=" * (-len(match[1]) % 8))


def enrolled(client: ControlClient, org: str, username: str, one_time: str) -> dict[str, str]:
    """A first login over gRPC, up to the request that confirms it with a code of the authenticator."""
    who = {"org": org, "username": username, "password": one_time, "newPassword": PASSWORD}
    enrolment = client.call("SessionService/Login", who)["enrolment"]
    return {"token": enrolment["token"], "code": code_at(seed_of(enrolment["uri"]), int(time.time()) // 30)}


@contextlib.contextmanager
def world_at(data: Path, database: str = "") -> Iterator[World]:
    """A world until the end of the block."""
    found = World(data, database)
    try:
        yield found
    finally:
        found.close()
