r"""The story of the manual, from an order to a web page, with the commands of ``t1edge control``.

    outside                edge: t1edge control serve       bridges                machines
    +------------------+   +-------------------------+   +-----------------+    +------------------+
    | tout 203.0.113.1 |-+ | T1-US1134362-USMIA01P   |---| LAN-USMIA01P    |    | web              |
    +------------------+ | |   10.1.0.1              |   |                 |    |                  |
                         | |   10.20.10.1            |---| DMZ ============|----| eth0 10.20.10.10 |
                         | |   203.0.113.10          |-+ |                 |    |                  |
                         | +-------------------------+ | | BACK ===========|----| eth1 10.30.0.10  |
                         |                             | |        =========|-+  +------------------+
                         |                             +-| INTERNET        | |  +------------------+
                         +-------------------------------|                 | +--| eth0 10.30.0.11  |
                                                         +-----------------+    | db               |
                                                                                +------------------+
BACK is isolated.  LAN-USMIA01P came with the data center and has no machine.
"""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from control.api.client import ControlClient
from control.machines.netns.driver import NetnsDriver
from edge.api.client import CallError
from edge.cli.main import cli
from tests.control.world import enrolled
from tests.netns.cloud import curl, go_outside
from tests.netns.control_process import ControlProcess, machines_of
from tests.netns.lab import ROOT, Space
from tests.netns.machines import remove_all
from tests.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.needs("netns", "nft", "overlay", "programs")

ACCOUNT, REGION, OTHER = "US1134362", "USMIA01P", "DOSDQ01P"
EDGE = f"T1-{ACCOUNT}-{REGION}"
PYTHON = str(Path(sys.executable).resolve())
WEB = f"mkdir -p /srv/www; hostname > /srv/www/index.html; exec {PYTHON} -m http.server -d /srv/www 80"


class Person:
    """Somebody with a token, who calls commands."""

    def __init__(self, address: str, token: str) -> None:
        self.address, self.token = address, token
        self.where: tuple[str, ...] = ("--to", address)

    def run(self, noun: str, verb: str, *rest: str, code: int = 0) -> Result:
        command = ["control", noun, verb, *self.where, *rest]
        result = CliRunner().invoke(cli, command, env={"T1EDGE_TOKEN": self.token})
        assert result.exit_code == code, (command, result.output)
        return result

    def json(self, *command: str) -> Any:
        return json.loads(self.run(*command, "--json").stdout)

    def add(self, username: str, role: str) -> Person:
        """Another one, who has logged in."""
        names = ("--first-name", username.title(), "--last-name", "X", "--email", f"{username}@acme.example")
        made = self.json("users", "create", username, "--org", ACCOUNT, "--role", role, *names)
        return logged_in(self.address, ACCOUNT, username, made["oneTimePassword"])


def logged_in(address: str, org: str, username: str, one_time: str) -> Person:
    """The first login, which ends with a code of the authenticator."""
    with ControlClient(address) as client:
        right = enrolled(client, f"orgs/{org}", username, one_time)
        wrong = {**right, "code": f"{(int(right['code']) + 1) % 1_000_000:06}"}
        with pytest.raises(CallError, match="INVALID_CREDENTIALS"):
            client.call("SessionService/ConfirmSecondFactor", wrong)
        confirmed = client.call("SessionService/ConfirmSecondFactor", right)
    return Person(address, confirmed["session"]["token"])


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """Of a control plane of which nothing stays."""
    data = tmp_path / "data"
    yield data
    driver = NetnsDriver(data)
    remove_all(driver)
    driver.close()
    assert not Path("/run/netns", driver.name).exists()
    assert str(data) not in Path("/proc/self/mountinfo").read_text()


def test_the_story_of_the_manual(data: Path) -> None:
    middle, outside = Space("edge"), Space("outside")
    served = ControlProcess(middle, data)
    try:
        one_time = (data / "first-login").read_text().strip()
        provider = logged_in(served.address, "system", "administrator", one_time)
        offered(provider)
        ordered(provider.add("adam", "administrator"))
        maria = provider.add("maria", "organization-administrator")
        tomas = provider.add("tomas", "technical-administrator")
        sam = provider.add("sam", "staff")
        wait_for("the provider's router is there", lambda: "tout" in middle.run("ip", "-o", "link"))
        go_outside(middle, outside)
        built(maria)
        assert wait_for("the web page", lambda: curl(outside)) == "web\n"
        rules(tomas, sam, outside)
        reached(maria, sam)
        lived(maria, outside)
        removed(maria)
        wait_for("no machine is left", lambda: not machines_of(data))
    finally:
        served.end(signal.SIGTERM if served.process.poll() is None else 0)
        for space in (middle, outside):
            space.remove()
    assert served.process.returncode == 0


