"""An edge on a Unix socket is its owner's alone."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health

from edge.api.server import Server
from edge.listening import ListenError, parse_address
from edge.v1 import edge_service_pb2 as pb
from tests.api.served import serving


def test_only_its_owner_may_connect_and_it_goes_with_the_edge(tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    with serving(listen=f"unix:{path}") as served:
        assert served.target == f"unix:{path}"
        assert stat.S_ISSOCK(path.stat().st_mode)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert served.stub.GetStats(pb.GetStatsRequest()).stats.revision == 1
    assert not path.exists()
    with serving(listen=f"unix:{path}") as served:
        assert served.stub.GetStats(pb.GetStatsRequest()).stats.revision == 1


def test_there_is_no_moment_in_which_others_could_connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "edge.sock"
    modes = []
    begin = health.aio.HealthServicer.set

    async def watched(*arguments: Any) -> None:
        modes.append(stat.S_IMODE(path.stat().st_mode))
        await begin(*arguments)

    before = os.umask(0)
    try:
        monkeypatch.setattr(Path, "chmod", None)  # what is mended later was open before
        monkeypatch.setattr(health.aio.HealthServicer, "set", watched)
        with serving(listen=f"unix:{path}"):
            modes.append(stat.S_IMODE(path.stat().st_mode))
        assert os.umask(0) == 0, "what others make is as open as before"
    finally:
        os.umask(before)
    assert set(modes) == {0o600}


def test_a_second_edge_is_told_that_the_address_is_taken(tmp_path: Path) -> None:
    async def second(address: str) -> None:
        gateway: Any = object()
        await Server(gateway, parse_address(address)).start()

    with serving(listen=f"unix:{tmp_path}/edge.sock") as served:
        with pytest.raises(ListenError, match="another process listens there"):
            asyncio.run(second(served.target))
        assert served.stub.GetStats(pb.GetStatsRequest()).stats.revision == 1
    with serving() as served, pytest.raises(ListenError, match=r"cannot be listened on: Address already in use"):
        asyncio.run(second(served.target))


def test_a_directory_that_is_not_there_is_said(tmp_path: Path) -> None:
    async def begin() -> None:
        gateway: Any = object()
        await Server(gateway, parse_address(f"unix:{tmp_path}/nowhere/edge.sock")).start()

    with pytest.raises(ListenError, match=r"nowhere/edge\.sock: cannot be listened on"):
        asyncio.run(begin())
