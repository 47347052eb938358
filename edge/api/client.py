"""A client's side: the channel to an edge, and its errors as values.

Large documents pass, and so do errors with many details.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from edge.api import answers
from edge.api.answers import AppliedAnswer, RevisionAnswer
from edge.api.tls import TlsFiles
from edge.errors import EdgeError, Problem, ProblemsError
from edge.listening import check_called
from edge.trace import TraceResult
from edge.v1 import edge_service_pb2 as pb
from edge.v1 import edge_service_pb2_grpc, packet_pb2, session_pb2

OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_metadata_size", 1 << 20),
    ("grpc.enable_http_proxy", 0),  # an edge is not on the web
)
"""Of every channel."""

_UNREACHABLE = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})


class UnreachableError(EdgeError):
    """Nobody answers there, or whoever answers stops."""

    reason = "UNREACHABLE"


class CallError(ProblemsError):
    """A call that the edge refused.  ``code`` is the edge's stable reason; a problem's path is the caller's own."""

    reason = "REFUSED"

    def __init__(self, code: str, problems: Sequence[Problem]) -> None:
        self.code = code
        super().__init__(problems)


def target_of(address: str) -> str:
    """An address as gRPC wants it."""
    return address if address.startswith("unix:") else f"dns:///{address}"


def credentials(tls: TlsFiles) -> grpc.ChannelCredentials:
    """What a client shows.  Raises CredentialsError."""
    chain, key, authorities = tls.read()
    return grpc.ssl_channel_credentials(authorities, key, chain)


def open_channel(address: str, tls: TlsFiles | None = None) -> grpc.Channel:
    """A channel; nothing is connected before the first call.  Raises AddressError for another machine without TLS."""
    if tls is None:
        check_called(address)
        return grpc.insecure_channel(target_of(address), options=OPTIONS)
    return grpc.secure_channel(target_of(address), credentials(tls), options=OPTIONS)


def translated(error: grpc.RpcError, address: str) -> EdgeError:
    """A failed call as an error of ours: UnreachableError or CallError."""
    call: Any = error  # what grpc raises is also a grpc.Call, which its types do not say
    code = call.code()
    status = rpc_status.from_call(call)
    text = status.message if status else call.details()
    if code in _UNREACHABLE:
        why = str(text or code.name).rpartition(": ")[2]  # gRPC puts the reason last
        return UnreachableError(f"{address} cannot be reached: {why}")
    reason, left_out = code.name, 0
    problems: list[Problem] = []
    details: Sequence[Any] = status.details if status else ()
    for detail in details:
        info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        failure = error_details_pb2.PreconditionFailure()
        if detail.Unpack(info):
            reason = info.reason
            left_out = int(info.metadata.get("problems", 0)) - int(info.metadata.get("shown", 0))
        elif detail.Unpack(bad_request):
            problems = [Problem(item.reason, item.field, item.description) for item in bad_request.field_violations]
        elif detail.Unpack(failure):
            problems = [Problem(item.type, item.subject, item.description) for item in failure.violations]
    if left_out:
        problems.append(Problem(reason, "", f"and {left_out:,} more problems"))
    return CallError(reason, problems or [Problem(reason, "", text or code.name)])


@dataclass(frozen=True, slots=True)
class Conditions:
    """Under which conditions a change is made; the fields are those of ApplyConfigRequest."""

    etag: str = ""
    validate_only: bool = False
    confirm_within_s: float | None = None
    comment: str = ""

    def fields(self) -> dict[str, Any]:
        """For a request message."""
        found: dict[str, Any] = {"etag": self.etag, "validate_only": self.validate_only, "comment": self.comment}
        if self.confirm_within_s is not None:
            nanoseconds = round(self.confirm_within_s * 1e9)
            found["confirm_within"] = Duration(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)
        return found