def offered(provider: Person) -> None:
    """The provider's part, and an organization."""
    for region in (REGION, OTHER):
        provider.run("regions", "create", region)
    internet = ("--gateway-cidr", "203.0.113.1/24", "--pool", "203.0.113.10-203.0.113.39")
    provider.run("providers", "create", "INET", "--region", REGION, *internet)
    provider.run("orgs", "create", ACCOUNT, "--display-name", "Acme")


def ordered(adam: Person) -> None:
    """The Administrator buys a data center: not less than the smallest there is; an edge and a network come with it."""
    order = ("vdcs", "order", "--region", REGION, "--plan", "POOL", "--subscription", "1349404", "--quota")
    assert "vdc.quota.vcpu" in adam.run(*order, "vcpu=10,memoryGb=50,storageGb=200", code=2).output
    made = adam.json(*order, "vcpu=20,memoryGb=50,storageGb=200")
    assert made["vdc"]["name"] == f"orgs/{ACCOUNT}/vdcs/{REGION}-{ACCOUNT}P1349404"
    assert made["edgeGateway"]["name"] == f"orgs/{ACCOUNT}/edges/{EDGE}"
    assert made["edgeGateway"]["publicAddresses"] == ["203.0.113.10"]
    assert made["network"]["gatewayCidrs"] == ["10.1.0.1/24"]
    assert "PERMISSION_DENIED" in adam.run("networks", "list", code=1).output, "who buys does not look inside"


def built(maria: Person) -> None:
    """The Organization administrator's part: networks, machines, rules."""
    owner = ("--owner", f"{REGION}-{ACCOUNT}P1349404")
    routed = ("--network-type", "NAT_ROUTED", "--edge", EDGE, "--gateway-cidr", "10.20.10.1/24")
    maria.run("networks", "create", "DMZ", *owner, *routed, "--static-pool", "10.20.10.10-10.20.10.99")
    isolated = ("--network-type", "ISOLATED", "--gateway-cidr", "10.30.0.1/24")
    maria.run("networks", "create", "BACK", *owner, *isolated, "--static-pool", "10.30.0.10-10.30.0.99")

    size = ("--sizing-policy", "gp.small-01", "--power-on")
    here, there = (f"regions/{region}/templates/debian-10" for region in (REGION, OTHER))
    dmz, back = "network=DMZ,primary=true", "network=BACK"
    wrong = maria.run("vms", "create", "web", "--template", there, *size, "--nic", dmz, code=2).output
    assert 'está etiquetada con la política "DOSDQ01P-VM", que no es válida para este VDC' in " ".join(wrong.split())
    maria.run("vms", "create", "web", "--template", here, *size, "--nic", dmz, "--nic", back, "--start-command", WEB)
    maria.run("vms", "create", "db", "--template", "debian-10", *size, "--nic", back)

    maria.run("ip-sets", "create", "web-srv", "--ip-address", "10.20.10.10")
    maria.run("groups", "create", "dmz", "--member", "DMZ")
    port = '[{"protocol": "TCP", "destinationPorts": ["80"]}]'
    maria.run("profiles", "create", "web-port", "--set", f"applicationPorts={port}")
    allow = ("firewall", "create", "--action-value", "ALLOW")
    maria.run(*allow, "in-web", "--destination-firewall-group", "web-srv", "--application-port-profile", "web-port")
    maria.run(*allow, "out", "--source-firewall-group", "dmz")
    outer = ("--external-addresses", "203.0.113.10", "--internal-addresses")
    maria.run("nat", "create", "web", "--type", "DNAT", *outer, "10.20.10.10", "--dnat-external-port", "80",
              "--application-port-profile", "web-port")  # fmt: skip
    maria.run("nat", "create", "internet", "--type", "SNAT", *outer, "10.20.10.0/24", "--priority", "100")
    shown = maria.json("edges", "get", EDGE)
    assert shown["state"]["status"] == "EDGE_STATUS_REALIZED"


