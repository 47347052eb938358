"""What an error looks like on the wire."""

from __future__ import annotations

import inspect

from google.rpc import code_pb2, error_details_pb2, status_pb2

import edge.api.errors
import edge.errors
from edge.api.errors import CODES, status_of
from edge.api.rich import MAX_DETAILS
from edge.errors import ArgumentError, DocumentError, EdgeError, Problem


def unpacked(status: status_pb2.Status) -> tuple[error_details_pb2.ErrorInfo, error_details_pb2.BadRequest]:
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        assert detail.Unpack(info) or detail.Unpack(bad_request)
    return info, bad_request


def test_a_document_error_names_every_place_in_the_callers_own_words() -> None:
    error = DocumentError(
        [
            Problem("UNKNOWN_FIELD", "natRules[3].externalAddres", "there is no such field", line=7, column=3),
            Problem("SHADOWED_RULE", "firewallRules", "never reached", severity="warning"),
            Problem("WRONG_TYPE", "options.mtu", "expected a number"),
        ]
    )
    status = status_of(error)
    info, bad_request = unpacked(status)
    assert (status.code, info.reason, info.domain) == (code_pb2.INVALID_ARGUMENT, "INVALID_DOCUMENT", "t1edge")
    assert status.message == "the document cannot be used: 2 problems"
    assert [(item.field, item.reason, item.description) for item in bad_request.field_violations] == [
        ("natRules[3].externalAddres", "UNKNOWN_FIELD", "line 7, column 3: there is no such field"),
        ("options.mtu", "WRONG_TYPE", "expected a number"),
    ]
    assert not info.metadata


def test_more_problems_than_a_trailer_holds_are_counted() -> None:
    error = DocumentError([Problem("WRONG_TYPE", f"natRules[{n}].priority", "x" * 100) for n in range(10_000)])
    status = status_of(error)
    info, bad_request = unpacked(status)
    assert status.ByteSize() < MAX_DETAILS + 500
    assert info.metadata["problems"] == "10000"
    assert int(info.metadata["shown"]) == len(bad_request.field_violations) > 20


def test_one_enormous_violation_does_not_break_the_trailer() -> None:
    status = status_of(ArgumentError("y" * 100_000, [("comment", "x" * 1_000_000)]))
    assert status.ByteSize() < MAX_DETAILS + 2_000
    assert unpacked(status)[0].reason == "INVALID_ARGUMENT"


def test_every_reason_of_a_service_has_its_status() -> None:
    classes = [
        item
        for module in (edge.api.errors, edge.errors)
        for item in vars(module).values()
        if inspect.isclass(item) and issubclass(item, EdgeError) and item is not EdgeError
    ]
    bases = {"EDGE_ERROR", "CHANGE_REFUSED"}
    of_files = {"INVALID_CAPTURE", "LINKTYPE_UNSUPPORTED", "INVALID_TEST_FILE"}
    of_the_process = {"CANNOT_LISTEN", "FORWARDING_FAILED", "INVALID_ADDRESS", "PORT_FAILED"}
    assert {item.reason for item in classes} - bases - of_files - of_the_process <= CODES.keys()
