"""What the build has to produce: stubs of the gRPC contract, native modules, a package that is complete."""

from __future__ import annotations

import subprocess
import sys
from enum import IntEnum
from importlib import import_module
from importlib.metadata import distribution
from pathlib import Path

import pytest
from google.protobuf import descriptor_pool

from edge.v1 import edge_service_pb2, edge_service_pb2_grpc, event_pb2, packet_pb2, trace_pb2
from edge.verdicts import Reason, Stage, StepResult, Verdict

METHODS = {
    # name: (the request is a stream, the answer is a stream)
    "ApplyConfig": (False, False),
    "PatchConfig": (False, False),
    "Manage": (False, False),
    "ConfirmConfig": (False, False),
    "GetConfig": (False, False),
    "ListRevisions": (False, False),
    "Rollback": (False, False),
    "Trace": (False, False),
    "InjectPackets": (True, True),
    "ListSessions": (False, False),
    "DeleteSessions": (False, False),
    "GetStats": (False, False),
    "WatchEvents": (False, True),
}


def test_service_has_the_methods_of_the_contract() -> None:
    service = edge_service_pb2.DESCRIPTOR.services_by_name["EdgeService"]
    assert {m.name: (m.client_streaming, m.server_streaming) for m in service.methods} == METHODS


@pytest.mark.parametrize("name", sorted(METHODS))
def test_method_has_a_handler_to_implement(name: str) -> None:
    assert callable(getattr(edge_service_pb2_grpc.EdgeServiceServicer, name))


@pytest.mark.parametrize("request_name", ["ApplyConfig", "PatchConfig", "Rollback"])
def test_changes_can_be_tried_guarded_and_taken_back(request_name: str) -> None:
    fields = edge_service_pb2.DESCRIPTOR.message_types_by_name[f"{request_name}Request"].fields_by_name
    assert {"etag", "validate_only", "confirm_within", "leader_epoch"} <= set(fields)


def test_event_stream_can_be_resumed_and_admits_gaps() -> None:
    messages = edge_service_pb2.DESCRIPTOR.message_types_by_name
    assert "resume_token" in messages["WatchEventsRequest"].fields_by_name
    assert "resume_token" in messages["WatchEventsResponse"].fields_by_name
    assert event_pb2.Event(gap=event_pb2.Gap(lost=3)).WhichOneof("event") == "gap"


@pytest.mark.parametrize(
    ("prefix", "python", "wire"),
    [
        ("VERDICT_", Verdict, packet_pb2.Verdict),
        ("REASON_", Reason, packet_pb2.Reason),
        ("STAGE_", Stage, trace_pb2.Stage),
        ("STEP_RESULT_", StepResult, trace_pb2.StepResult),
    ],
)
def test_enums_of_the_contract_mirror_those_of_the_engine(prefix: str, python: type[IntEnum], wire: object) -> None:
    # Zero means "not said" on the wire, so everything stands one higher there.
    expected = {f"{prefix}{member.name}": member.value + 1 for member in python} | {f"{prefix}UNSPECIFIED": 0}
    assert dict(wire.items()) == expected  # type: ignore[attr-defined]


def test_every_proto_file_is_generated(root: Path) -> None:
    sources = sorted(path.relative_to(root / "proto").as_posix() for path in (root / "proto").rglob("*.proto"))
    for source in sources:
        import_module(source.removesuffix(".proto").replace("/", ".") + "_pb2")
        assert descriptor_pool.Default().FindFileByName(source).name == source
    assert "edge/v1/edge_service.proto" in sources


def test_every_native_source_is_built_and_typed(root: Path) -> None:
    names = sorted(path.stem for path in (root / "native").glob("*.pyx"))
    assert names
    for name in names:
        assert (import_module(f"native.{name}").__file__ or "").endswith(".so"), f"native.{name} is not compiled"
        assert (root / "native" / f"{name}.pyi").exists(), f"native/{name}.pyi is missing"


def test_every_directory_with_sources_is_a_package(root: Path) -> None:
    directories = {path.parent for top in ("edge", "control", "native") for path in (root / top).rglob("*.py")}
    assert [str(path.relative_to(root)) for path in sorted(directories) if not (path / "__init__.py").exists()] == []


def test_distribution_installs_the_command_and_the_pytest_plugin() -> None:
    installed = {(point.group, point.name): point.value for point in distribution("t1edge").entry_points}
    assert installed[("console_scripts", "t1edge")] == "edge.cli.main:main"
    assert installed[("pytest11", "t1edge")] == "edge.pytest_plugin"


def test_command_knows_its_version(root: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "edge.cli", "--version"], cwd=root, capture_output=True, text=True, check=True
    )
    version = distribution("t1edge").version
    assert version in shown.stdout
    assert f"## [{version}]" in (root / "CHANGELOG.md").read_text(encoding="utf-8")


def test_root_package_imports_nothing() -> None:
    code = "import sys, edge; print([name for name in sys.modules if name.startswith(('edge.', 'native', 'grpc'))])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_scripts_are_executable_and_parse(root: Path) -> None:
    for name in ("run", ".ci/run"):
        assert (root / name).stat().st_mode & 0o111, f"{name} is not executable"
        subprocess.run(["bash", "-n", str(root / name)], check=True)


def test_run_explains_itself_without_building(root: Path, tmp_path: Path) -> None:
    shown = subprocess.run([root / "run", "dance"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert shown.returncode == 2
    assert shown.stderr.startswith("run: unknown command 'dance'")
    assert "demo" in shown.stderr
