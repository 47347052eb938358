"""``t1edge serve`` in the middle of a lab, and a lab with more than one address a side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.netns.lab import Lab, Space
from tests.serve.process import Service
from tests.waiting import wait_for


@contextmanager
def populated(clients: Sequence[str], servers: Sequence[str]) -> Iterator[Lab]:
    """A lab with these IPv4 addresses too, and a provider that knows the way to the networks behind the edge."""
    with Lab() as made:
        for address in clients:
            made.client.run("ip", "address", "add", f"{address}/24", "dev", "c0")
        for address in servers:
            made.server.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        made.server.run("ip", "route", "add", "10.20.0.0/24", "via", "203.0.113.10")
        # As a router does: who asks for a neighbour is its address on the link, not the source of what waits for it.
        with made.server.inside():
            Path("/proc/sys/net/ipv4/conf/all/arp_announce").write_text("2", encoding="ascii")
        yield made


def serve(lab: Lab, folder: Path, text: str, workers: int = 1, options: Sequence[str] = ()) -> Service:
    """The edge of a document in the middle, its ports up."""
    file = folder / "edge.yaml"
    file.write_text(text, encoding="utf-8")
    ports = ("--port", "LAN=link:e0", "--port", "INTERNET=link:e1")
    every = (*ports, "--workers", str(workers), *options)
    service = Service(folder, file, *every, prefix=("ip", "netns", "exec", lab.middle.name))
    try:
        for port in ("LAN=link:e0", "INTERNET=link:e1"):
            service.line(f"port {port} is up")
        for space, target in ((lab.client, "10.20.0.1"), (lab.server, "203.0.113.10")):
            wait_for("neighbours", lambda space=space, target=target: known(space, target))
    except BaseException:
        service.end()
        raise
    return service


def known(space: Space, address: str) -> bool:
    """Has the namespace's own stack found the edge?"""
    space.run("ping", "-c", "1", "-W", "1", address, check=False)
    return "lladdr" in space.run("ip", "neighbour", "show", address)
