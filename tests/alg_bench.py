"""Control sessions of FTP and TFTP on a bench: handshakes done, lines said by either end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edge.addresses import PortRange
from edge.firewall.config import ApplicationPortProfile, FirewallRule, Service
from edge.firewall.system_profiles import system_profile
from edge.model import STRICT_RFC_TIMERS, EdgeConfig, Options, Profile, Timers
from edge.packets.payload import show_payload
from edge.reference import ReferenceEdge
from edge.runtime import Edge
from edge.state import SessionInfo
from edge.trace import Tracer, TraceResult
from edge.verdicts import Endpoints, StepResult
from tests.support import acme, nat, network, rule

AnyEdge = Edge | ReferenceEdge
Make = Callable[[EdgeConfig], AnyEdge]

SERVER, SERVER6 = "10.20.0.5", "2001:db8:20::5"  # inside
CLIENT, CLIENT6 = "10.20.0.50", "2001:db8:20::50"
OUTSIDE, OUTSIDE6 = "198.51.100.9", "2001:db8:beef::9"
DMZ_SERVER = "10.30.0.5"
PUBLISHED = nat("pub-ftp", "DNAT", "203.0.113.11", SERVER)
PUBLISHED6 = nat("pub-ftp6", "DNAT", "2001:db8:ff::10", SERVER6)
IN_DMZ = nat("pub-dmz", "DNAT", "203.0.113.11", DMZ_SERVER)
WAY_OUT = nat("internet", "SNAT", "203.0.113.10", "10.20.0.0/24")
WAY_OUT6 = nat("internet6", "SNAT", "2001:db8:ff::10", "2001:db8:20::/64")
HIDDEN = nat("hide", "SNAT", "203.0.113.10", "198.51.100.0/24")
"""Outside clients, as a machine on a service interface sees them."""


OWN = ApplicationPortProfile("own", "own-ftp", "TENANT", (Service(6, (PortRange(21, 21),)),))
OUT = f"tcp {CLIENT}:40000 > {OUTSIDE}:21 S"
OUT6 = f"tcp [{CLIENT6}]:40000 > [{OUTSIDE6}]:21 S"
IN = f"tcp {OUTSIDE}:40000 > {SERVER}:21 S"
IN6 = f"tcp [{OUTSIDE6}]:40000 > [{SERVER6}]:21 S"
CALLED = f"tcp {OUTSIDE}:40000 > 203.0.113.11:21 S"
CALLED6 = f"tcp [{OUTSIDE6}]:40000 > [2001:db8:ff::10]:21 S"


def with_profile(name: str, *profiles: str, logging: bool = False, **sides: str) -> FirewallRule:
    """A rule for profiles that VMware ships."""
    found = [system_profile(item) for item in profiles]
    return replace(rule(name, logging=logging, **sides), profiles=tuple(item for item in found if item is not None))


FTP = with_profile("ftp", "FTP")
TFTP = with_profile("tftp", "TFTP")


def ftp_edge(
    *nat_rules: object, options: Options | None = None, firewall: tuple[FirewallRule, ...] = (FTP, TFTP)
) -> EdgeConfig:
    """An edge whose firewall lets control sessions pass and nothing else."""
    networks = [
        network("LAN", "10.20.0.1/24", "2001:db8:20::1/64"),
        network("DMZ", "10.30.0.1/24", kind="NON_DISTRIBUTED"),
    ]
    return acme(networks=networks, firewall=firewall, nat_rules=nat_rules, options=options or ports("1024-65535"))


def ports(text: str, **more: object) -> Options:
    """Options with a range of external ports."""
    return replace(Options(snat_port_range=PortRange.parse(text)), **more)  # type: ignore[arg-type]


def expected(results: list[TraceResult]) -> str | None:
    """The session that the last packet announced."""
    return next((step.after for step in results[-1].steps if step.result is StepResult.EXPECT), None)


def outputs(results: list[TraceResult]) -> list[str]:
    return [f"{output.port} {output.packet}" for output in results[-1].outputs]


def why(results: list[TraceResult]) -> str:
    return f"{results[-1].verdict.name} {results[-1].reason.name}"


def steps(results: list[TraceResult]) -> list[str]:
    return [" ".join(filter(None, (step.stage.name, step.result.name, step.rule_id))) for step in results[-1].steps]


class Control:
    """A control connection of FTP whose handshake is over; ``tracer`` sends anything else on the same edge."""

    def __init__(self, edge: AnyEdge, syn: str, tracer: Tracer | None = None) -> None:
        self.edge = edge
        self.tracer = tracer or Tracer(edge)
        before = [(item.original, item.in_port) for item in edge.sessions()]
        assert why(self.tracer.send(syn)) == "ALLOW FW_RULE"
        self.info = next(item for item in edge.sessions() if (item.original, item.in_port) not in before)
        self.tracer.reply("SA")
        self.tracer.reply("A")

    def say(self, data: bytes, more: str = "") -> list[TraceResult]:
        """The client sends something."""
        return self._send(self.info.original, self.info.in_port, data, more)

    def answer(self, data: bytes, more: str = "") -> list[TraceResult]:
        """The server sends something."""
        seen = self.info.translated
        return self._send(Endpoints(seen.dst, seen.dport, seen.src, seen.sport), self.info.out_port, data, more)

    def _send(self, ends: Endpoints, port: str, data: bytes, more: str) -> list[TraceResult]:
        flags, _, rest = more.partition(" ") if more and "=" not in more.split(maxsplit=1)[0] else ("PA", "", more)
        payload = f'data="{show_payload(data)}"' if data else ""
        left, right = (
            f"[{address}]:{port}" if address.version == 6 else f"{address}:{port}"
            for address, port in ((ends.src, ends.sport), (ends.dst, ends.dport))
        )
        return self.tracer.send(f"tcp {left} > {right} {flags} {rest} in={port} {payload}")


def payload_of(results: list[TraceResult]) -> bytes:
    """TCP payload of the last output, by its bytes."""
    frame = results[-1].outputs[-1].frame
    at = 14 + ((frame[14] & 15) * 4 if frame[14] >> 4 == 4 else 40)
    return frame[at + (frame[at + 12] >> 4) * 4 :]


def session_of(edge: AnyEdge, text: str) -> SessionInfo:
    """The live session whose first packet entered with this source."""
    return next(item for item in edge.sessions() if f"{item.original.src}:{item.original.sport}" == text)


def said(control: Control, line: str, ending: bytes = b"\r\n") -> list[TraceResult]:
    """``> PORT ...`` from the client, ``< 227 ...`` from the server."""
    data = line[2:].encode("latin-1") + ending
    return control.say(data) if line.startswith(">") else control.answer(data)


def port_line(number: int) -> str:
    return f"> PORT 10,20,0,50,{number >> 8},{number & 255}"


def hairpin_edge(outside: str, profile: Profile = Profile.NSX) -> EdgeConfig:
    """A published server, and clients behind the same edge that leave as ``outside``."""
    way_out = nat("internet", "SNAT", outside, "10.20.0.0/24")
    timers = STRICT_RFC_TIMERS if profile is Profile.STRICT_RFC else Timers()
    return ftp_edge(PUBLISHED, way_out, options=ports("1024-65535", profile=profile, timers=timers))


def hairpin_control(make: Make, config: EdgeConfig, outside: str) -> Control:
    """One of them has called the server by its public address, and waits for its call at port 51210."""
    control = Control(make(config), f"tcp {CLIENT}:40000 > 203.0.113.11:21 S")
    named = outside.replace(".", ",")
    assert payload_of(said(control, "> PORT 10,20,0,50,200,10")) == f"PORT {named},200,10\r\n".encode()
    return control
