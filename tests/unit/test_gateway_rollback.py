"""The return to a stored revision."""

from __future__ import annotations

import pytest

from edge.errors import (
    RevisionUnknownError,
)
from edge.events import ConfigCause
from tests.gateways import OTHER, run, served, verdict


def test_a_rollback_is_a_new_revision_with_an_old_document() -> None:
    async def test() -> None:
        async with served() as gateway:
            first = gateway.running
            await gateway.apply(OTHER)
            with gateway.watch() as reader:
                back = await gateway.rollback(comment="oops")
                (event,) = (await reader.next(5)).events
                assert event.cause is ConfigCause.ROLLED_BACK
            assert (back.revision.number, back.revision.restored_from, back.revision.etag) == (3, 1, first.etag)
            assert len(back.changes) == 1
            assert await verdict(gateway) == "ALLOW"
            assert (await gateway.rollback(2)).revision.restored_from == 2
            assert await verdict(gateway) == "REJECT"
            for number in (99, 1 << 63, (1 << 64) - 1):
                with pytest.raises(RevisionUnknownError, match=f"no revision {number}"):
                    await gateway.rollback(number)
            assert (await gateway.rollback(4)).revision.number == 4

    run(test)


def test_there_may_be_nothing_to_roll_back_to() -> None:
    async def test() -> None:
        async with served() as gateway:
            with pytest.raises(RevisionUnknownError, match="none before revision 1"):
                await gateway.rollback()
            assert gateway.applies == {"refused": 1}
            with pytest.raises(RevisionUnknownError, match="none before revision 1"):
                await gateway.rollback(validate_only=True)
            assert gateway.applies == {"refused": 1}

    run(test)
