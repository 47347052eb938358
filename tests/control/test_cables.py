"""Which interfaces are laid when: those that are others now."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.errors import MachineError
from control.machines.cables import Cables
from control.machines.simulated import SimulatedDriver
from tests.control.office import LAN, ORG, Office
from tests.control.samples import plant
from tests.control.world import World


class Laying(SimulatedDriver):
    """Writes down what it lays and removes."""

    def __init__(self) -> None:
        super().__init__()
        self.attached: list[tuple[str, str]] = []
        self.retained: list[set[str]] = []
        self.broken = False

    def attach(self, network: str, device: str) -> None:
        if self.broken:
            raise MachineError("no room")
        self.attached.append((network, device))

    def retain(self, networks: object, devices: object) -> None:
        self.retained.append({*networks, *devices})  # type: ignore[misc]  # both are collections

    def taken(self) -> tuple[list[tuple[str, str]], int]:
        """What was laid since it was asked last, and how often something was removed."""
        found = self.attached, len(self.retained)
        self.attached, self.retained = [], []
        return found


@pytest.fixture
def office(world: World) -> Office:
    return Office(world)


def test_only_what_is_another_is_laid(office: Office, tmp_path: Path) -> None:
    driver = Laying()
    cables = Cables(office.world.store, driver, tmp_path, {})
    cables.lay()
    first, removals = driver.taken()
    assert (len(first), removals) == (2, 1)  # the uplink and the network; what an earlier process has left is removed
    office.world.call(
        "FirewallService/CreateFirewallRule",
        {"parent": f"{ORG}/edges/T1", "firewallRule": {"displayName": "x", "actionValue": "ALLOW"}}, office.token,
    )  # fmt: skip
    cables.lay()
    assert driver.taken() == ([], 0)
    plant(
        office.world, "network", ORG, "DMZ", display_name="DMZ", owner=office.record(LAN).body["owner"],
        network_type="NAT_ROUTED", edge=f"{ORG}/edges/T1", gateway_cidrs=["10.30.0.1/24"],
    )  # fmt: skip
    cables.lay()
    ((network, device),), removals = driver.taken()
    assert (network, removals) == (office.record(f"{ORG}/networks/DMZ").uid, 0)
    office.world.call("NetworkService/DeleteNetwork", {"name": f"{ORG}/networks/DMZ"}, office.token)
    cables.lay()
    assert len(driver.retained) == 1
    assert not {network, device} & driver.retained[0]
    assert {uid for uid, _ in first} <= driver.retained[0]
    assert driver.attached == []


def test_a_network_that_was_made_anew_gets_its_cable(office: Office, tmp_path: Path) -> None:
    driver = Laying()
    cables = Cables(office.world.store, driver, tmp_path, {})
    cables.lay()
    driver.taken()
    record = office.record(LAN)
    office.world.call("NetworkService/DeleteNetwork", {"name": LAN}, office.token)
    plant(office.world, "network", ORG, "LAN", **{key: record.body[key] for key in (
        "display_name", "owner", "network_type", "edge", "gateway_cidrs")})  # fmt: skip
    cables.lay()
    ((network, _),), removals = driver.taken()
    assert (network, removals) == (office.record(LAN).uid, 1)


def test_what_could_not_be_laid_is_laid_the_next_time(office: Office, tmp_path: Path) -> None:
    driver = Laying()
    cables = Cables(office.world.store, driver, tmp_path, {})
    driver.broken = True
    with pytest.raises(MachineError):
        cables.lay()
    driver.broken = False
    cables.lay()
    assert len(driver.taken()[0]) == 2
