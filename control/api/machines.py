"""What MachineService has besides the methods of every kind: power, snapshots, first passwords."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.message import Message

from control.api import convert, kinds
from control.api.context import ReadCall, WriteCall
from control.api.contract import ANSWERS
from control.api.method import Method
from control.errors import NotEmulatedError, PasswordTakenError, PowerStateError, SnapshotError, StaleObjectError
from control.kinds.machines import MACHINE, open_password, seal_password
from control.machines import book
from control.machines.book import Action, State
from control.machines.wishes import Power
from control.store import Record
from control.v1 import machine_pb2 as pb
from edge.errors import ArgumentError

MAX_ARGUMENTS: Final = 100
MAX_ARGUMENT: Final = 65_536
"""Bytes."""
MAX_PROGRAM: Final = 131_072
"""Bytes of all arguments: escaped, at six a byte, they fit one message to who runs them."""
MAX_WINDOW: Final = 1_000


def create_machine(request: pb.CreateMachineRequest, call: WriteCall) -> pb.CreateMachineResponse:
    """As of every kind, and on if that is wanted."""
    record = _created(request, call)
    answer = pb.CreateMachineResponse()
    kinds.fill(MACHINE, answer.machine, record, call)
    answer.task.CopyFrom(convert.task_message(call.unit.done("Create Machine", record.path)))
    return answer


def _created(request: pb.CreateMachineRequest, call: WriteCall) -> Record:
    record = kinds.created(MACHINE, request, call)
    if request.power_on:
        _order(record, call, Action.POWER_ON, Power.ON)
    return record


def _create_in_change_set(request: pb.CreateMachineRequest, call: WriteCall) -> tuple[str, str]:
    record = _created(request, call)
    return record.path, record.etag


def _known(request: Any, call: WriteCall) -> tuple[Record, State]:
    """Raises NoSuchObjectError, StaleObjectError."""
    record = call.unit.get(request.name)
    if request.etag and request.etag != record.etag:
        raise StaleObjectError(f"{record.path} has been changed meanwhile: its etag is {record.etag}")
    found = book.state(call.unit, record.path)
    assert found is not None, "every machine has a state"
    return record, found


def _order(record: Record, call: WriteCall, action: Action, wanted: Power | None) -> None:
    book.order(call.unit, record.uid, record.path, action)
    if wanted is not None:
        book.change(call.unit, record.path, wanted=wanted.value)


def _answer(method: str, words: str, record: Record, call: WriteCall) -> Message:
    answer = ANSWERS[f"MachineService/{method}"]()
    kinds.fill(MACHINE, answer.machine, record, call)
    answer.task.CopyFrom(convert.task_message(call.unit.done(words, record.path)))
    return answer  # type: ignore[no-any-return]


def _power(
    method: str, words: str, action: Action, allowed: Collection[Power], wanted: Power, request: Any, call: WriteCall
) -> Message:
    record, found = _known(request, call)
    if found.wanted not in allowed:
        shown = found.wanted.lower().replace("_", " ")
        raise PowerStateError(f"{record.path} is {shown}")
    _order(record, call, action, wanted)
    call.note(record.path)
    return _answer(method, words, record, call)


def create_snapshot(request: pb.CreateSnapshotRequest, call: WriteCall) -> Message:
    """Of files."""
    for field in ("memory", "quiesce"):
        if getattr(request, field):
            raise NotEmulatedError(f"{field}: snapshots are of files alone, as they are at that moment")
    record, _ = _known(request, call)
    _order(record, call, Action.SNAPSHOT, None)
    call.note(record.path)
    return _answer("CreateSnapshot", "Create Snapshot", record, call)


def revert_snapshot(request: pb.RevertSnapshotRequest, call: WriteCall) -> Message:
    """Off, and files as they were."""
    record = _with_snapshot(request, call)
    _order(record, call, Action.REVERT, Power.OFF)
    return _answer("RevertSnapshot", "Revert Snapshot", record, call)


def remove_snapshot(request: pb.RemoveSnapshotRequest, call: WriteCall) -> Message:
    """Kept no longer."""
    record = _with_snapshot(request, call)
    _order(record, call, Action.DROP_SNAPSHOT, None)
    return _answer("RemoveSnapshot", "Remove Snapshot", record, call)


def _with_snapshot(request: Any, call: WriteCall) -> Record:
    record, found = _known(request, call)
    if not book.will_have_snapshot(call.unit, found):
        raise SnapshotError(f"{record.path} has no snapshot")
    call.note(record.path)
    return record


def take_password(request: pb.TakePasswordRequest, call: WriteCall) -> pb.TakePasswordResponse:
    """Told once."""
    record, found = _known(request, call)
    if found.password is None:
        raise PasswordTakenError(f"the first password of {record.path} was told already; there can be another one")
    password = open_password(call, record.uid, found.password)
    book.change(call.unit, record.path, password=None)
    call.note(record.path)
    task = call.unit.done("Take First Password", record.path)
    return pb.TakePasswordResponse(password="" if call.trial else password, task=convert.task_message(task))


def regenerate_password(request: pb.RegeneratePasswordRequest, call: WriteCall) -> Message:
    """Another one, to be taken."""
    record, found = _known(request, call)
    if found.wanted != Power.OFF:
        raise PowerStateError(f"{record.path} gets another first password only when it is off")
    book.change(call.unit, record.path, password=seal_password(call, record.uid))
    call.note(record.path)
    return _answer("RegeneratePassword", "Regenerate First Password", record, call)


def check_exec(request: pb.ExecRequest, call: ReadCall) -> pb.ExecResponse:
    """Can it be run?  Runs nothing: :mod:`control.api.streams` does."""
    argv = request.argv
    if not (1 <= len(argv) <= MAX_ARGUMENTS and argv[0] and all(_is_argument(each) for each in argv)):
        text = f"expected a program and its arguments, up to {MAX_ARGUMENTS} of up to {MAX_ARGUMENT} bytes without NUL"
        raise ArgumentError("the program is wrong", [("argv", text)])
    if sum(len(each.encode()) for each in argv) > MAX_PROGRAM:
        raise ArgumentError("the program is wrong", [("argv", f"expected up to {MAX_PROGRAM} bytes in all")])
    _check_on(request.name, call)
    return pb.ExecResponse()


def _is_argument(text: str) -> bool:
    return "\0" not in text and len(text.encode()) <= MAX_ARGUMENT


def check_console(request: pb.ConsoleRequest, call: ReadCall) -> pb.ConsoleResponse:
    """Can it be opened?  Opens nothing."""
    window_size(request.open.window if request.open.HasField("window") else None, "open.window")
    _check_on(request.open.name, call)
    return pb.ConsoleResponse()


def window_size(given: pb.WindowSize | None, field: str) -> tuple[int, int]:
    """Rows and columns.  Raises ArgumentError."""
    if given is None:
        return 24, 80
    if not (1 <= given.rows <= MAX_WINDOW and 1 <= given.columns <= MAX_WINDOW):
        raise ArgumentError("the window is wrong", [(field, f"expected 1 to {MAX_WINDOW:,} rows and columns")])
    return given.rows, given.columns


def _check_on(name: str, call: ReadCall) -> None:
    record = call.state.get(name)
    if not book.is_on(book.state(call.state, record.path)):
        raise PowerStateError(f"{record.path} is not powered on")


_TARGET = ("name", MACHINE.form)
_POWER = (
    ("PowerOnMachine", "Power On", Action.POWER_ON, (Power.OFF, Power.SUSPENDED), Power.ON),
    ("PowerOffMachine", "Power Off", Action.POWER_OFF, (Power.ON, Power.SUSPENDED), Power.OFF),
    ("ResetMachine", "Reset", Action.RESET, (Power.ON,), Power.ON),
    ("SuspendMachine", "Suspend", Action.SUSPEND, (Power.ON,), Power.SUSPENDED),
)

HANDLERS = MappingProxyType(
    {
        "MachineService/CreateMachine": Method(create_machine, ("parent", MACHINE.parent), apply=_create_in_change_set),
        **{f"MachineService/{each[0]}": Method(partial(_power, *each), _TARGET) for each in _POWER},
        "MachineService/CreateSnapshot": Method(create_snapshot, _TARGET),
        "MachineService/RevertSnapshot": Method(revert_snapshot, _TARGET),
        "MachineService/RemoveSnapshot": Method(remove_snapshot, _TARGET),
        "MachineService/TakePassword": Method(take_password, _TARGET),
        "MachineService/RegeneratePassword": Method(regenerate_password, _TARGET),
        "MachineService/Exec": Method(check_exec, _TARGET),
        "MachineService/Console": Method(check_console, ("open.name", MACHINE.form)),
    }
)
