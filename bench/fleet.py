"""How many tenants one control plane has room for: ``python -m bench.fleet [--tenants N] [--changes N] [DIRECTORY]``.

Fills a new data directory by the kinds' own way of writing, starts ``t1edge control serve`` with simulated machines on
it, starts it again, counts calls a second; then changes rules of random edges and waits with each until a packet is
judged by it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from control import serving
from control.access.passwords import Passwords
from control.api.client import ControlClient
from control.api.contract import REQUESTS
from control.api.dispatch import Dispatcher
from control.api.remote_edge import dialled
from control.checking import checked as plan_checked
from control.checking import planned
from control.fleet.fleet import Fleet
from control.fleet.plans import Plans
from control.kinds import BY_NAME
from control.kinds.changes import Changes
from control.machines.wishes import Power
from control.metrics import ControlMetrics
from control.objects import Org
from control.objects.catalog import OsFamily
from control.objects.values import checked
from control.serving import EDGES, FIRST_LOGIN, ControlSettings, opened
from control.store.schema import MACHINE_JOBS, MACHINE_STATES
from control.store.unit import PROVIDER
from control.surroundings import Surroundings
from edge.packets.build import build_frame
from edge.packets.text import parse_packet
from edge.verdicts import Verdict

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.control.world import enrolled

RATE = 20
"""Changes a second."""

SECONDS = 5.0
"""How long a rate is measured."""

LOOKING_S = 0.5
"""How often is looked whether all agree: to answer takes the control plane a while, too."""

KINDS = ("PATCH", "WHOLE")
PAGE = 50
"""Machines of the first tenant, at least."""

ORDERS_AT_ONCE = 20
"""Tenants that are made in one unit of work."""


def filled(data: Path, tenants: int, rules: int, machines: int) -> float:
    """Make organizations, each with a data center, a network with machines and an edge with rules; the seconds it
    took."""
    began = time.perf_counter()
    most = max(machines, PAGE)
    surroundings = Surroundings()
    with opened(ControlSettings(data, "unix:none"), surroundings, Passwords(surroundings.random)) as found:

        def made(changes: Changes, kind: str, parent: str, id: str, **fields: Any) -> str:
            return changes.create(BY_NAME[kind], parent, checked(BY_NAME[kind].model, fields, kind), id=id).path

        with found.store.write(PROVIDER) as unit:
            changes = Changes(unit, found.vault)
            made(changes, "region", "", "MIA", display_name="Miami")
            wan = {"gateway_cidr": "20.0.0.1/12", "pools": ["20.0.4.0-20.0.11.255"], "wan_access": "INTERNET"}
            internet = made(changes, "provider_network", "regions/MIA", "internet", display_name="Internet", **wan)
            template = next(each.path for each in unit.every("template") if each.body["os_family"] == OsFamily.LINUX)
        for first in range(0, tenants, ORDERS_AT_ONCE):
            with found.store.write(PROVIDER) as unit:
                changes = Changes(unit, found.vault)
                for number in range(first, min(first + ORDERS_AT_ONCE, tenants)):
                    account = f"US{number + 1}"
                    org = f"orgs/{account}"
                    unit.create("org", org, Org(account_id=account, display_name=account))
                    quota = {"vcpu": 20 + most, "memory_gb": 50 + most, "storage_gb": 200 + 200 * most}
                    vdc = {"region": "regions/MIA", "plan": "POOL", "subscription": "1", "quota": quota}
                    name = made(changes, "vdc", org, f"MIA-{account}P1", **vdc)
                    address = f"20.0.{4 + (number >> 8)}.{number & 255}"
                    gateway = {
                        "region": "regions/MIA", "owner": name, "provider_network": internet,
                        "wan_access": "INTERNET", "public_addresses": [address],
                    }  # fmt: skip
                    edge = made(changes, "edge_gateway", org, "T1", display_name="T1", **gateway)
                    lan = {
                        "owner": name, "network_type": "NAT_ROUTED", "edge": edge, "connection_type": "INTERNAL",
                        "gateway_cidrs": ["10.20.0.1/24"], "static_pools": ["10.20.0.10-10.20.0.250"],
                    }  # fmt: skip
                    network = made(changes, "network", org, "LAN", display_name="LAN", **lan)
                    for place in range(rules):
                        rule = {
                            "display_name": f"r{place}", "action_value": "ALLOW",
                            "source_firewall_ip_addresses": [f"10.20.0.{place % 250 + 1}"],
                            "raw_port_protocols": [_tcp(1_000 + place)],
                        }  # fmt: skip
                        made(changes, "firewall_rule", edge, f"r{place}", **rule)
                    machine = {
                        "template": template, "custom": {"vcpu": 1, "memory_gb": 1},
                        "nics": [{"network": network, "primary": True, "ip_mode": "POOL"}],
                    }  # fmt: skip
                    for place in range(most if number == 0 else machines):
                        made(changes, "machine", name, f"vm{place}", display_name=f"vm{place}", **machine)
                # As if they had been running for long.
                unit.db.execute(sa.delete(MACHINE_JOBS))
                unit.db.execute(sa.update(MACHINE_STATES).values(power=Power.ON.value, wanted=Power.ON.value))
                unit.settle()
    return time.perf_counter() - began


class Plane:
    """A ``t1edge control serve`` on a directory."""

    def __init__(self, data: Path) -> None:
        self.address = f"unix:{data}/control.sock"
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "edge.cli", "control", "serve", "--data", str(data)),
                *("--listen", self.address, "--metrics", "127.0.0.1:0"),
            ],
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stderr is not None
        self.metrics = next(line for line in self.process.stderr if "metrics on" in line).split()[-1]
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def value(self, series: str) -> float:
        """A series of the metrics."""
        try:
            with urllib.request.urlopen(self.metrics, timeout=30) as page:  # noqa: S310 - our own address
                found = re.search(rf"^{re.escape(series)} (\S+)$", page.read().decode(), re.MULTILINE)
        except OSError:
            return 0.0  # it is too busy at the moment
        return float(found[1]) if found else 0.0

    def agreed(self, edges: int) -> float:
        """Wait until so many edges run what they should; the seconds since the start."""
        while self.value("t1edge_control_edges_agreed") < edges:
            assert self.process.poll() is None, "the control plane has ended"
            time.sleep(LOOKING_S)
        return time.perf_counter() - self.began

    def pushes(self) -> float:
        """How many there have been."""
        return sum(self.value(f't1edge_control_pushes_total{{kind="{kind}",result="OK"}}') for kind in KINDS)

    def stop(self) -> float:
        """End it; the seconds that took."""
        began = time.perf_counter()
        self.process.terminate()
        self.process.wait()
        return time.perf_counter() - began


def administrator(data: Path, address: str) -> str:
    """The provider's first login: the token of the session."""
    with ControlClient(address) as client:
        request = enrolled(client, "orgs/system", "administrator", (data / FIRST_LOGIN).read_text().strip())
        return str(client.call("SessionService/ConfirmSecondFactor", request)["session"]["token"])


