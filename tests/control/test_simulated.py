"""Machines that are said to run."""

from __future__ import annotations

import pytest

from control.errors import MachineError, NotEmulatedError
from control.machines.driver import Driver
from control.machines.simulated import SimulatedDriver
from control.machines.wishes import Nic, Power, Wish


def test_what_was_told_is_there() -> None:
    driver: Driver = SimulatedDriver()
    first, second = Wish("1" * 32, "one"), Wish("2" * 32, "two")
    for wish in (first, second):
        driver.define(wish)
    driver.power_on(first.uid)
    driver.snapshot(first.uid)
    driver.suspend(second.uid)
    found = driver.inventory()
    assert (found[first.uid].power, found[first.uid].snapshot) == (Power.ON, True)
    assert (found[second.uid].power, found[second.uid].snapshot) == (Power.SUSPENDED, False)
    driver.revert(first.uid)
    driver.drop_snapshot(first.uid)
    again = Wish(first.uid, "uno", (Nic("00:50:56:00:00:01"),))
    driver.define(again)
    found = driver.inventory()
    assert (found[first.uid].wish, found[first.uid].power, found[first.uid].snapshot) == (again, Power.OFF, False)
    driver.power_off(second.uid)
    for _ in range(2):
        driver.delete(first.uid)
    assert list(driver.inventory()) == [second.uid]


def test_nothing_can_be_run_in_them() -> None:
    driver = SimulatedDriver()
    driver.define(Wish("1" * 32, "one"))
    with pytest.raises(NotEmulatedError):
        driver.execute("1" * 32, ["true"])
    with pytest.raises(NotEmulatedError):
        driver.console("1" * 32, 24, 80)
    with pytest.raises(MachineError):
        driver.power_on("2" * 32)