def rules(tomas: Person, sam: Person, outside: Space) -> None:
    """Who may change the rule, and what comes of it; who may only look."""
    tomas.run("firewall", "update", "in-web", "--action-value", "DROP")
    assert curl(outside) == ""
    for command in (
        ("firewall", "update", "in-web", "--action-value", "ALLOW"), ("firewall", "delete", "in-web"),
        ("networks", "delete", "BACK"), ("vms", "power-off", "web"), ("vms", "delete", "web"),
        ("ip-sets", "update", "web-srv", "--ip-address", "10.20.10.11"), ("edges", "add-ip", EDGE, "--quantity", "1"),
    ):  # fmt: skip
        assert "PERMISSION_DENIED" in sam.run(*command, code=1).output, command
    assert sam.json("firewall", "get", "in-web")["actionValue"] == "DROP"
    assert curl(outside) == ""
    tomas.run("firewall", "update", "in-web", "--action-value", "ALLOW")
    assert wait_for("the web page again", lambda: curl(outside)) == "web\n"


def reached(maria: Person, sam: Person) -> None:
    """Programs and consoles in machines."""
    said = maria.run("vms", "exec", "web", "sh", "-c", "hostname; echo oh >&2; exit 4", code=4)
    assert (said.stdout, said.stderr) == ("web\n", "oh\n")
    ping = ("ping", "-c", "1", "-W", "2")
    maria.run("vms", "exec", "web", *ping, "203.0.113.1")
    maria.run("vms", "exec", "web", *ping, "10.30.0.11")
    maria.run("vms", "exec", "db", *ping, "203.0.113.1", code=1)
    assert "PERMISSION_DENIED" in sam.run("vms", "exec", "web", "true", code=1).output
    shown, code = typed(maria, "web", b"stty size; hostname; exit 5\r")
    assert (b"33 99\r\nweb\r\n" in shown, code) == (True, 5), shown
    shown, code = typed(maria, "web", b"hostname\r", b"\x1d")
    assert (b"web\r\n" in shown, code) == (True, 0), shown


def typed(who: Person, machine: str, *keys: bytes) -> tuple[bytes, int]:
    """What a console shows to somebody at a terminal who types, and how the command ends."""
    outer, inner = pty.openpty()
    termios.tcsetwinsize(outer, (33, 99))
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.cli", "control", "vms", "console", *who.where, machine],
        stdin=inner, stdout=inner, stderr=inner, cwd=ROOT, env=os.environ | {"T1EDGE_TOKEN": who.token},
    )  # fmt: skip
    os.close(inner)
    shown = b""
    waiting = list(keys)
    try:
        while True:
            assert select.select([outer], [], [], PATIENCE_S)[0], shown
            try:
                shown += os.read(outer, 4096)
            except OSError:  # the other end is closed
                break
            if waiting and re.search(rb"[#$] (\x1b\[[^a-z]*[a-z])*$", shown):
                os.write(outer, waiting.pop(0))
        return shown, process.wait(PATIENCE_S)
    finally:
        os.close(outer)
        process.kill()
        process.wait()


def lived(maria: Person, outside: Space) -> None:
    """Power, and files that are kept."""
    page = "/srv/www/index.html"
    maria.run("vms", "exec", "web", "sh", "-c", "echo kept > /root/file")
    maria.run("vms", "snapshot", "web")
    maria.run("vms", "exec", "web", "sh", "-c", f"echo lost > /root/file; echo changed > {page}")
    assert curl(outside) == "changed\n"
    maria.run("vms", "power-off", "web")
    assert curl(outside) == ""
    assert "INVALID_POWER_STATE" in maria.run("vms", "exec", "web", "true", code=1).output
    maria.run("vms", "power-on", "web")
    assert wait_for("the web page is back", lambda: curl(outside)) == "web\n"
    assert maria.run("vms", "exec", "web", "cat", "/root/file").stdout == "lost\n"
    maria.run("vms", "revert", "web")
    assert maria.json("vms", "get", "web")["powerState"] == "POWER_STATE_POWERED_OFF"
    assert curl(outside) == ""
    maria.run("vms", "power-on", "web")
    assert maria.run("vms", "exec", "web", "cat", "/root/file").stdout == "kept\n"
    assert wait_for("the web page after all", lambda: curl(outside)) == "web\n"


def removed(maria: Person) -> None:
    """Nothing goes that is used, and machines only when they are off."""
    assert "machines/db" in maria.run("networks", "delete", "BACK", code=1).output
    assert "Stop the vApp and try again" in " ".join(maria.run("vms", "delete", "web", code=1).output.split())
    for machine in ("web", "db"):
        maria.run("vms", "power-off", machine)
        maria.run("vms", "delete", machine)
    assert maria.json("vms", "list") == {"machines": []}
