"""Machines as namespaces: what they have, what they reach, what is left of them.  tests/netns/machines.py draws it."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from control.api.machines import MAX_PROGRAM
from control.errors import MachineError, PowerStateError, SnapshotError
from control.machines.driver import device_name, exit_code
from control.machines.netns.calls import KEPT
from control.machines.netns.driver import NetnsDriver
from control.machines.wishes import Power, Wish
from edge.model import EdgeConfig
from tests.netns.lab import ROOT
from tests.netns.machines import DEVICES, Plant, card, output, pings, remove_all, run, shell, wish
from tests.support import acme
from tests.waiting import wait_for

pytestmark = pytest.mark.needs("netns", "nft", "overlay")

PYTHON = str(Path(sys.executable).resolve())
WEB = f"mkdir -p /srv/www && hostname > /srv/www/index.html && exec {PYTHON} -m http.server -d /srv/www 8080"


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    with Plant(tmp_path_factory.mktemp("plant") / "data") as made:
        yield made


def processes(plant: Plant) -> list[str]:
    """Command lines of the helper and of machines."""
    listed = subprocess.run(["ps", "-axwwo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if plant.driver.name in line]


def first_process(plant: Plant, uid: str) -> dict[str, Any]:
    """The number of a machine's first process and when it began, as the helper is told."""
    said = json.loads((plant.data / "machines" / uid / "pid.json").read_text())
    return {"pid": said["pid"], "since": said["started"]}


def refused(plant: Plant, uid: str, attempt: str) -> None:
    """A line in a machine does not do what it tries, and not for want of the program."""
    code, _, said = run(plant.driver, uid, "/bin/sh", "-c", attempt)
    assert code not in {0, 126, 127}, f"{attempt}: {said}"


def test_a_machine_has_its_name_its_addresses_and_files_of_its_own(plant: Plant) -> None:
    both = replace(
        wish(10, "web01"), nics=(card(10), card(11, gateways=(), connected=False)),
        dns=("9.9.9.9",), dns_suffix="acme.example", start_command="echo $HOME; sleep 1000",
    )  # fmt: skip
    plant.driver.define(both)
    plant.driver.power_on(both.uid)
    try:
        assert shell(plant.driver, both.uid, "hostname; cat /etc/hostname") == "web01\nweb01\n"
        assert shell(plant.driver, both.uid, "cat /etc/resolv.conf") == "nameserver 9.9.9.9\nsearch acme.example\n"
        shown = shell(plant.driver, both.uid, "ip -br link; ip -br address; ip route")
        assert "00:50:56:00:00:0a" in shown
        assert "10.20.0.10/24" in shown
        assert "default via 10.20.0.1" in shown
        assert "NO-CARRIER" in shell(plant.driver, both.uid, "ip link show eth1")
        wait_for("the start command", lambda: shell(plant.driver, both.uid, "cat /var/log/start-command.log"))
        assert shell(plant.driver, both.uid, "cat /var/log/start-command.log") == "/root\n"
        assert "sleep 1000" in shell(plant.driver, both.uid, "ps ax")
        shell(plant.driver, both.uid, "echo mine > /etc/mine")
        assert not Path("/etc/mine").exists()
        plant.driver.power_off(both.uid)
        plant.driver.power_on(both.uid)
        assert shell(plant.driver, both.uid, "cat /etc/mine") == "mine\n"
    finally:
        plant.driver.delete(both.uid)


def test_a_machine_sees_nothing_of_the_control_plane_and_cannot_change_the_host(plant: Plant) -> None:
    secret = plant.data / "keys"
    secret.write_text("secret")
    one = wish(10)
    plant.driver.define(one)
    plant.driver.power_on(one.uid)
    try:
        for path in (secret, plant.data / "machines"):
            assert run(plant.driver, one.uid, "ls", str(path))[0] == 2
        for attempt in (
            "echo 1 > /proc/sys/kernel/panic", "mount -t tmpfs none /mnt", "umount /proc", "mknod /x b 8 0",
            f"umount {plant.data}; cat {secret}", "cat /proc/1/root/etc/hostname", "date -s 2001-01-01",
        ):  # fmt: skip
            refused(plant, one.uid, attempt)
        shell(plant.driver, one.uid, "echo 1 > /proc/sys/net/ipv4/icmp_echo_ignore_all")
    finally:
        plant.driver.delete(one.uid)