@dataclass(frozen=True, slots=True)
class TraceAnswer:
    """Traces, the revision that judged (0: the candidate), warnings of the candidate."""

    results: tuple[TraceResult, ...]
    revision: int
    warnings: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events as ``--json`` prints them, and where a later stream goes on."""

    events: tuple[dict[str, Any], ...]
    resume_token: str


class EdgeClient:
    """A running edge, called synchronously.  ``timeout_s`` holds for each call but those that follow events.

    Every method raises UnreachableError when nobody answers and CallError when the edge refuses.
    """

    def __init__(self, address: str, tls: TlsFiles | None = None, *, timeout_s: float = 30.0) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._channel = open_channel(address, tls)
        self._stub = edge_service_pb2_grpc.EdgeServiceStub(self._channel)  # type: ignore[no-untyped-call]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def _call(self, call: Callable[..., Any], request: Any) -> Any:
        try:
            return call(request, timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise translated(error, self._address) from None

    def apply(
        self, text: str, conditions: Conditions, *, allow_unsupported: bool = False, file: str | None = None
    ) -> AppliedAnswer:
        """Replace the configuration by the document ``text``, whose problems are said to be in ``file``."""
        request = pb.ApplyConfigRequest(document=text, allow_unsupported=allow_unsupported, **conditions.fields())
        return answers.applied(self._call(self._stub.ApplyConfig, request), file)

    def rollback(self, revision: int, conditions: Conditions) -> AppliedAnswer:
        """Return to a stored revision, 0: the one before."""
        request = pb.RollbackRequest(revision=revision, **conditions.fields())
        return answers.applied(self._call(self._stub.Rollback, request), None)

    def confirm(self, etag: str) -> RevisionAnswer:
        """Keep a change that waits for it."""
        request = pb.ConfirmConfigRequest(etag=etag)
        return answers.revision(self._call(self._stub.ConfirmConfig, request).revision)

    def config(self, revision: int = 0) -> tuple[RevisionAnswer, str]:
        """A configuration as JSON; 0: the one that runs."""
        found = self._call(self._stub.GetConfig, pb.GetConfigRequest(revision=revision))
        return answers.revision(found.revision), found.document

    def revisions(self) -> Iterator[RevisionAnswer]:
        """All stored revisions, newest first."""
        token = ""
        while True:
            page = self._call(self._stub.ListRevisions, pb.ListRevisionsRequest(page_size=1_000, page_token=token))
            yield from map(answers.revision, page.revisions)
            token = page.next_page_token
            if not token:
                return

    def trace(
        self,
        packets: Sequence[str],
        *,
        candidate: str = "",
        allow_unsupported: bool = False,
        ignore_sessions: bool = False,
        file: str | None = None,
    ) -> TraceAnswer:
        """Packets in words, traced under the running configuration or the document ``candidate``."""
        request = pb.TraceRequest(
            packets=(packet_pb2.PacketInput(text=text) for text in packets),
            candidate_document=candidate,
            allow_unsupported=allow_unsupported,
            ignore_sessions=ignore_sessions,
        )
        found = self._call(self._stub.Trace, request)
        return TraceAnswer(
            tuple(map(answers.trace, found.packets)),
            found.revision,
            tuple(answers.problem(item, file) for item in found.warnings),
        )

    def sessions(self, condition: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Open sessions as ``--json`` prints them; ``condition`` are fields of SessionFilter."""
        token = ""
        while True:
            request = pb.ListSessionsRequest(
                filter=session_pb2.SessionFilter(**condition), page_size=10_000, page_token=token
            )
            page = self._call(self._stub.ListSessions, request)
            yield from map(answers.session, page.sessions)
            token = page.next_page_token
            if not token:
                return

    def delete_sessions(self, condition: Mapping[str, Any], *, everything: bool = False) -> int:
        """End sessions; how many."""
        request = pb.DeleteSessionsRequest(filter=session_pb2.SessionFilter(**condition), all=everything)
        return int(self._call(self._stub.DeleteSessions, request).deleted)

    def events(self, resume_token: str = "", kinds: Sequence[str] = ()) -> Iterator[EventBatch]:
        """What happens, until the edge stops (UnreachableError) or the caller does; quiet batches are left out."""
        wanted = [f"EVENT_KIND_{kind}" for kind in kinds]
        request = pb.WatchEventsRequest(resume_token=resume_token, kinds=wanted)
        try:
            for batch in self._stub.WatchEvents(request):
                if batch.events:
                    yield EventBatch(tuple(map(answers.event, batch.events)), batch.resume_token)
        except grpc.RpcError as error:
            raise translated(error, self._address) from None


def tls_files(certificate: str | None, key: str | None, authorities: str | None) -> TlsFiles | None:
    """The three options of TLS; None where none is given.  Raises ValueError if only some are."""
    given = (certificate, key, authorities)
    if not any(given):
        return None
    if not (certificate and key and authorities):
        raise ValueError("--tls-cert, --tls-key and --tls-ca go together")
    return TlsFiles(Path(certificate), Path(key), Path(authorities))
