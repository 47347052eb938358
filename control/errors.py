"""What the control plane refuses, and why: every class has a stable upper-case reason."""

from __future__ import annotations

from collections.abc import Sequence

from edge.errors import ArgumentError, EdgeError


class ControlError(EdgeError):
    """Base of the errors below; ``text`` never holds a secret."""


class NoSuchObjectError(ControlError):
    """An object that is not there, or that the caller may not know of: the two look the same."""

    reason = "OBJECT_UNKNOWN"

    def __init__(self, path: str) -> None:
        super().__init__(f"there is no {path}")


class ObjectExistsError(ControlError):
    """A name that is taken."""

    reason = "OBJECT_EXISTS"


class ObjectInUseError(ControlError):
    """A deletion of what others need; ``users`` are pairs of an object's name and the field by which it needs it."""

    reason = "OBJECT_IN_USE"

    def __init__(self, path: str, users: Sequence[tuple[str, str]]) -> None:
        self.users = tuple(users)
        count = "1 object" if len(users) == 1 else f"{len(users)} objects"
        super().__init__(f"{path} is used by {count}")


class StaleObjectError(ControlError):
    """A change of a state that has been changed since."""

    reason = "ETAG_MISMATCH"


class BusyEntityError(ControlError):
    """A change of an edge that is busy with another task; ``edges`` are those that would be changed."""

    reason = "BUSY_ENTITY"

    def __init__(self, edges: Sequence[str], task: str, operation: str) -> None:
        self.edges = tuple(edges)
        super().__init__(f"the edge is busy with {operation!r}, {task}: try again when that is done")


class NoAddressLeftError(ControlError):
    """Addresses that are asked of pools in which none is left."""

    reason = "NO_ADDRESS_LEFT"


class LimitReachedError(ControlError):
    """As many as there may be."""

    reason = "LIMIT_REACHED"


class OrganizationLimitError(ControlError):
    """As many as an organization may have."""

    reason = "ORGANIZATION_LIMIT"

    def __init__(self, org: str, words: str, count: int, most: int) -> None:
        super().__init__(f"{org} has {count:,} of the kind {words}, and may have {most:,}")


class LastAdministratorError(ControlError):
    """A change after which nobody could administer the cloud."""

    reason = "LAST_ADMINISTRATOR"


class RequestIdReusedError(ControlError):
    """A request id that stands for another request."""

    reason = "REQUEST_ID_REUSED"


class UnauthenticatedError(ControlError):
    """No token, or one that is unknown or has ended: which of them is not said."""

    reason = "UNAUTHENTICATED"


class InvalidCredentialsError(ControlError):
    """A login that fails; what of it was wrong is not said."""

    reason = "INVALID_CREDENTIALS"


class NewPasswordRequiredError(ControlError):
    """A one-time password, and none to follow it."""

    reason = "NEW_PASSWORD_REQUIRED"


class TooManyAttemptsError(ControlError):
    """A login that comes too soon after others that failed."""

    reason = "TOO_MANY_ATTEMPTS"

    def __init__(self, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__("too many attempts have failed: wait before the next one")


class PermissionDeniedError(ControlError):
    """A role that may not."""

    reason = "PERMISSION_DENIED"


class KeyFileError(ControlError):
    """A key file that cannot be used, or is not the one that the secrets were encrypted with."""

    reason = "WRONG_KEY_FILE"


class SealBrokenError(ControlError):
    """An encrypted secret that was altered or moved."""

    reason = "STORAGE_FAILED"


class BadFilterError(ArgumentError):
    """A filter or an order that cannot be read, or of a field that has none."""

    reason = "INVALID_FILTER"


class BadPageTokenError(ArgumentError):
    """A page token that belongs to another list, or to none."""

    reason = "INVALID_PAGE_TOKEN"


class BadResumeTokenError(ArgumentError):
    """A resume token that belongs to other events, or to none."""

    reason = "INVALID_RESUME_TOKEN"


class TooManyStreamsError(ControlError):
    """As many streams are open as are served at once."""

    reason = "TOO_MANY_STREAMS"

    def __init__(self, most: int, words: str, org: str = "") -> None:
        whose = f" of {org}" if org else ""
        super().__init__(f"{most} {words}{whose} are open: no more are served at once")


class TooManyTrialsError(ControlError):
    """As many calls with validate_only of an organization are under way as may wait for one another."""

    reason = "TOO_MANY_TRIALS"

    def __init__(self, org: str, count: int) -> None:
        super().__init__(f"{count} calls of {org} with validate_only are under way: no more wait for one another")


class AuditError(ControlError):
    """An audit file that does not hold together; the text names the record."""

    reason = "AUDIT_BROKEN"


class MachineError(ControlError):
    """Something that the host of a machine refuses; the text is for whoever runs the control plane."""

    reason = "MACHINE_FAILED"
    told = "the host of the machine refused it; the log of the control plane says why"
    """What its owner is told."""


class PowerStateError(ControlError):
    """A machine that is on, off or suspended when it should not be."""

    reason = "INVALID_POWER_STATE"


class SnapshotError(ControlError):
    """A snapshot that is not there."""

    reason = "INVALID_SNAPSHOT"


class QuotaExceededError(ControlError):
    """More than a pool data center has."""

    reason = "QUOTA_EXCEEDED"


class PasswordTakenError(ControlError):
    """A first password that was told already."""

    reason = "PASSWORD_TAKEN"


class NotEmulatedError(ControlError):
    """Something that the cloud has and this one does not."""

    reason = "NOT_EMULATED"
