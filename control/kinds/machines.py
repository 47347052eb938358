"""Machines of a data center: what they need, what they get, what is to be done with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address, ip_interface
from typing import Any

from control import names
from control.access.roles import Permission
from control.access.vault import password_place
from control.errors import (
    NoAddressLeftError,
    PowerStateError,
    QuotaExceededError,
)
from control.gather import following, groups_of
from control.kinds.cards import same_cards
from control.kinds.kind import Change, Kind
from control.machines import book
from control.machines.book import Action, Card, State
from control.machines.wishes import Power
from control.objects.catalog import OsFamily
from control.objects.machine import MAX_WINDOWS_NAME, IpMode, Machine, Nic, primary_of
from control.store import Reader, Record, WriteUnit
from edge.addresses import AddressRange

_HOT_VCPU, _HOT_MEMORY_GB = 4, 4
"""From this size on a machine grows while it runs."""
_POOL = "POOL"
_OUI = "00:50:56"
"""VMware's; the last three bytes of addresses that are given are below 40:00:00."""


def refs(value: Machine) -> Iterable[tuple[str, str]]:
    """What a machine needs."""
    yield value.template, "template"
    if value.sizing_policy:
        yield value.sizing_policy, "sizing_policy"
    for number, nic in enumerate(value.nics):
        if nic.network:
            yield nic.network, f"nics[{number}].network"


def check(change: Change) -> None:
    """What only the store can tell."""
    value: Machine | None = change.value
    if value is None:
        _check_off(change)
        return
    unit, vdc = change.unit, change.unit.get(names.parent(change.path))
    template = unit.get(value.template)
    _check_template(change, value, template, vdc)
    _check_size(change, value, vdc)
    _check_quota(change, value, template, vdc)
    owners = {vdc.path, *groups_of(unit, vdc.path)}
    for number, nic in enumerate(value.nics):
        if nic.network:
            _check_nic(change, number, nic, owners)


def _check_off(change: Change) -> None:
    assert change.before is not None, "what is deleted is there"
    found = book.state(change.unit, change.path)
    if found is not None and found.wanted != Power.OFF:
        shown = change.before.body["display_name"]
        raise PowerStateError(
            f"The requested operation could not be executed on vApp {shown}. Stop the vApp and try again."
        )


def _check_template(change: Change, value: Machine, template: Record, vdc: Record) -> None:
    region = names.parent(template.path)
    if region != vdc.body["region"]:
        raise change.wrong(
            "template",
            f'La plantilla de máquina virtual seleccionada está etiquetada con la política "{names.last(region)}-VM", '
            "que no es válida para este VDC. Seleccione otra plantilla.",
        )
    if template.body["os_family"] == OsFamily.WINDOWS and len(value.computer_name) > MAX_WINDOWS_NAME:
        raise change.wrong("computer_name", f"expected at most {MAX_WINDOWS_NAME} characters for Windows")


def _size(unit: Reader, value: Machine) -> tuple[int, int]:
    """VCPU and GB of memory."""
    if value.custom is not None:
        return value.custom.vcpu, value.custom.memory_gb
    body = unit.get(value.sizing_policy).body
    return body["vcpu"], body["memory_gb"]


def _check_size(change: Change, value: Machine, vdc: Record) -> None:
    """Of a machine that is there already."""
    found = book.state(change.unit, change.path) if change.before else None
    if found is None or change.before is None:
        return
    before, now = (found.vcpu, found.memory_gb), _size(change.unit, value)
    field = "sizing_policy" if value.sizing_policy else "custom"
    if value.sizing_policy != change.before.body["sizing_policy"] and value.sizing_policy and vdc.body["plan"] == _POOL:
        raise change.wrong(field, "expected a custom size: machines of a pool data center are resized to no other")
    if before == now or found.wanted == Power.OFF:
        return
    if now[0] < before[0] or now[1] < before[1]:
        raise PowerStateError("a machine gets smaller only when it is off")
    if before[0] < _HOT_VCPU or before[1] < _HOT_MEMORY_GB:
        text = f"a machine of less than {_HOT_VCPU} vCPU and {_HOT_MEMORY_GB} GB gets larger only when it is off"
        raise PowerStateError(text)