class Here:
    """The same in this process, so that packets can be asked of its edges."""

    def __init__(self, data: Path, stack: contextlib.ExitStack) -> None:
        surroundings = Surroundings()
        found = stack.enter_context(opened(ControlSettings(data, "unix:none"), surroundings))
        self.metrics = ControlMetrics(dict, dict, "bench")
        plans = Plans(plan_checked)
        self.fleet = Fleet(
            found.store, data / EDGES, planned, self.metrics, lambda address: dialled(address, None), plans=plans
        )
        self.dispatcher = Dispatcher(
            found.store, found.vault, found.passwords, self.metrics, check=plans.check, fleet=self.fleet
        )
        self.loop = asyncio.new_event_loop()
        self.task = self.loop.create_task(self.fleet.run())
        self.settled = self.loop.create_task(serving.settled(self.fleet))
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        stack.callback(self.stop)

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self.loop.run_until_complete(self.task)

    def stop(self) -> None:
        """End the fleet."""
        for task in (self.settled, self.task):
            self.loop.call_soon_threadsafe(task.cancel)
        self.thread.join()

    def change(self, token: str, edge: str, port: int) -> tuple[float, float]:
        """Change a rule; the milliseconds until that is answered, and until a packet is judged by it."""
        gateway = self.fleet.gateway(edge)
        assert gateway is not None
        frame = build_frame(parse_packet(f"tcp 10.20.0.1:4000 > 198.51.100.7:{port} S"))
        began = time.perf_counter()
        rule = {"name": f"{edge}/firewallRules/r0", "raw_port_protocols": [_tcp(port)]}
        name = "FirewallService/UpdateFirewallRule"
        message = REQUESTS[name](update_mask={"paths": ["raw_port_protocols"]}, firewall_rule=rule)
        _, status = self.dispatcher.call(name, message, f"Bearer {token}")
        assert status is None, status
        answered = time.perf_counter() - began
        while gateway.edge.process("LAN", frame, time.monotonic_ns()).verdict is not Verdict.ALLOW:
            time.sleep(0.002)  # between two looks
        return answered * 1e3, (time.perf_counter() - began) * 1e3