def test_everything_in_a_machine_has_the_capabilities_of_a_container_and_gains_none(plant: Plant) -> None:
    one = wish(10, command="grep -e ^Cap -e ^NoNewPrivs /proc/self/status; sleep 1000")
    plant.driver.define(one)
    plant.driver.power_on(one.uid)
    try:
        kept = f"{sum(1 << number for number in KEPT):016x}"
        sets = {"Inh": f"{0:016x}", "Prm": kept, "Eff": kept, "Bnd": kept, "Amb": f"{0:016x}"}
        wanted = [*(f"Cap{which}:\t{which_ones}" for which, which_ones in sets.items()), "NoNewPrivs:\t1"]
        assert 12 not in KEPT, "NET_ADMIN"
        said = "grep -e ^Cap -e ^NoNewPrivs /proc/%s/status"
        for process in ("1", "self"):
            assert shell(plant.driver, one.uid, said % process).splitlines() == wanted, process
        log = "cat /var/log/start-command.log"
        assert wait_for("the start command", lambda: shell(plant.driver, one.uid, log)).splitlines() == wanted
        for attempt in ("ip link set eth0 down", "ip link add spy0 type veth", "chrt -f 50 true",
                        "cat /proc/1/environ", "readlink /proc/1/fd/0", "ls /proc/1/cwd/",
                        "readlink /proc/1/exe", "mknod /dev/sda b 8 0"):  # fmt: skip
            refused(plant, one.uid, attempt)
    finally:
        plant.driver.delete(one.uid)


DELETES_BRIDGE = """
import socket, struct, sys
asked = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
link = struct.pack("=BxHiII", 0, 0, int(sys.argv[1]), 0, 0) + struct.pack("=HHi", 8, 46, 0)  # IFLA_TARGET_NETNSID
for kind, flags in ((18, 0x5), (17, 0x5)):  # RTM_GETLINK, RTM_DELLINK
    asked.send(struct.pack("=IHHII", 16 + len(link), kind, flags, 1, 0) + link)
    print(struct.unpack_from("=i", asked.recv(65536), 16)[0])
"""


def test_a_machine_does_not_reach_the_networks_of_others_through_its_cable(plant: Plant) -> None:
    one, other = wish(10), wish(11, network="3" * 32)
    for each in (one, other):
        plant.driver.define(each)
        plant.driver.power_on(each.uid)
    try:
        device = device_name("b", "3" * 32)
        show = ["ip", "-n", plant.driver.name, "-o", "link", "show", "type", "bridge"]
        shown = subprocess.run(show, capture_output=True, text=True, check=True).stdout
        index = next(line.split(":")[0] for line in shown.splitlines() if device in line)
        code, said, problem = run(plant.driver, one.uid, PYTHON, "-c", DELETES_BRIDGE, index)
        assert (code, said.split()) == (0, [str(-errno.EACCES), str(-errno.EPERM)]), problem
        assert device in subprocess.run(show, capture_output=True, text=True, check=True).stdout
    finally:
        for each in (one, other):
            plant.driver.delete(each.uid)


def test_devices_and_links_of_a_machine_are_its_own(plant: Plant, tmp_path: Path) -> None:
    one = wish(10)
    plant.driver.define(one)
    plant.driver.power_on(one.uid)
    try:
        for name in ("null", "zero", "tty", "urandom"):
            before = Path("/dev", name).stat()
            shell(plant.driver, one.uid, f"chmod 600 /dev/{name}; touch -d 2001-01-01 /dev/{name}")
            after = Path("/dev", name).stat()
            assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
            assert shell(plant.driver, one.uid, f"stat -c %a /dev/{name}") == "600\n"
        plant.driver.power_off(one.uid)
        upper = plant.data / "machines" / one.uid / "upper"
        for name in ("dev", "var"):  # as a machine may leave them
            subprocess.run(["rm", "-rf", str(upper / name)], check=True)
            (upper / name).symlink_to(tmp_path)
        with contextlib.suppress(MachineError):
            plant.driver.power_on(one.uid)
        assert not list(tmp_path.iterdir())
    finally:
        plant.driver.delete(one.uid)


