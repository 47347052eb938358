from collections.abc import Iterator
from typing import Any, TypeAlias

from native.engine import Engine

_RawEndpoints: TypeAlias = tuple[int, int, int, int, int]
_RawNext: TypeAlias = tuple[int, int, int]
_RawSession: TypeAlias = tuple[
    int,
    int,
    int | None,
    int,
    int,
    _RawEndpoints,
    _RawEndpoints,
    int,
    int,
    int | None,
    int | None,
    int | None,
    int,
    int,
    int,
    tuple[int, int],
    tuple[int, int],
    tuple[_RawNext | None, _RawNext | None],
]
_RawMatch: TypeAlias = tuple[int, int, int, int, int, int, int, int]
_RawEvent: TypeAlias = tuple[int, int, tuple[Any, ...]]
_RawPort: TypeAlias = tuple[int, int, int, int]

EVERY: _RawMatch
LOGGED: int
LIMIT: int
SESSIONS: int

def exhausted_unheld(engine: Engine) -> list[int]: ...
def has_room_again(engine: Engine, slot: int, family: int, number: int) -> None: ...
def copy_sessions(engine: Engine, first: int, slots: int, limit: int, match: _RawMatch) -> tuple[bytes, int | None]: ...
def delete_sessions(engine: Engine, first: int, slots: int, match: _RawMatch) -> tuple[int, int | None]: ...
def decode_sessions(records: bytes) -> Iterator[_RawSession]: ...
def watch_sessions(engine: Engine, on: bool) -> None: ...
def copy_events(engine: Engine, most: int) -> tuple[bytes, int, int, int]: ...
def decode_events(events: bytes) -> Iterator[_RawEvent]: ...
def decode_session_events(events: bytes, first: int, count: int) -> Iterator[tuple[bool, int, int, _RawSession]]: ...
def totals(
    engine: Engine,
) -> tuple[list[int], list[int], list[int], int, int, int, int, int, int, int, int, int]: ...
def usages(engine: Engine) -> bytes: ...
def port_blocks(engine: Engine) -> tuple[int, int]: ...
def mappings(engine: Engine) -> int: ...
def rule_counters(engine: Engine) -> bytes: ...
def port_counters(engine: Engine) -> list[_RawPort]: ...
def set_port_counters(engine: Engine, values: list[_RawPort]) -> None: ...
