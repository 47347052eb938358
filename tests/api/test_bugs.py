"""A bug of the edge: the log has all of it, the caller nothing."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from edge.v1 import edge_service_pb2 as pb
from tests.api.served import ServedEdge, expect, out_frame, refused

SECRET = "the-secret-of-a-tunnel"


def broken(*_: Any, **__: Any) -> Any:
    raise RuntimeError(SECRET)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        ("GetStats", "counters"),
        ("GetConfig", "document"),
        ("ListRevisions", "revisions"),
        ("ApplyConfig", "apply"),
        ("Trace", "trace"),
        ("InjectPackets", "inject"),
        ("WatchEvents", "watch"),
    ],
)
def test_a_bug_is_logged_once_and_leaks_nothing(
    served: ServedEdge, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: str, part: str
) -> None:
    request: Any = getattr(pb, f"{call}Request")()
    if call == "InjectPackets":
        request = iter([pb.InjectPacketsRequest(frames=[out_frame()])])
    monkeypatch.setattr(served.gateway, part, broken)
    with caplog.at_level(logging.INFO):
        found = refused(getattr(served.stub, call), request)
        served.run(_settled())
    expect(found, "INTERNAL", "INTERNAL")
    assert found.text == "a bug of the edge; its log has the traceback"
    with_it = [record for record in caplog.records if record.exc_info and SECRET in str(record.exc_info[1])]
    assert [record.name for record in with_it] == ["edge.api.errors"]
    assert caplog.text.count(f"RuntimeError: {SECRET}") == 1
    assert served.stub.ListSessions(pb.ListSessionsRequest()) == pb.ListSessionsResponse()


async def _settled() -> None:
    """Whatever the server had to do after its answer is done."""
    import asyncio

    for _ in range(5):
        await asyncio.sleep(0)