def test_hidden_files_are_hidden_wherever_a_machine_moves_what_is_above_them() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:  # /tmp of a machine is empty
        hides(Path(made))


def hides(home: Path) -> None:
    """A key below a directory is nowhere in a machine."""
    (home / "etc/tls").mkdir(parents=True)
    (home / "etc/tls").chmod(0o751)
    key = home / "etc/tls/key.pem"
    for path in (key, key.with_name("chain.pem")):
        path.write_text("secret")
    (home / "data").mkdir()
    driver = NetnsDriver(home / "data", hidden=[key, key])
    one = Wish(f"{1:032x}", "vm")
    try:
        driver.define(one)
        driver.power_on(one.uid)
        assert shell(driver, one.uid, f"ls {key.parent}; stat -c %a {key.parent}") == "chain.pem\n751\n"
        shell(driver, one.uid, f"mv {home}/etc {home}/moved; ln -s moved {home}/etc")
        driver.power_off(one.uid)
        key.unlink()
        key.write_text("another")
        driver.power_on(one.uid)
        for path in (key, home / "moved/tls/key.pem"):
            assert run(driver, one.uid, "ls", str(path))[0] == 2
        assert run(driver, one.uid, "ls", str(home / "moved/tls/chain.pem"))[0] == 0
    finally:
        remove_all(driver)
        driver.close()


def test_traffic_passes_the_edge(plant: Plant) -> None:
    web, other = wish(10, "web01", WEB), wish(11)
    for one in (web, other):
        plant.driver.define(one)
        plant.driver.power_on(one.uid)
    edge = plant.forward()
    try:
        assert pings(plant.driver, other.uid, ["10.20.0.1", "10.20.0.10", "203.0.113.1"]) == [True, True, True]
        page = wait_for(
            "the web server through DNAT",
            lambda: plant.outside.run("curl", "-s", "-m", "2", "http://203.0.113.11/", check=False),
        )
        assert page == "web01\n"
        assert any(session.protocol == 6 for session in edge.sessions())
        plant.driver.define(replace(web, nics=(card(10, connected=False),)))
        assert pings(plant.driver, other.uid, ["10.20.0.10"]) == [False]
        plant.driver.define(replace(web, nics=(card(12),)))
        assert pings(plant.driver, other.uid, ["10.20.0.10", "10.20.0.12"]) == [False, True]
        plant.driver.define(replace(web, nics=(card(12, "3" * 32),)))
        assert pings(plant.driver, other.uid, ["10.20.0.12"]) == [False]
        plant.driver.define(replace(web, nics=()))
        assert "eth0" not in shell(plant.driver, web.uid, "ip -br link")
    finally:
        for one in (web, other):
            plant.driver.delete(one.uid)


def test_a_suspended_machine_stands_still_and_goes_on(plant: Plant) -> None:
    busy, other = wish(10, command="while :; do echo x; sleep 0.01; done"), wish(11)
    for one in (busy, other):
        plant.driver.define(one)
        plant.driver.power_on(one.uid)
    try:
        log = plant.data / "machines" / busy.uid / "upper/var/log/start-command.log"
        wait_for("it works", lambda: log.exists() and log.stat().st_size)
        plant.driver.suspend(busy.uid)
        assert plant.driver.inventory()[busy.uid].power is Power.SUSPENDED
        assert pings(plant.driver, other.uid, ["10.20.0.10"]) == [False]
        size = log.stat().st_size
        with pytest.raises(PowerStateError):
            plant.driver.execute(busy.uid, ["true"])
        assert log.stat().st_size == size
        plant.driver.power_on(busy.uid)
        assert pings(plant.driver, other.uid, ["10.20.0.10"]) == [True]
        wait_for("it works again", lambda: log.stat().st_size > size)
    finally:
        for one in (busy, other):
            plant.driver.delete(one.uid)