def changed(data: Path, token: str, tenants: int, changes: int) -> list[tuple[float, float]]:
    """Changes of rules over random edges, at a rate; see :meth:`Here.change`."""
    rng = random.Random(1)  # noqa: S311 - only spreads the load
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(16) as pool:
        before = sys.getswitchinterval()
        stack.callback(sys.setswitchinterval, before)
        sys.setswitchinterval(serving.SWITCH_S)
        here = Here(data, stack)
        while here.fleet.agreed() < tenants:
            time.sleep(0.1)
        due = time.perf_counter()
        waiting = []
        for number in range(changes):
            edge = f"orgs/US{rng.randrange(tenants) + 1}/edges/T1"
            waiting.append(pool.submit(here.change, token, edge, 20_000 + number))
            due += 1 / RATE
            time.sleep(max(due - time.perf_counter(), 0))
        return [future.result() for future in waiting]


def _shown(values: list[float]) -> str:
    values = sorted(values)
    return f"p50 {statistics.median(values):.0f}, p99 {values[int(len(values) * 0.99)]:.0f}, max {values[-1]:.0f} ms"


def _tcp(port: int) -> dict[str, Any]:
    return {"layer4_item": {"protocol": "TCP", "destination_ports": [str(port)]}}


def rate(plane: Plane, token: str, call: Callable[[ControlClient, int], Any], threads: int) -> float:
    """Calls a second of several clients at once."""
    counts = [0] * threads
    until = time.perf_counter() + SECONDS

    def work(place: int) -> None:
        with ControlClient(plane.address, token) as client:
            while time.perf_counter() < until:
                call(client, place)
                counts[place] += 1

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))
    return sum(counts) / SECONDS


def resident(process: int) -> float:
    """Megabytes of memory."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+)", status)
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    """Print what is measured, a line each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tenants", type=int, default=1_000)
    parser.add_argument("--rules", type=int, default=100)
    parser.add_argument("--machines", type=int, default=5, help="of each tenant")
    parser.add_argument("--changes", type=int, default=400)
    parser.add_argument("directory", type=Path, nargs="?")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        data = given.directory or Path(made) / "data"
        if not data.exists():
            print(f"filled in {filled(data, given.tenants, given.rules, given.machines):.1f} s", flush=True)
        plane = Plane(data)
        try:
            print(f"first start: all agree in {plane.agreed(given.tenants):.1f} s", flush=True)
            token = administrator(data, plane.address)
            print(f"memory {resident(plane.process.pid):.0f} MB; end in {plane.stop():.1f} s", flush=True)
            plane = Plane(data)
            print(f"restart: all agree in {plane.agreed(given.tenants):.1f} s, {plane.pushes():.0f} pushes", flush=True)
            reads = rate(plane, token, _read, 4)
            writes = rate(plane, token, _write, 4)
            print(f"reads {reads:.0f}/s, writes {writes:.0f}/s", flush=True)
            rule_page, machine_page = rate(plane, token, _rule_page, 1), rate(plane, token, _machine_page, 1)
            shown = f"a page of {PAGE} rules in {1e3 / rule_page:.1f} ms, of machines in {1e3 / machine_page:.1f} ms"
            print(shown, flush=True)
            print(f"memory {resident(plane.process.pid):.0f} MB", flush=True)
        finally:
            plane.stop()
        found = changed(data, token, given.tenants, given.changes)
        print(f"a rule, {RATE} changes a second: answered {_shown([answered for answered, _ in found])}", flush=True)
        print(f"a packet is judged by it: {_shown([judged for _, judged in found])}", flush=True)


def _read(client: ControlClient, place: int) -> None:
    client.call("FirewallService/GetFirewallRule", {"name": f"orgs/US{place + 1}/edges/T1/firewallRules/r1"})


def _rule_page(client: ControlClient, place: int) -> None:
    request = {"parent": f"orgs/US{place + 1}/edges/T1", "pageSize": PAGE}
    client.call("FirewallService/ListFirewallRules", request)


def _machine_page(client: ControlClient, _: int) -> None:
    client.call("MachineService/ListMachines", {"parent": "orgs/US1/vdcs/MIA-US1P1", "pageSize": PAGE})


def _write(client: ControlClient, place: int) -> None:
    org = {"name": f"orgs/US{place + 1}", "displayName": f"now {time.perf_counter()}"}
    client.call("OrgService/UpdateOrg", {"org": org, "updateMask": "displayName"})


if __name__ == "__main__":
    main()
