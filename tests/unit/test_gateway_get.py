"""What a served edge tells of its configuration, and what becomes of that where it comes back."""

from __future__ import annotations

import asyncio
import json

import pytest

from edge.document import from_data
from edge.errors import (
    DocumentError,
    RevisionUnknownError,
)
from edge.masking import PLACEHOLDER
from tests.gateways import run, served
from tests.support import SAMPLE


def test_the_document_is_complete_hides_secrets_and_can_be_applied_again() -> None:
    async def test() -> None:
        text = SAMPLE.replace("ipsecTunnels: []", "ipsecTunnels: [{name: t, preSharedKey: s3cret}]")
        async with served() as gateway:
            await gateway.apply(text, allow_unsupported=True)
            info, document = await asyncio.to_thread(gateway.document)
            assert info == gateway.running
            assert "s3cret" not in document
            data = json.loads(document)
            assert data["ipsecTunnels"][0]["preSharedKey"] == PLACEHOLDER
            assert all(rule["id"] for rule in data["firewallRules"]["userDefinedRules"])
            assert from_data(data, allow_unsupported=True).config == gateway.edge.config
            same = await gateway.apply(document, allow_unsupported=True)
            assert (same.revision, list(same.changes)) == (info, [])
            data["firewallRules"]["userDefinedRules"].pop()
            await gateway.apply(json.dumps(data), allow_unsupported=True)
            stored = gateway.store.get(gateway.running.number)
            assert stored is not None
            assert "s3cret" in stored.document
            first = await asyncio.to_thread(gateway.document, 1)
            assert first[0].number == 1
            with pytest.raises(RevisionUnknownError):
                await asyncio.to_thread(gateway.document, 99)

    run(test)


def test_a_placeholder_for_a_secret_that_is_not_there_is_told() -> None:
    async def test() -> None:
        text = SAMPLE.replace("ipsecTunnels: []", f"ipsecTunnels: [{{name: t, preSharedKey: '{PLACEHOLDER}'}}]")
        async with served() as gateway:
            with pytest.raises(DocumentError) as caught:
                await gateway.apply(text, allow_unsupported=True)
            (problem,) = caught.value.problems
            assert (problem.code, problem.path, problem.line) == ("INVALID_VALUE", "ipsecTunnels[0].preSharedKey", 28)

    run(test)


def test_a_number_that_json_has_not_is_told() -> None:
    async def test() -> None:
        async with served() as gateway:
            with pytest.raises(DocumentError, match="a number that JSON has not"):
                await gateway.apply(SAMPLE + "bundle: {x: .inf}\n")
            assert gateway.running.number == 1

    run(test)