def _check_quota(change: Change, value: Machine, template: Record, vdc: Record) -> None:
    if vdc.body["plan"] != _POOL:
        return
    quota = vdc.body["quota"]
    used = book.used_resources(change.unit, vdc.path, change.path)
    wanted = (*_size(change.unit, value), template.body["base_disk_gb"])
    for name, taken, more in zip(("vcpu", "memory_gb", "storage_gb"), used, wanted, strict=True):
        if taken + more > quota[name]:
            free = max(0, quota[name] - taken)
            raise QuotaExceededError(f"{name}: the machine needs {more}, {free} of {quota[name]} are free")


def _check_nic(change: Change, number: int, nic: Nic, owners: set[str]) -> None:
    network = change.unit.get(nic.network)
    place = f"nics[{number}]"
    if network.body["owner"] not in owners:
        raise change.wrong(
            f"{place}.network", "expected a network of the machine's data center, or of a group that has it"
        )
    if nic.ip_mode is IpMode.POOL and not network.body["static_pools"]:
        raise change.wrong(f"{place}.ip_mode", "expected a network with a static pool for POOL")
    if nic.ip_mode is not IpMode.MANUAL:
        return
    address = ip_address(nic.address)
    homes = [ip_interface(text) for text in network.body["gateway_cidrs"]]
    home = next((each for each in homes if address in each.network), None)
    if home is None:
        raise change.wrong(f"{place}.address", f"expected an address of {' or '.join(str(e.network) for e in homes)}")
    reserved = {home.ip, home.network.network_address}
    if home.version == 4:
        reserved.add(home.network.broadcast_address)
    if address in reserved:
        raise change.wrong(
            f"{place}.address", "expected neither the gateway's, the network's nor the broadcast address"
        )
    user = book.used_addresses(change.unit, nic.network, change.path).get(nic.address)
    same = [other for other in change.value.nics if (other.network, other.address) == (nic.network, nic.address)]
    if user is not None or len(same) > 1:
        raise change.wrong(f"{place}.address", f"expected an address that is free: {user or change.path} has this one")


# ------------------------------------------------------------------ what comes of it


def follow(changes: Any, before: Record | None, now: Record | None) -> None:
    """Addresses, a first password, and a job for whoever runs machines."""
    unit: WriteUnit = changes.unit
    if now is None:
        assert before is not None, "what is deleted is there"
        book.order(unit, before.uid, before.path, Action.DELETE)
        return
    value = now.value(Machine)
    vcpu, memory_gb = _size(unit, value)
    if before is None:
        template = unit.get(value.template)
        password = seal_password(changes, now.uid)
        book.add(unit, State(
            now.path, now.uid, names.parent(now.path), Power.OFF, Power.OFF, vcpu, memory_gb,
            template.body["base_disk_gb"], password=password,
        ))  # fmt: skip
    else:
        book.change(unit, now.path, vcpu=vcpu, memory_gb=memory_gb)
    _deal(unit, now, value, before)
    book.order(unit, now.uid, now.path, Action.DEFINE)


def seal_password(changes: Any, uid: str) -> bytes:
    """A new first password, for :func:`open_password`."""
    text = changes.unit.surroundings.random(12).hex()
    sealed: bytes = changes.vault.seal(
        "-".join(text[start : start + 6] for start in range(0, 24, 6)).encode(), password_place(uid)
    )
    return sealed


def open_password(changes: Any, uid: str, sealed: bytes) -> str:
    """What was sealed."""
    return str(changes.vault.open(sealed, password_place(uid)).decode())


