"""The one error tree.  Every class has a stable upper-case ``reason``; any other exception is a bug."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from edge.printable import printable

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong (or dangerous) in a document, in the words of whoever wrote it.

    ``path`` is the caller's own path (``natRules[3].externalAddresses``); ``line`` and ``column`` count from 1 and
    are None where the document did not come from a text.
    """

    code: str
    path: str
    message: str
    severity: Severity = "error"
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return printable(": ".join(part for part in (place, self.path, self.code, self.message) if part))

    def to_json(self) -> dict[str, object]:
        """The object that ``--json`` prints for this problem."""
        return {
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "path": self.path,
            "code": self.code,
            "message": self.message,
            "severity": self.severity,
        }


class EdgeError(Exception):
    """Base of everything this project raises on purpose."""

    reason: ClassVar[str] = "EDGE_ERROR"


class ProblemsError(EdgeError):
    """An error that is several: ``problems`` holds every one found, not just the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class DocumentError(ProblemsError):
    """A configuration that cannot be used."""

    reason = "INVALID_DOCUMENT"


class NoPortError(EdgeError):
    """An edge without uplinks and networks: no packet can enter."""

    reason = "NO_PORT"


class ResourceError(EdgeError):
    """The machine has not got what is needed: memory, address space."""

    reason = "RESOURCE_EXHAUSTED"


class StoreError(EdgeError):
    """Revisions cannot be stored or read: the disk is full or broken, another process has the store."""

    reason = "STORAGE_FAILED"


class ChangeError(EdgeError):
    """Base of what keeps a change from being made: who asks, when, and on what it builds."""

    reason = "CHANGE_REFUSED"


class EtagMismatchError(ChangeError):
    """The running configuration is another one than the caller's change is based on."""

    reason = "ETAG_MISMATCH"


class MissingEtagError(ChangeError):
    """A change that has to name the configuration that it is based on, and does not."""

    reason = "MISSING_ETAG"


class ManagedError(ChangeError):
    """A control plane manages the edge, and the caller is none."""

    reason = "MANAGED"


class StaleEpochError(ChangeError):
    """A control plane whose leader has been followed by another one."""

    reason = "STALE_EPOCH"


class ConfirmationPendingError(ChangeError):
    """A change waits to be confirmed; until then there is no other."""

    reason = "CONFIRMATION_PENDING"


class NothingPendingError(ChangeError):
    """There is nothing to confirm: it was confirmed already or has been taken back."""

    reason = "NOTHING_PENDING"


class RevisionUnknownError(EdgeError):
    """A revision that was never made, or is not kept any more."""

    reason = "REVISION_UNKNOWN"


class ArgumentError(EdgeError):
    """What a caller wrote cannot be meant; ``violations`` are pairs of a field's path and what is wrong there."""

    reason = "INVALID_ARGUMENT"

    def __init__(self, message: str, violations: Sequence[tuple[str, str]] = ()) -> None:
        self.violations = tuple(violations)
        super().__init__(message)

    def __reduce__(self) -> tuple[type[ArgumentError], tuple[str, tuple[tuple[str, str], ...]]]:
        return type(self), (str(self), self.violations)


class ObjectUnknownError(ArgumentError):
    """An edit of an object that is not there."""

    reason = "OBJECT_UNKNOWN"


class InvalidPacketError(ArgumentError):
    """Packets that cannot be read or sent, a violation for each."""

    reason = "INVALID_PACKET"


class InvalidResumeTokenError(ArgumentError):
    """A resume token that no stream of events has handed out."""

    reason = "INVALID_RESUME_TOKEN"


class UnknownPortError(EdgeError):
    """A packet for a port that the edge does not have."""

    reason = "UNKNOWN_PORT"


class FrameTooLongError(EdgeError):
    """A frame larger than any that Ethernet and IP can make."""

    reason = "FRAME_TOO_LONG"


class PortSpecError(EdgeError):
    """A port of this machine that is not written as it should be."""

    reason = "INVALID_ARGUMENT"


class PortError(EdgeError):
    """A device that cannot be had as a port."""

    reason = "PORT_FAILED"


class ForwardingError(EdgeError):
    """An edge forwards no longer, and nobody has told it to stop."""

    reason = "FORWARDING_FAILED"


class PacketSyntaxError(EdgeError):
    """A packet in text form that cannot be read; ``position`` is the offending offset in the text."""

    reason = "INVALID_PACKET"

    def __init__(self, message: str, text: str, position: int = 0) -> None:
        self.text = text
        self.position = position
        super().__init__(f"{message}\n  {text}\n  {' ' * position}^")


class CaptureError(EdgeError):
    """A capture file that cannot be read."""

    reason = "INVALID_CAPTURE"


class LinkTypeUnsupportedError(CaptureError):
    """A capture whose link-layer type is not emulated."""

    reason = "LINKTYPE_UNSUPPORTED"


class SuiteError(ProblemsError):
    """A rule-set test file that cannot be run."""

    reason = "INVALID_TEST_FILE"


class MetricsListenError(EdgeError):
    """An address that metrics cannot be served on."""

    reason = "CANNOT_LISTEN"


class MetricsAddressError(MetricsListenError):
    """An address for metrics that is none."""

    reason = "INVALID_ADDRESS"
