"""A served edge, between its callers, the store and the runtime.  Nothing in here knows of gRPC."""

from __future__ import annotations

from edge.gateway.gateway import Gateway
from edge.gateway.values import Applied, Counters, Forwarding, Traced
from edge.store import RevisionInfo

__all__ = ["Applied", "Counters", "Forwarding", "Gateway", "RevisionInfo", "Traced"]
