"""What the store has of machines beside the objects: power, addresses, jobs."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from control.machines.wishes import Nic, Power, Wish
from control.objects.machine import primary_of
from control.store import Reader, Record, WriteUnit
from control.store.schema import MACHINE_JOBS, MACHINE_NICS, MACHINE_STATES, OBJECTS


class Action(StrEnum):
    """What a job does."""

    DEFINE = "DEFINE"
    POWER_ON = "POWER_ON"
    POWER_OFF = "POWER_OFF"
    RESET = "RESET"
    SUSPEND = "SUSPEND"
    SNAPSHOT = "SNAPSHOT"
    REVERT = "REVERT"
    DROP_SNAPSHOT = "DROP_SNAPSHOT"
    DELETE = "DELETE"


@dataclass(frozen=True, slots=True)
class State:
    """A machine besides what its owner says: ``wanted`` is the power that it has when all its jobs are done."""

    path: str
    uid: str
    vdc: str
    wanted: str
    power: str
    vcpu: int
    memory_gb: int
    storage_gb: int
    snapshot_ns: int | None = None
    password: bytes | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """What a network card has got."""

    path: str
    number: int
    network: str
    mac: str
    address: str | None


@dataclass(frozen=True, slots=True)
class Job:
    """Something that is to be done; ``number``: in this order."""

    number: int
    uid: str
    path: str
    action: str


def _columns(table: sa.Table, kind: type[State | Card | Job]) -> list[sa.Column[Any]]:
    return [table.c[field.name] for field in fields(kind)]


# Made once: making a query costs more than running it.
_STATE = sa.select(*_columns(MACHINE_STATES, State)).where(MACHINE_STATES.c.path == sa.bindparam("path"))
_CARDS = (
    sa.select(*_columns(MACHINE_NICS, Card))
    .where(MACHINE_NICS.c.path == sa.bindparam("path"))
    .order_by(MACHINE_NICS.c.number)
)
_JOBS = sa.select(*_columns(MACHINE_JOBS, Job))


def subject(uid: str) -> str:
    """What tasks wait for by that name."""
    return f"machine:{uid}"


# ------------------------------------------------------------------ asked


def state(reader: Reader, path: str) -> State | None:
    """Of a machine."""
    row = reader.db.execute(_STATE, {"path": path}).first()
    return State(*row) if row else None


def states_of(reader: Reader, paths: Collection[str]) -> dict[str, State]:
    """Of some machines, by name."""
    asked = sa.select(*_columns(MACHINE_STATES, State)).where(MACHINE_STATES.c.path.in_(paths))
    return {row.path: State(*row) for row in reader.db.execute(asked)}


def states(reader: Reader) -> dict[str, State]:
    """Of every machine, by uid."""
    found = (State(*row) for row in reader.db.execute(sa.select(*_columns(MACHINE_STATES, State))))
    return {each.uid: each for each in found}


def cards(reader: Reader, path: str) -> list[Card]:
    """Of a machine, in order."""
    return [Card(*row) for row in reader.db.execute(_CARDS, {"path": path})]


def cards_of(reader: Reader, paths: Collection[str]) -> dict[str, list[Card]]:
    """Of some machines, by name, each in order."""
    found: dict[str, list[Card]] = {path: [] for path in paths}
    asked = sa.select(*_columns(MACHINE_NICS, Card)).where(MACHINE_NICS.c.path.in_(paths))
    for row in reader.db.execute(asked.order_by(MACHINE_NICS.c.number)):
        found[row.path].append(Card(*row))
    return found


def addresses(reader: Reader, vdcs: Iterable[str]) -> dict[str, dict[int, str]]:
    """The addresses of every machine that has one in some data centers, by its name and the number of the card."""
    found: dict[str, dict[int, str]] = {}
    asked = (
        sa.select(MACHINE_NICS.c.path, MACHINE_NICS.c.number, MACHINE_NICS.c.address)
        .join(MACHINE_STATES, MACHINE_STATES.c.path == MACHINE_NICS.c.path)
        .where(MACHINE_STATES.c.vdc.in_(tuple(vdcs)), MACHINE_NICS.c.address.is_not(None))
    )
    for path, number, address in reader.db.execute(asked.order_by(MACHINE_NICS.c.path, MACHINE_NICS.c.number)):
        found.setdefault(path, {})[number] = address
    return found


def used_addresses(reader: Reader, network: str, but: str = "") -> dict[str, str]:
    """Who has which address on a network, the machine ``but`` aside."""
    asked = sa.select(MACHINE_NICS.c.address, MACHINE_NICS.c.path).where(
        MACHINE_NICS.c.network == network, MACHINE_NICS.c.address.is_not(None), MACHINE_NICS.c.path != but
    )
    return {row[0]: row[1] for row in reader.db.execute(asked)}


def on_networks(reader: Reader, networks: Collection[str]) -> dict[str, dict[int, str | None]]:
    """The machines with cards on some networks: by name, the numbers of these cards and their addresses."""
    found: dict[str, dict[int, str | None]] = {}
    asked = sa.select(MACHINE_NICS.c.path, MACHINE_NICS.c.number, MACHINE_NICS.c.address)
    chosen = asked.where(MACHINE_NICS.c.network.in_(networks)).order_by(MACHINE_NICS.c.path, MACHINE_NICS.c.number)
    for path, number, address in reader.db.execute(chosen):
        found.setdefault(path, {})[number] = address
    return found


def one_on_networks(reader: Reader, networks: Collection[str], vdcs: Collection[str]) -> tuple[str, str] | None:
    """A machine of these data centers with a card on one of these networks, and the network."""
    asked = (
        sa.select(MACHINE_NICS.c.path, MACHINE_NICS.c.network)
        .join(MACHINE_STATES, MACHINE_STATES.c.path == MACHINE_NICS.c.path)
        .where(MACHINE_STATES.c.vdc.in_(vdcs), MACHINE_NICS.c.network.in_(networks))
    )
    row = reader.db.execute(asked.order_by(MACHINE_NICS.c.path, MACHINE_NICS.c.number).limit(1)).first()
    return (row[0], row[1]) if row else None


def used_resources(reader: Reader, vdc: str, but: str = "") -> tuple[int, int, int]:
    """vCPU, GB of memory and of storage of the machines of a data center, the machine ``but`` aside."""
    counted = (MACHINE_STATES.c.vcpu, MACHINE_STATES.c.memory_gb, MACHINE_STATES.c.storage_gb)
    asked = sa.select(*(sa.func.coalesce(sa.func.sum(column), 0) for column in counted)).where(
        MACHINE_STATES.c.vdc == vdc, MACHINE_STATES.c.path != but
    )
    vcpu, memory, storage = reader.db.execute(asked).one()
    return int(vcpu), int(memory), int(storage)


def has_mac(reader: Reader, mac: str) -> bool:
    """Does a card have it?"""
    return reader.db.execute(sa.select(MACHINE_NICS.c.path).where(MACHINE_NICS.c.mac == mac)).first() is not None


def next_job(reader: Reader, uid: str) -> Job | None:
    """What is to be done with a machine next."""
    row = reader.db.execute(_JOBS.where(MACHINE_JOBS.c.uid == uid).order_by(MACHINE_JOBS.c.number).limit(1)).first()
    return Job(*row) if row else None


def will_have_snapshot(reader: Reader, found: State) -> bool:
    """Does a machine have one when all its jobs are done?"""
    asked = _JOBS.where(
        MACHINE_JOBS.c.uid == found.uid, MACHINE_JOBS.c.action.in_((Action.SNAPSHOT, Action.DROP_SNAPSHOT))
    )
    row = reader.db.execute(asked.order_by(MACHINE_JOBS.c.number.desc()).limit(1)).first()
    return found.snapshot_ns is not None if row is None else row.action == Action.SNAPSHOT


def power_counts(reader: Reader) -> dict[str, int]:
    """How many machines there are of each power."""
    counted = sa.select(MACHINE_STATES.c.power, sa.func.count()).group_by(MACHINE_STATES.c.power)
    return {row[0]: row[1] for row in reader.db.execute(counted)}


def busy(reader: Reader) -> set[str]:
    """The uids of machines that something is to be done with."""
    return set(reader.db.execute(sa.select(MACHINE_JOBS.c.uid).distinct()).scalars())


# ------------------------------------------------------------------ written


def add(unit: WriteUnit, new: State) -> None:
    """A new machine."""
    unit.db.execute(sa.insert(MACHINE_STATES), {field.name: getattr(new, field.name) for field in fields(State)})


def change(unit: WriteUnit, path: str, **columns: Any) -> None:
    """Fields of a machine's state."""
    unit.db.execute(sa.update(MACHINE_STATES).where(MACHINE_STATES.c.path == path).values(**columns))


