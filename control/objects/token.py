"""API tokens."""

from __future__ import annotations

from control.objects.values import DisplayName, Value

DEFAULT_DAYS = 90
MAX_DAYS = 366
MAX_TOKENS = 100
"""Of one user."""


class ApiToken(Value):
    """What a user says of a token; ``expires_ns``: nanoseconds since 1970."""

    display_name: DisplayName
    expires_ns: int
