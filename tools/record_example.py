#!/usr/bin/env python3
"""Record ``examples/acme/capture.pcapng``: real programs talking through a Linux router in the place of the edge.

      internet (one namespace, many addresses)
          |  up0        203.0.113.0/24, 2001:db8:0:ff::/64
        router          Linux, nftables: the translations of examples/acme/edge.yaml, and nothing finer than it needs
          |  office0    10.20.0.0/24,  2001:db8:20::/64   office
          |  dmz0       10.20.10.0/24, 2001:db8:21::/64   dmz

Everything happens in four network namespaces that this script makes and removes, also when a step fails or it is
interrupted; it ends only processes that it started.  Offloads are off, so every frame fits the MTU and bears a
complete checksum.

A router sees each packet twice.  What an edge must be shown is each packet once, on its way in, so of every flow only
the leg of its initiator is kept: there the packets still bear the addresses that they had before any translation, and
their replies bear them again.  ``t1edge replay`` maps such replies to what the far end really sent.  The PBX is
translated without state, so nothing could map its replies: of its packets, each is kept on the leg where it came in.
What the router says on its own behalf, and ARP, neighbour and multicast listener discovery, are left out.

    sudo python3 tools/record_example.py [--output FILE]

needs ip, nft, ethtool, tcpdump, curl, dig, dnsmasq, iperf3, nc (OpenBSD), openssl, ping, ssh, sshd.  About 20 seconds.
A new recording has other ports and counts than the last one; the tests say which numbers in the documentation moved.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn

from record_example_lab import READY_TIMEOUT_S, Lab
from record_example_merge import LEGS, merge
from record_example_servers import start_servers

PROGRAMS = (
    *("ip", "nft", "ethtool", "ss", "sysctl", "tcpdump", "curl", "dig", "dnsmasq", "iperf3", "nc", "openssl", "ping"),
    *("ssh", "ssh-keygen", "sshd"),
)
DEFAULT_OUTPUT = Path(__file__).resolve().parent.parent / "examples" / "acme" / "capture.pcapng"


def ssh(lab: Lab, source: str, target: str, port: int, task: str) -> str:
    """The command line of a login from ``source`` that runs ``task``, one word or several."""
    options = "-o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=2"
    return f"ssh -F /dev/null {options} -i {lab.work / 'user'} -b {source} -p {port} root@{target} {task}"


def inbound(lab: Lab) -> None:
    """What the world wants of ACME, and may have."""
    get = "curl -s -k -m 3 -o /dev/null --interface"
    lab.talk(("internet", f"{get} 198.51.100.99 http://203.0.113.11/"))
    lab.talk(("internet", f"{get} 198.51.100.99 http://203.0.113.11/catalogue.pdf"))
    lab.talk(
        ("internet", f"{get} 198.51.100.99 https://203.0.113.11/"),
        ("internet", f"{get} 198.51.100.200 https://203.0.113.11/"),
        ("internet", f"{get} 2001:db8:feed::99 http://[2001:db8:21::10]/"),
        ("internet", f"{get} 2001:db8:feed::99 http://[2001:db8:21::10]/catalogue.pdf"),
    )
    ask = "dig +tries=1 +time=1"
    lab.talk(
        ("internet", f"{ask} -b 198.51.100.53 @203.0.113.13 www.acme.example A"),
        ("internet", f"{ask} -b 198.51.100.53 @203.0.113.13 www.acme.example AAAA"),
        ("internet", f"{ask} -b 198.51.100.53 +tcp @203.0.113.13 acme.example MX"),
        ("internet", f"{ask} -b 2001:db8:feed::53 @2001:db8:21::53 www.acme.example AAAA"),
    )
    mail = "curl -s -m 3 --mail-from a@example.net --mail-rcpt info@acme.example -T - --interface"
    letter = "Subject: anvils\r\n\r\nHow much is one?\r\n"
    lab.talk(("internet", f"{mail} 192.0.2.25 smtp://203.0.113.12/example.net"), text=letter)
    lab.talk(("internet", f"{mail} 2001:db8:feed::99 smtp://[2001:db8:21::25]/example.net"), text=letter)
    lab.talk(("internet", ssh(lab, "198.51.100.5", "203.0.113.14", 2222, "uptime")))
    lab.talk(("internet", "nc -u -w 1 -s 198.51.100.99 -p 40004 203.0.113.14 20004"), text="RTP " * 40)
    lab.talk(
        ("internet", "nc -u -w 1 -s 192.0.2.81 -p 5060 203.0.113.15 5060"), text="OPTIONS sip:acme SIP/2.0\r\n\r\n"
    )
    lab.talk(("internet", "iperf3 -c 203.0.113.14 -B 198.51.100.99 -n 60K -l 10K"))
    lab.talk(
        ("internet", "ping -c 3 -i 0.3 -I 198.51.100.200 203.0.113.10"),
        ("internet", "ping -c 3 -i 0.3 -I 2001:db8:feed::99 2001:db8:21::10"),
    )


def outbound(lab: Lab) -> None:
    """What ACME does all day."""
    get = "curl -s -k -m 3 -o /dev/null --interface"
    ask = "dig +tries=1 +time=1"
    lab.talk(
        ("office", f"{ask} -b 10.20.0.50 @198.51.100.53 www.example.net A"),
        ("office", f"{ask} -b 10.20.0.51 @198.51.100.53 www.example.net A"),
        ("office", f"{ask} -b 2001:db8:20::50 @2001:db8:feed::53 www.example.net A"),
        ("dmz", f"{ask} -b 10.20.10.25 @198.51.100.53 www.example.net MX"),
    )
    lab.talk(
        ("office", f"{get} 10.20.0.50 http://198.51.100.80/catalogue.pdf"),
        ("office", f"{get} 10.20.0.51 http://198.51.100.80/"),
        ("office", f"{get} 10.20.0.51 https://198.51.100.80/"),
        ("office", f"{get} 2001:db8:20::50 http://[2001:db8:feed::80]/catalogue.pdf"),
        ("dmz", f"{get} 10.20.10.10 http://198.51.100.80/"),
        ("dmz", f"{get} 2001:db8:21::10 http://[2001:db8:feed::80]/"),
    )
    mail = "curl -s -m 3 --mail-from info@acme.example --mail-rcpt a@example.net -T -"
    answer = "Subject: Re: anvils\r\n\r\nMore than a roadrunner.\r\n"
    lab.talk(("office", f"{mail} --interface 10.20.0.50 smtp://10.20.10.25:587/office"), text=answer)
    lab.talk(("dmz", f"{mail} --interface 10.20.10.25 smtp://192.0.2.25/mail.acme.example"), text=answer)
    lab.talk(("dmz", "nc -u -w 1 -s 10.20.10.40 -p 5061 192.0.2.80 5060"), text="REGISTER sip:example SIP/2.0\r\n\r\n")
    lab.talk(("office", "iperf3 -c 198.51.100.99 -B 10.20.0.50 -n 60K -l 10K"))
    lab.talk(
        ("office", "ping -c 3 -i 0.3 -I 10.20.0.50 198.51.100.99"),
        ("office", "ping -c 3 -i 0.3 -I 2001:db8:20::50 2001:db8:feed::99"),
        ("office", "ping -c 2 -i 0.3 -I 10.20.0.50 10.20.0.1"),
        ("dmz", "ping -c 2 -i 0.3 -I 10.20.10.10 198.51.100.99"),
        ("office", "nc -u -w 1 -s 10.20.0.30 -p 123 198.51.100.123 123"),
        text="time, please",
    )


def between(lab: Lab) -> None:
    """Office and DMZ: what they may, and what they may not."""
    lab.talk(
        ("office", "curl -s -m 3 -o /dev/null --interface 10.20.0.51 http://10.20.10.10:8080/"),
        ("office", "curl -s -m 3 -o /dev/null --interface 2001:db8:20::50 http://[2001:db8:21::10]/"),
        ("office", "curl -s -m 3 -o /dev/null --interface 10.20.0.50 http://203.0.113.11/"),
        ("office", ssh(lab, "10.20.0.10", "10.20.10.22", 22, "uptime")),
        ("office", "ping -c 2 -i 0.3 -I 10.20.0.10 10.20.10.53"),
    )
    lab.talk(("dmz", "nc -N -w 1 -s 10.20.10.10 10.20.0.30 5432"), text="SELECT price FROM anvils;\n")
    lab.talk(
        ("office", "nc -z -w 1 -s 10.20.0.50 10.20.10.22 22"),
        ("office", "ping -c 1 -W 1 -I 10.20.0.50 10.20.10.53"),
        ("dmz", "nc -z -w 1 -s 10.20.10.10 10.20.0.50 22"),
        ("dmz", "nc -z -w 1 -s 10.20.10.25 10.20.0.30 5432"),
        ("dmz", "ping -c 1 -W 1 -I 10.20.10.10 10.20.0.30"),
    )


def refused(lab: Lab) -> None:
    """What the edge must not let through, for a different reason each."""
    knock = "nc -z -w 1 -s"
    lab.talk(
        ("internet", f"{knock} 192.0.2.66 203.0.113.11 80"),
        ("internet", f"{knock} 192.0.2.66 203.0.113.14 2222"),
        ("internet", f"{knock} 2001:db8:bad::66 2001:db8:21::10 80"),
        ("internet", f"{knock} 198.51.100.99 203.0.113.14 2222"),
        ("internet", f"{knock} 198.51.100.99 203.0.113.11 22"),
        ("internet", f"{knock} 198.51.100.99 203.0.113.11 445"),
        ("internet", f"{knock} 198.51.100.99 203.0.113.11 8080"),
        ("internet", f"{knock} 198.51.100.99 203.0.113.10 3389"),
        ("internet", f"{knock} 192.0.2.25 203.0.113.12 113"),
        ("internet", f"{knock} 2001:db8:feed::99 2001:db8:21::10 22"),
        ("internet", f"{knock} 2001:db8:feed::99 2001:db8:20::50 3389"),
        ("office", f"{knock} 10.20.0.201 198.51.100.80 443"),
        ("office", f"{knock} 10.20.0.51 192.0.2.66 443"),
        ("office", f"{knock} 10.20.0.51 192.0.2.25 25"),
        ("office", f"{knock} 10.20.0.51 198.51.100.99 445"),
        ("office", f"{knock} 10.20.0.50 198.51.100.99 6667"),
        ("office", "curl -s -m 1 -o /dev/null --interface 10.20.0.51 http://169.254.169.254/"),
        ("office", "dig +tries=1 +time=1 -b 10.20.0.51 @192.0.2.53 www.example.net A"),
        ("office", "dig +tries=1 +time=1 -b 10.20.0.201 -p 5353 @224.0.0.251 printer.local PTR"),
        ("office", "ping -c 1 -W 1 -I 10.20.0.10 172.16.99.10"),
        ("office", "ping -c 2 -i 0.3 -W 1 -t 1 -I 10.20.0.10 198.51.100.99"),
    )
    lab.talk(("office", "nc -u -w 1 -s 10.20.0.50 198.51.100.80 443"), text="QUIC " * 240)


def record(output: Path) -> int:
    """Build the lab, run every scene, merge what the three legs saw into ``output``; the number of packets in it."""
    with tempfile.TemporaryDirectory(prefix="t1edge-record-") as directory:
        work = Path(directory)
        with Lab(work) as lab:
            start_servers(lab)
            # This login begins before the recording does: the edge will meet it in the middle.
            task = "while sleep 0.5; do date; n=x$n; test $n != xxxxxxxx || break; done"
            early = lab.start("internet", [*ssh(lab, "198.51.100.5", "203.0.113.14", 2222, "").split(), task])
            first_line(early.stdout)
            tcpdump = ["tcpdump", "-n", "-U", "-Z", "root", "--immediate-mode", "--time-stamp-precision=nano"]
            taps = [lab.start("router", [*tcpdump, "-i", leg, "-w", str(work / f"{leg}.pcap")]) for leg in LEGS]
            for tap in taps:
                first_line(tap.stdout)
            for scene in (inbound, outbound, between, refused):
                scene(lab)
            early.wait(READY_TIMEOUT_S)
            for tap in taps:
                os.killpg(tap.pid, signal.SIGINT)
                tap.wait(READY_TIMEOUT_S)
        return merge({leg: work / f"{leg}.pcap" for leg in LEGS}, output)


def first_line(stream: IO[str] | None) -> None:
    """Wait for the first line of a process's output: it is up."""
    if stream is None or not stream.readline():
        raise RuntimeError("a program ended before it said anything")


def stop(number: int, _frame: FrameType | None) -> NoReturn:
    """Make SIGTERM an exception, so that everything is removed on the way out."""
    sys.exit(128 + number)


def main() -> int:
    """Record.  Returns 1 when a step failed, 2 where something that it needs is missing."""
    parser = argparse.ArgumentParser(description="Record the example's capture (needs root).")
    parser.add_argument("--output", type=Path, default=DEFAULT_OUTPUT)
    arguments = parser.parse_args()
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing or os.geteuid() != 0:
        sys.stderr.write(f"record_example: needs root and {', '.join(missing) or 'nothing else'}\n")
        return 2
    signal.signal(signal.SIGTERM, stop)
    try:
        count = record(arguments.output)
    except (RuntimeError, subprocess.TimeoutExpired, OSError) as error:
        sys.stderr.write(f"record_example: {error}\n")
        return 1
    sys.stdout.write(f"{arguments.output}: {count} packets, {arguments.output.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
