"""Traces of a served edge: packets of connections that are open on it."""

from __future__ import annotations

import pytest

from edge.gateway import Gateway
from edge.trace import Tracer
from edge.verdicts import Endpoints, Verdict
from tests.gateways import WEB, run, served
from tests.support import SAMPLE

FTP = SAMPLE.replace("{name: out, ", "{name: out, applicationPortProfiles: [FTP], ")
"""Machines may go out by FTP only, and what they announce is rewritten."""
OUT = "tcp 10.20.0.50:40000 > 198.51.100.99:21 S"
COMMAND = "PORT 10,20,0,50,200,10\\r\\n"


def text_of(ends: Endpoints) -> str:
    return f"tcp {ends.src}:{ends.sport} > {ends.dst}:{ends.dport}"


def open_connection(gateway: Gateway, syn: str) -> tuple[str, str, Tracer]:
    """A connection of the running edge, with numbers that nobody would guess: how each end writes its packets."""
    live = Tracer(gateway.edge, now_ns=gateway.now_ns())
    assert live.send(f"{syn} seq=3000000000")[0].verdict is Verdict.ALLOW
    (session,) = gateway.edge.sessions()
    seen = session.translated
    there, back = text_of(session.original), text_of(Endpoints(seen.dst, seen.dport, seen.src, seen.sport))
    assert live.send(f"{back} SA seq=99 ack=3000000001")[0].verdict is Verdict.ALLOW
    assert live.send(f"{there} A seq=3000000001 ack=100")[0].verdict is Verdict.ALLOW
    return there, back, live


async def traced(gateway: Gateway, *packets: str) -> list[str]:
    results = (await gateway.trace(packets)).results
    return [f"{result.verdict.name} {result.reason.name}" for result in results]


@pytest.mark.parametrize("syn", [WEB, OUT.replace(":21 ", ":80 ")], ids=["behind DNAT", "behind SNAT"])
def test_either_end_goes_on(syn: str) -> None:
    async def test() -> None:
        async with served() as gateway:
            there, back, _ = open_connection(gateway, syn)
            before = gateway.edge.sessions(), gateway.edge.stats()
            passed = "ALLOW SESSION"
            assert await traced(gateway, f"{there} PA len=10", f"{back} A", f"{back} FA") == [passed] * 3
            assert await traced(gateway, f"{back} PA len=10", f"{there} A", f"{there} R") == [passed] * 3
            assert await traced(gateway, f"{there} A seq=1") == ["DROP TCP_WINDOW"]
            assert (gateway.edge.sessions(), gateway.edge.stats()) == before

    run(test)


def test_either_end_goes_on_where_numbers_are_shifted() -> None:
    async def test() -> None:
        async with served(FTP) as gateway:
            there, back, live = open_connection(gateway, OUT)
            (said,) = live.send(f'{there} PA seq=3000000001 ack=100 data="{COMMAND}"')
            assert len(said.outputs[0].frame) == 54 + 26
            (listed,) = (await gateway.trace([f"{there} PA len=6"])).results
            assert (listed.verdict, listed.outputs[0].frame[38:42]) == (Verdict.ALLOW, (3000000027).to_bytes(4, "big"))
            (answer,) = (await gateway.trace([f"{back} PA len=5"])).results
            assert (answer.verdict, answer.outputs[0].frame[42:46]) == (Verdict.ALLOW, (3000000025).to_bytes(4, "big"))
            assert answer.session is not None
            assert answer.session.packets == (3, 2)
            assert await traced(gateway, f"{back} R", f"{there} A") == ["ALLOW SESSION", "ALLOW SESSION"]

    run(test)


def test_sessions_that_are_to_be_ignored_have_no_numbers() -> None:
    async def test() -> None:
        async with served() as gateway:
            there, _, _ = open_connection(gateway, WEB)
            found = (await gateway.trace([f"{there} S seq=5", f"{there} A"], ignore_sessions=True)).results
            assert [result.reason.name for result in found] == ["FW_RULE", "SESSION"]

    run(test)
