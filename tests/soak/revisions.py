"""Two configurations by turns, made so that a packet judged by parts of both would show.

Every probe is permitted by each of them, and by no mixture: what NAT of one makes of it, the firewall of the other
rejects by a rule of its own.  What left says which of the two it was.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

from edge.verdicts import Verdict
from tests.serve.process import frame
from tests.support import SAMPLE

FIRST, SECOND = 0, 1
NAMES = "AB"
PORTS = (8001, 8002)
"""Where a probe from outside is sent on to, by the one and the other."""
SOURCES = ("203.0.113.12", "203.0.113.13")
"""Where a probe from inside seems to come from."""

PROBED, INSIDE, OUTSIDE = "203.0.113.11", "10.20.0.11", "198.51.100.5"
TARGET, OUT_PORT, IN_PORT = "10.20.0.10", 9000, 81
STEADY_HOST = "10.20.0.20"

_OPTIONS = "{maxSessions: 200000, timers: {udpFirst: 4, udpSingle: 4, tcpFirst: 4, tcpOpening: 4, icmpFirst: 4}}"


def document(which: int, number: int) -> str:
    """One of the two; ``number`` makes each different from those before."""
    here, there = which, 1 - which
    text = SAMPLE.replace("options: {}", f"options: {_OPTIONS}").replace("LAN-ACME", "LAN")
    text = text.replace("endAddress: 203.0.113.11", "endAddress: 203.0.113.13")
    text = text.replace("internalAddresses: 10.20.0.10", f"internalAddresses: {STEADY_HOST}", 1)
    text = text.replace(
        "firewallGroups:\n",
        "firewallGroups:\n"
        f"  - {{name: as-A, typeValue: IP_SET, ipAddresses: [{SOURCES[0]}]}}\n"
        f"  - {{name: as-B, typeValue: IP_SET, ipAddresses: [{SOURCES[1]}]}}\n",
    )
    text = text.replace(
        "applicationPortProfiles:\n",
        "applicationPortProfiles:\n"
        f'  - {{name: to-A, applicationPorts: [{{protocol: UDP, destinationPorts: ["{PORTS[0]}"]}}]}}\n'
        f'  - {{name: to-B, applicationPorts: [{{protocol: UDP, destinationPorts: ["{PORTS[1]}"]}}]}}\n',
    )
    text = text.replace(
        "  userDefinedRules:\n",
        "  userDefinedRules:\n"
        f"    - {{name: in, actionValue: ALLOW, applicationPortProfiles: [to-{NAMES[here]}], logging: true}}\n"
        f"    - {{name: in-mixed, actionValue: REJECT, applicationPortProfiles: [to-{NAMES[there]}]}}\n"
        f"    - {{name: out-probe, actionValue: ALLOW, sourceFirewallGroups: [as-{NAMES[here]}]}}\n"
        f"    - {{name: out-mixed, actionValue: REJECT, sourceFirewallGroups: [as-{NAMES[there]}]}}\n",
    )
    text = text.replace(
        "natRules:\n",
        "natRules:\n"
        f'  - {{name: probe-in, type: DNAT, externalAddresses: {PROBED}, dnatExternalPort: "{IN_PORT}",\n'
        f"     internalAddresses: {TARGET}, applicationPortProfile: to-{NAMES[here]}, priority: 20}}\n"
        f"  - {{name: probe-out, type: SNAT, externalAddresses: {SOURCES[here]}, internalAddresses: {INSIDE},\n"
        "     firewallMatch: MATCH_EXTERNAL_ADDRESS, priority: 20}\n",
    )
    return text.replace("{name: out,", f"{{name: out-{number},")


def probes() -> Iterator[tuple[str, bytes]]:
    """Ports and frames of new flows, one from outside and one from inside by turns, for ever."""
    inward = bytearray(frame(f"udp {OUTSIDE}:1024 > {PROBED}:{IN_PORT}"))
    outward = bytearray(frame(f"udp {INSIDE}:1024 > {OUTSIDE}:{OUT_PORT}"))
    for data in (inward, outward):
        data[40:42] = b"\0\0"  # no checksum
    far, host = int(IPv4Address("198.18.0.0")), 0
    while True:
        host = host % 0xFFFF + 1
        for port in range(2048, 32_000):
            struct.pack_into("!H", inward, 34, port)
            struct.pack_into("!H", outward, 34, port)
            # Another far end after each round, so that no port that the kernel's own probes use is met.
            for data, at in ((inward, 26), (outward, 30)):
                struct.pack_into("!I", data, at, far + host)
                data[24:26] = b"\0\0"
                total = sum(struct.unpack("!10H", data[14:34]))
                struct.pack_into("!H", data, 24, ~(total % 0xFFFF) & 0xFFFF)
            yield "INTERNET", bytes(inward)
            yield "LAN", bytes(outward)


def judged_by(port: str, verdict: Verdict, left: bytes) -> int | None:
    """Which of the two let a probe pass that came in by ``port`` and left as the frame ``left``; None: neither."""
    if verdict is not Verdict.ALLOW:
        return None
    if port == "INTERNET":
        found, places = struct.unpack_from("!H", left, 36)[0], PORTS
        return places.index(found) if found in places else None
    source = str(IPv4Address(left[26:30]))
    return SOURCES.index(source) if source in SOURCES else None
