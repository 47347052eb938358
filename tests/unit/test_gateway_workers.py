"""A gateway with several workers says when one of them does everything, and why."""

from __future__ import annotations

import pytest

from edge.gateway import Gateway
from edge.workers import Workers
from tests.gateways import run, served
from tests.support import SAMPLE

LIMITED = SAMPLE.replace("options: {}", "options: {maxSessionsPerSource: 5}")


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [record.getMessage() for record in caplog.records if "workers" in record.getMessage()]
    caplog.clear()
    return found


def test_it_is_told_at_the_change_and_at_the_start(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    alone = [
        "one of 3 workers does everything: options.maxSessionsPerSource counts sessions of one machine with everybody"
    ]

    async def test() -> None:
        async with served(workers=3) as gateway:
            assert isinstance(gateway.edge, Workers)
            assert told(caplog) == []
            await change(gateway, LIMITED)
            assert told(caplog) == alone
            assert gateway.edge.reasons_for_one
            await change(gateway, SAMPLE)
            assert told(caplog) == ["3 workers divide the packets again"]
        async with served(LIMITED, workers=3) as gateway:
            assert told(caplog) == alone
            assert gateway.edge.workers == 3

    run(test)


async def change(gateway: Gateway, text: str) -> None:
    assert (await gateway.apply(text)).changes
