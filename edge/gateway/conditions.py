"""What a caller says of a change besides the change."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge.errors import ArgumentError

MAX_COMMENT: Final = 1_024
CONFIRM_WITHIN_S: Final = (1.0, 3_600.0)


@dataclass(frozen=True, slots=True)
class Conditions:
    """See :meth:`edge.gateway.Gateway.apply`."""

    etag: str
    validate_only: bool
    confirm_within_s: float | None
    comment: str
    leader_epoch: int

    def check(self) -> None:
        """Raises ArgumentError for what cannot be meant."""
        wrong = []
        low, high = CONFIRM_WITHIN_S
        if self.confirm_within_s is not None and not low <= self.confirm_within_s <= high:
            wrong.append(("confirm_within", f"expected {low:.0f} to {high:,.0f} seconds"))
        if len(self.comment) > MAX_COMMENT:
            wrong.append(("comment", f"expected at most {MAX_COMMENT:,} characters"))
        if not 0 <= self.leader_epoch < 1 << 63:
            wrong.append(("leader_epoch", "expected a number below 2 to the power of 63"))
        if wrong:
            raise ArgumentError(f"{wrong[0][0]}: {wrong[0][1]}", wrong)