def set_cards(unit: WriteUnit, path: str, wanted: Iterable[Card]) -> None:
    """All cards of a machine."""
    unit.db.execute(sa.delete(MACHINE_NICS).where(MACHINE_NICS.c.path == path))
    rows = [{field.name: getattr(card, field.name) for field in fields(Card)} for card in wanted]
    if rows:
        unit.db.execute(sa.insert(MACHINE_NICS), rows)


def order(unit: WriteUnit, uid: str, path: str, action: Action) -> None:
    """A job, for which the unit's tasks wait."""
    last = unit.db.execute(sa.select(sa.func.max(MACHINE_JOBS.c.number))).scalar() or 0
    # Numbers are not used again: tasks wait for them.
    number = max(last, int(unit.fact("machine-jobs") or 0)) + 1
    unit.set_facts({"machine-jobs": str(number)})
    unit.db.execute(sa.insert(MACHINE_JOBS), {"number": number, "uid": uid, "path": path, "action": action.value})
    unit.await_job(subject(uid), number)


def strike(unit: WriteUnit, job: Job) -> None:
    """A job is no more."""
    unit.db.execute(sa.delete(MACHINE_JOBS).where(MACHINE_JOBS.c.number == job.number))


# ------------------------------------------------------------------ what drivers are told


class Wishes:
    """Makes wishes of what the store has at one moment; networks are looked up once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._networks: dict[str, Record | None] = {}

    def of(self, record: Record, got: Iterable[Card]) -> Wish:
        """For a machine and what its cards have got."""
        said = record.body
        primary = primary_of(said["nics"])
        nics = tuple(
            self._nic(card, said["nics"][card.number]["connected"], primary=card.number == primary) for card in got
        )
        home = self._network(said["nics"][primary]["network"] if nics else "")
        dns = tuple(home[name] for name in ("dns_primary", "dns_secondary") if home.get(name))
        return Wish(record.uid, said["computer_name"], nics, dns, home.get("dns_suffix") or "", said["start_command"])

    def _nic(self, card: Card, connected: bool, *, primary: bool) -> Nic:
        found = self._find(card.network)
        uid = found.uid if found else ""
        if not card.address:
            return Nic(card.mac, uid, connected)
        home = next(
            (
                text
                for text in self._network(card.network).get("gateway_cidrs", ())
                if _family(text) == _family(card.address)
            ),
            "",
        )
        gateway, _, length = home.partition("/")
        if not length:
            return Nic(card.mac, uid, connected)
        return Nic(card.mac, uid, connected, (f"{card.address}/{length}",), (gateway,) if primary else ())

    def _find(self, network: str) -> Record | None:
        if network not in self._networks:
            self._networks[network] = self._reader.find(network) if network else None
        return self._networks[network]

    def _network(self, network: str) -> Mapping[str, Any]:
        found = self._find(network or "")
        return found.body if found else {}


def wish(reader: Reader, path: str) -> Wish | None:
    """For one machine, None if it is not there."""
    record = reader.find(path)
    return Wishes(reader).of(record, cards(reader, path)) if record else None


def wishes(reader: Reader) -> dict[str, Wish]:
    """For every machine, by uid."""
    got: dict[str, list[Card]] = {}
    asked = sa.select(*_columns(MACHINE_NICS, Card)).order_by(MACHINE_NICS.c.path, MACHINE_NICS.c.number)
    for row in reader.db.execute(asked):
        card = Card(*row)
        got.setdefault(card.path, []).append(card)
    maker, found = Wishes(reader), {}
    for row in reader.db.execute(sa.select(OBJECTS).where(OBJECTS.c.kind == "machine")):
        record = Record.of(row)
        found[record.uid] = maker.of(record, got.get(record.path, ()))
    return found


def _family(text: str) -> bool:
    return ":" in text


def is_on(found: State | None) -> bool:
    """Can programs be run in it?"""
    return found is not None and found.power == Power.ON