def test_a_snapshot_is_of_files(plant: Plant) -> None:
    one = wish(10)
    plant.driver.define(one)
    plant.driver.power_on(one.uid)
    try:
        with pytest.raises(SnapshotError):
            plant.driver.revert(one.uid)
        shell(plant.driver, one.uid, "echo kept > /root/a; ln /root/a /root/b; rm /etc/motd /etc/issue; mkdir /opt/x")
        plant.driver.snapshot(one.uid)
        shell(plant.driver, one.uid, "echo lost > /root/a; echo new > /root/c; echo back > /etc/issue; rmdir /opt/x")
        plant.driver.revert(one.uid)
        assert plant.driver.inventory()[one.uid].power is Power.OFF
        plant.driver.power_on(one.uid)
        said = shell(
            plant.driver,
            one.uid,
            "cat /root/a /root/b; stat -c %h /root/a; ls -d /opt/x; ls /root/c /etc/issue 2>&1 || true",
        )
        assert said.startswith("kept\nkept\n2\n/opt/x\n")
        assert said.count("No such file") == 2
        plant.driver.revert(one.uid)  # as often as one likes
        plant.driver.drop_snapshot(one.uid)
        assert not plant.driver.inventory()[one.uid].snapshot
    finally:
        plant.driver.delete(one.uid)