def _deal(unit: WriteUnit, record: Record, value: Machine, before: Record | None) -> None:
    """Cards keep their MAC addresses, and what they got of a pool as long as they want that of the same network."""
    had = book.cards(unit, record.path)
    wanted = before.value(Machine).nics if before else ()
    same = {number: (wanted[old], had[old]) for number, old in same_cards(wanted, had, value.nics).items()}
    used = {network: _used(unit, record.path, network, value) for network in {nic.network for nic in value.nics} - {""}}
    kept: dict[int, str] = {}
    for number, (last, card) in sorted(same.items()):
        nic = value.nics[number]
        stays = (last.network, last.ip_mode, nic.ip_mode) == (nic.network, IpMode.POOL, IpMode.POOL)
        if stays and card.address and card.address not in used[nic.network]:
            kept[number] = card.address
            used[nic.network].add(card.address)
    macs = {number: card.mac for number, (_, card) in same.items()}
    found: list[Card] = []
    for number, nic in enumerate(value.nics):
        if number not in macs:
            macs[number] = _new_mac(unit, set(macs.values()))
        address: str | None = nic.address or kept.get(number)
        if nic.ip_mode is IpMode.POOL and address is None:
            address = _lowest_free(unit.get(nic.network), used[nic.network])
            used[nic.network].add(address)
        found.append(Card(record.path, number, nic.network, macs[number], address))
    book.set_cards(unit, record.path, found)


def _used(unit: Reader, path: str, network: str, value: Machine) -> set[str]:
    """What no card of a machine's can get of a network's pools."""
    by_hand = {nic.address for nic in value.nics if nic.network == network and nic.address}
    return by_hand | set(book.used_addresses(unit, network, path))


def _new_mac(unit: WriteUnit, own: set[str]) -> str:
    while True:
        first, second, third = unit.surroundings.random(3)
        mac = f"{_OUI}:{first & 0x3F:02x}:{second:02x}:{third:02x}"
        if mac not in own and not book.has_mac(unit, mac):
            return mac


def _lowest_free(network: Record, used: set[str]) -> str:
    """Raises NoAddressLeftError."""
    pools = sorted(
        map(AddressRange.parse, network.body["static_pools"]), key=lambda each: (each.version, int(each.first))
    )
    for pool in pools:
        make = type(pool.first)
        for number in range(int(pool.first), int(pool.last) + 1):
            if (text := str(make(number))) not in used:
                return text
    raise NoAddressLeftError(f"the static pools of {network.path} have no address left")


def touches(reader: Reader, record: Record) -> Iterable[str]:
    """The edges that have dynamic groups, which ask for names and tags of machines."""
    return following(reader, names.parent(record.path))


def states(reader: Reader, records: Sequence[Record]) -> list[Mapping[str, Any]]:
    """What is told of machines besides what their owners said."""
    paths = [record.path for record in records]
    found, cards = book.states_of(reader, paths), book.cards_of(reader, paths)
    return [_told(record, found.get(record.path), cards[record.path]) for record in records]


def _told(record: Record, found: State | None, cards: Sequence[Card]) -> Mapping[str, Any]:
    if found is None:
        return {}
    nics = record.body["nics"]
    primary = primary_of(nics)
    missing = [f"nics[{number}].ip_mode DHCP" for number, nic in enumerate(nics) if nic["ip_mode"] == IpMode.DHCP]
    return {
        "power_state": found.power,
        "interfaces": [
            {"network": card.network, "mac": card.mac, "address": card.address or "", "primary": card.number == primary}
            for card in cards
        ],
        "snapshot": None if found.snapshot_ns is None else {"create_time": found.snapshot_ns},
        "vcpu": found.vcpu,
        "memory_gb": found.memory_gb,
        "storage_gb": found.storage_gb,
        "password_set": found.password is not None,
        "problem": found.problem,
        "not_emulated": missing,
    }


MACHINE = Kind(
    name="machine",
    form="orgs/*/vdcs/*/machines/*",
    service="MachineService",
    noun="Machine",
    plural="Machines",
    words="Machine",
    model=Machine,
    read=Permission.RESOURCES_READ,
    write=Permission.MACHINES_WRITE,
    refs=refs,
    rules=check,
    touches=touches,
    follow=follow,
    states=states,
    fixed=frozenset({"template"}),
    unique=False,
    filters=("template", "sizing_policy"),
)
