"""The servers of ``tools/record_example.py``: real ones where a machine has them, two small ones of our own.

Run as a program it is one of those two: ``record_example_servers.py smtp|echo ADDRESS PORT``.
"""

from __future__ import annotations

import shutil
import socket
import socketserver
import sys
from collections.abc import Sequence
from pathlib import Path

from record_example_lab import Lab, command


class Greeter(socketserver.StreamRequestHandler):
    """As much of a mail server as a sending client needs to hear (RFC 5321)."""

    def handle(self) -> None:
        """Answer one client until it says QUIT."""
        self.wfile.write(b"220 mail.example ESMTP\r\n")
        in_data = False
        for raw in self.rfile:
            line = raw.rstrip(b"\r\n")
            if in_data:
                in_data = line != b"."
                answer = None if in_data else b"250 queued"
            elif line.upper().startswith(b"DATA"):
                in_data, answer = True, b"354 end with a dot"
            elif line.upper() == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                answer = b"250 mail.example"
            if answer:
                self.wfile.write(answer + b"\r\n")


class Echo(socketserver.DatagramRequestHandler):
    """Sends every datagram back: a far end for SIP and media."""

    def handle(self) -> None:
        """Answer one datagram."""
        self.wfile.write(self.rfile.read())


def serve(kind: str, address: str, port: int) -> None:
    """Be one of the two small servers, until ended."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET

    class Mail(socketserver.ThreadingTCPServer):
        address_family = family
        allow_reuse_address = True

    class Datagrams(socketserver.UDPServer):
        address_family = family

    server = Mail((address, port), Greeter) if kind == "smtp" else Datagrams((address, port), Echo)
    with server:
        server.serve_forever()


def start_servers(lab: Lab) -> None:
    """Start every server and wait until all of them listen."""
    site = lab.work / "www"
    site.mkdir()
    (site / "index.html").write_text("<h1>ACME</h1>\n<p>Anvils, delivered.</p>\n" * 20)
    (site / "catalogue.pdf").write_bytes(bytes(i * 7 & 0xFF for i in range(40_000)))
    key, certificate = lab.work / "tls.key", lab.work / "tls.pem"
    command(
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=www.acme.example "
        f"-keyout {key} -out {certificate}".split()
    )
    for name in ("host", "user"):
        command(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(lab.work / name)])
    Path("/run/sshd").mkdir(exist_ok=True)  # where sshd of every distribution confines itself

    me = [sys.executable, str(Path(__file__).resolve())]
    expected: dict[str, set[str]] = {"internet": set(), "office": set(), "dmz": set()}

    def up(name: str, address: str, port: int, argv: Sequence[str]) -> None:
        expected[name].add(f"{address}:{port}")
        lab.start(name, argv)

    for name, address, port in (
        ("dmz", "10.20.10.10", 8080),
        ("dmz", "2001:db8:21::10", 80),
        ("internet", "198.51.100.80", 80),
        ("internet", "2001:db8:feed::80", 80),
    ):
        argv = [sys.executable, "-m", "http.server", "--bind", address, "--directory", str(site), str(port)]
        up(name, address, port, argv)
    for name, address, port in (("dmz", "10.20.10.10", 8443), ("internet", "198.51.100.80", 443)):
        tls = ["openssl", "s_server", "-quiet", "-www", "-key", str(key), "-cert", str(certificate)]
        up(name, address, port, [*tls, "-accept", f"{address}:{port}"])
    for name, address, port in (
        ("dmz", "10.20.10.25", 25),
        ("dmz", "10.20.10.25", 587),
        ("dmz", "2001:db8:21::25", 25),
        ("internet", "192.0.2.25", 25),
    ):
        up(name, address, port, [*me, "smtp", address, str(port)])
    for name, address, port in (
        ("dmz", "10.20.10.30", 10004),
        ("dmz", "10.20.10.40", 5060),
        ("internet", "192.0.2.80", 5060),
    ):
        up(name, address, port, [*me, "echo", address, str(port)])
    dns = ["dnsmasq", "-k", "-C", "/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces", "--pid-file="]
    records = ["--address=/www.acme.example/203.0.113.11", "--address=/www.acme.example/2001:db8:21::10"]
    records += ["--address=/www.example.net/198.51.100.80", "--mx-host=acme.example,mail.acme.example,10"]
    for name, address in (
        ("dmz", "10.20.10.53"),
        ("dmz", "2001:db8:21::53"),
        ("internet", "198.51.100.53"),
        ("internet", "2001:db8:feed::53"),
    ):
        lo = ["--except-interface=lo"] if name == "dmz" else []
        up(name, address, 53, [*dns, *lo, "--user=root", f"--listen-address={address}", *records])
    for name, address in (("dmz", "10.20.10.30"), ("internet", "198.51.100.99")):
        up(name, address, 5201, ["iperf3", "-s", "-B", address])
    up("office", "10.20.0.30", 5432, ["nc", "-l", "-k", "10.20.0.30", "5432"])
    sshd = [str(shutil.which("sshd")), "-D", "-e", "-f", "/dev/null", "-h", str(lab.work / "host")]
    for option in (
        "ListenAddress=10.20.10.22",
        f"AuthorizedKeysFile={lab.work / 'user.pub'}",
        "PidFile=none",
        "StrictModes=no",
        "UsePAM=no",
        "UseDNS=no",
    ):
        sshd += ["-o", option]
    up("dmz", "10.20.10.22", 22, sshd)
    for name, sockets in expected.items():
        lab.wait_listening(name, sockets)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2], int(sys.argv[3]))