def test_programs_and_their_ends(plant: Plant) -> None:
    one = wish(10)
    plant.driver.define(one)
    with pytest.raises(PowerStateError):
        plant.driver.execute(one.uid, ["true"])
    plant.driver.power_on(one.uid)
    try:
        assert run(plant.driver, one.uid, "/bin/sh", "-c", "echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
        assert run(plant.driver, one.uid, "no-such-program")[0] == 127
        assert run(plant.driver, one.uid, "/bin/sh", "-c", "kill -9 $$")[0] == 137
        program = plant.driver.execute(one.uid, ["/bin/sh", "-c", "echo $$; exec sleep 1234"])
        assert os.read(program.output, 64)
        program.close()
        wait_for("nobody is left", lambda: "sleep 1234" not in shell(plant.driver, one.uid, "ps ax"))
        program = plant.driver.execute(one.uid, ["sleep", "1235"])
        plant.driver.power_off(one.uid)
        assert output(program)[0] == 137
    finally:
        plant.driver.delete(one.uid)


def test_a_console_is_a_terminal(plant: Plant) -> None:
    one = wish(10)
    plant.driver.define(one)
    plant.driver.power_on(one.uid)
    try:
        console = plant.driver.console(one.uid, 30, 100)
        os.write(console.output, b"stty size; tty\n")
        said = b""
        while b"/dev/pts/" not in said:
            said += os.read(console.output, 4096)
        assert b"30 100" in said
        console.resize(50, 120)
        os.write(console.output, b"stty size; exit 3\n")
        said = b""
        try:
            while part := os.read(console.output, 4096):
                said += part
        except OSError:
            pass  # the terminal has gone
        assert b"50 120" in said
        assert exit_code(console.life.recv(4096)) == 3
        console.close()
    finally:
        plant.driver.delete(one.uid)


def test_deletion_leaves_nothing(tmp_path: Path) -> None:
    with Plant(tmp_path / "data") as plant:
        links = plant.middle.run("ip", "-o", "link")
        one = wish(10, command="sleep 1000 & sleep 1000")
        plant.driver.define(one)
        plant.driver.power_on(one.uid)
        assert len(processes(plant)) == 2
        plant.driver.delete(one.uid)
        wait_for("one process is left, the helper", lambda: len(processes(plant)) == 1)
        assert [path.name for path in (plant.data / "machines").iterdir()] == ["lock"]
        assert str(plant.data) not in Path("/proc/self/mounts").read_text()
        assert plant.middle.run("ip", "-o", "link") == links
        plant.driver.delete(one.uid)  # and again
        plant.driver.retain([], [])
        assert "tnet" not in plant.middle.run("ip", "-o", "link")
        place = Path("/run/netns", plant.driver.name)
        assert place.exists()
    assert not place.exists()
    assert not processes(plant)


LEAVES = """
import os, signal, sys
from pathlib import Path
from control.machines.netns.driver import NetnsDriver
from tests.netns.machines import wish
driver = NetnsDriver(Path(sys.argv[1]))
for number in (10, 11):
    driver.define(wish(number, command="sleep 1000"))
    driver.power_on(wish(number).uid)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_has_left_is_found_again(tmp_path: Path) -> None:
    with Plant(tmp_path / "data") as plant:
        plant.driver.close()
        command = ["ip", "netns", "exec", plant.middle.name, sys.executable, "-c", LEAVES, str(plant.data)]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
        plant.driver = plant.opened()
        first, second = wish(10, command="sleep 1000"), wish(11, command="sleep 1000")
        there = plant.driver.inventory()
        assert {uid: (found.wish, found.power) for uid, found in there.items()} == {
            first.uid: (first, Power.ON), second.uid: (second, Power.ON),
        }  # fmt: skip
        assert pings(plant.driver, first.uid, ["10.20.0.11"]) == [True]
        plant.driver.delete(first.uid)
        assert list(plant.driver.inventory()) == [second.uid]


def test_a_machine_that_ends_by_itself_is_off(plant: Plant) -> None:
    one = wish(10)
    plant.driver.define(one)
    plant.driver.power_on(one.uid)
    try:
        os.kill(first_process(plant, one.uid)["pid"], 9)
        wait_for("it is off", lambda: plant.driver.inventory()[one.uid].power is Power.OFF)
        plant.driver.power_on(one.uid)
        assert shell(plant.driver, one.uid, "hostname") == "vm10\n"
    finally:
        plant.driver.delete(one.uid)


def test_what_cannot_be_is_told(plant: Plant) -> None:
    one = wish(10)
    with pytest.raises(MachineError):
        plant.driver.power_on(one.uid)
    plant.driver.define(replace(one, nics=(card(10, addresses=("10.20.0.10/24",), gateways=("192.0.2.1",)),)))
    try:
        with pytest.raises(MachineError, match="unreachable"):
            plant.driver.power_on(one.uid)
        assert plant.driver.inventory()[one.uid].power is Power.OFF
        plant.driver.define(one)
        plant.driver.power_on(one.uid)
    finally:
        plant.driver.delete(one.uid)


def test_cards_that_could_not_be_connected_are_connected_later(plant: Plant) -> None:
    one = wish(10)
    wrong = replace(one, nics=(card(12, gateways=("192.0.2.1",)),))
    plant.driver.define(one)
    plant.driver.power_on(one.uid)
    try:
        for _ in range(2):  # it is not taken for done the second time
            with pytest.raises(MachineError, match="unreachable"):
                plant.driver.define(wrong)
            assert plant.driver.inventory()[one.uid].wish == one
        plant.driver.define(one)  # what holds on the disk, but not for the cards any more
        shown = shell(plant.driver, one.uid, "ip -br address; ip route")
        assert "10.20.0.10/24" in shown
        assert "10.20.0.12" not in shown
        assert "default via 10.20.0.1" in shown
        plant.driver.define(replace(one, nics=(card(12),)))
        assert "10.20.0.12/24" in shell(plant.driver, one.uid, "ip -br address")
    finally:
        plant.driver.delete(one.uid)


def test_a_network_that_the_edge_gets_later_has_its_interface(tmp_path: Path) -> None:
    def with_networks(*names: str) -> EdgeConfig:
        base = acme()
        (lan,) = base.routing.networks
        more = [replace(lan, id=name, name=name, subnets=()) for name in names]
        return replace(base, routing=replace(base.routing, networks=tuple(more)))

    with Plant(tmp_path / "data") as plant:
        edge = plant.forward()
        assert plant.forwarder is not None
        forwarder = plant.forwarder
        with edge.turn():
            forwarder.rebind(with_networks("OTHER"))
        wait_for("the interface is put back", lambda: "t1edge(" not in plant.middle.run("ip", "link", "show", "tlan"))
        with edge.turn():
            forwarder.rebind(acme())
        wait_for("it is up again", lambda: forwarder.ports["LAN"].up)


def test_a_network_that_is_renamed_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Plant(tmp_path / "data") as plant:
        monkeypatch.setitem(DEVICES, "OFFICE", DEVICES["LAN"])
        edge = plant.forward()
        forwarder = plant.forwarder
        assert forwarder is not None
        base = acme()
        (lan,) = base.routing.networks
        renamed = replace(base, routing=replace(base.routing, networks=(replace(lan, name="OFFICE"),)))
        before = forwarder.ports["LAN"]
        with edge.turn():
            edge.apply(renamed)
            forwarder.rebind(renamed)
            assert edge.config.ports[1:] == ("OFFICE",)
            assert forwarder.neighbours.is_up(1), "frames pass at once"
        after = forwarder.ports["OFFICE"]
        assert (after.device, after.up, after.mac) == (before.device, True, before.mac)
        assert "LAN" not in forwarder.ports


def test_another_process_of_the_number_is_not_taken_for_the_machine(plant: Plant) -> None:
    one = wish(10)
    plant.driver.define(one)
    plant.driver.power_on(one.uid)
    file = plant.data / "machines" / one.uid / "pid.json"
    own = file.read_text()
    bystander = subprocess.Popen(["sleep", "1000"])
    try:
        since = first_process(plant, one.uid)["since"]
        life, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        named: dict[str, Any] = {"pid": bystander.pid, "since": since}
        with life, theirs:
            for do, more in (
                ("run", {"argv": ["true"], "window": [24, 80]}), ("connect", {"uid": one.uid, "nics": []}),
                ("freeze", {"uid": one.uid, "nics": [], "dead": True}),
            ):  # fmt: skip
                with pytest.raises(MachineError, match="has ended"):
                    plant.driver._ask(do, [theirs.fileno()] if do == "run" else [], **named, **more)
        assert pings(plant.driver, one.uid, ["127.0.0.1"]) == [True]
        file.write_text(json.dumps({"pid": bystander.pid, "started": since}))
        assert plant.driver.inventory()[one.uid].power is Power.OFF
        plant.driver.power_off(one.uid)
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
        file.write_text(own)  # so that the machine is found, and ends
        plant.driver.delete(one.uid)
    wait_for("one process is left, the helper", lambda: len(processes(plant)) == 1)


def test_what_is_just_made_is_not_removed_by_who_looks(tmp_path: Path) -> None:
    driver = NetnsDriver(tmp_path)
    home = tmp_path / "machines"
    try:
        half = home / f"{1:032x}"
        half.mkdir()
        assert not driver.inventory()
        assert half.exists()
        damaged = Wish(f"{2:032x}", "vm")
        driver.define(damaged)
        (home / damaged.uid / "wish.json").write_text("{")
        assert driver.inventory()[damaged.uid].wish != damaged
        driver.close()
        driver = NetnsDriver(tmp_path)
        assert not half.exists(), "nobody is at work at the start"
        driver.define(damaged)
        assert driver.inventory()[damaged.uid].wish == damaged
    finally:
        remove_all(driver)
        driver.close()


def test_what_does_not_fit_a_message_leaves_the_helper_alone(plant: Plant) -> None:
    one = wish(10)
    plant.driver.define(one)
    plant.driver.power_on(one.uid)
    helper = plant.driver._process.pid
    try:
        with pytest.raises(MachineError, match="cannot be asked for at once"):
            plant.driver.execute(one.uid, ["true", *["x" * 65_536] * 20])
        worst = ["printf", "%s", *["\1" * (MAX_PROGRAM // 2 - 8)] * 2]
        code, said, _ = run(plant.driver, one.uid, *worst)
        assert (code, len(said)) == (0, MAX_PROGRAM - 16)
        assert plant.driver._process.pid == helper
    finally:
        plant.driver.delete(one.uid)


def test_a_directory_in_an_overlay_cannot_hold_machines(tmp_path: Path) -> None:
    layers = [tmp_path / name for name in ("lower", "upper", "work", "merged")]
    for layer in layers:
        layer.mkdir()
    lower, upper, work, merged = layers
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, str(merged)], check=True)
    try:
        with pytest.raises(MachineError, match="it lies in an overlay"):
            NetnsDriver(merged)
        assert list(merged.iterdir()) == []
    finally:
        subprocess.run(["umount", str(merged)], check=True)
