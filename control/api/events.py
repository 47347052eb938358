"""EventService: what has happened, page by page or as it comes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json

from control.api import convert, shown
from control.api.context import ReadCall
from control.errors import BadResumeTokenError
from control.store import EventRecord, listing
from control.v1 import event_pb2 as pb

BATCH = 500
"""So many events are sent at once at most."""


def list_events(request: pb.ListEventsRequest, call: ReadCall) -> pb.ListEventsResponse:
    """The events of an organization."""
    query = convert.query(request, listing.EVENT_LIST, f"{request.parent}/events")
    records, token = call.state.events(request.parent, query)
    return pb.ListEventsResponse(events=[_event(record, call) for record in records], next_page_token=token)


def watch_events(request: pb.WatchEventsRequest, call: ReadCall) -> pb.WatchEventsResponse:
    """Those behind the resume token; whoever serves the stream asks again and again."""
    oldest, newest = call.state.event_numbers(request.parent)
    after = newest if not request.resume_token else _number(request.parent, request.resume_token)
    if after > newest:
        raise _wrong()
    missed = max(oldest - 1 - after, 0)
    found = call.state.events_after(request.parent, after, BATCH)
    token = _token(request.parent, found[-1].number if found else max(after, oldest - 1))
    return pb.WatchEventsResponse(events=[_event(record, call) for record in found], resume_token=token, missed=missed)


def _token(org: str, number: int) -> str:
    return base64.urlsafe_b64encode(json.dumps([_list_id(org), number]).encode()).decode("ascii")


def _event(record: EventRecord, call: ReadCall) -> pb.Event:
    return convert.event_message(shown.event(call.caller, record))


def _number(org: str, token: str) -> int:
    """Raises BadResumeTokenError."""
    try:
        made_for, number = json.loads(base64.b64decode(token.encode("ascii"), b"-_", validate=True))
    except (ValueError, TypeError, RecursionError, binascii.Error):
        raise _wrong() from None
    if made_for != _list_id(org) or type(number) is not int or not 0 <= number < 1 << 63:
        raise _wrong()
    return number


def _list_id(org: str) -> str:
    return hashlib.sha256(f"{org}/events".encode()).hexdigest()[:16]


def _wrong() -> BadResumeTokenError:
    return BadResumeTokenError(
        "the resume token does not belong to these events",
        [("resume_token", "expected the resume_token of an answer to the same request")],
    )
