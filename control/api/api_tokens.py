"""ApiTokenService."""

from __future__ import annotations

from control import limits
from control.access import tokens
from control.api import convert
from control.api.context import ReadCall, WriteCall
from control.errors import LimitReachedError, PermissionDeniedError
from control.objects.token import MAX_TOKENS
from control.store import TokenRecord, listing
from control.v1 import api_token_pb2 as pb


def create_api_token(request: pb.CreateApiTokenRequest, call: WriteCall) -> pb.CreateApiTokenResponse:
    """A token of the caller's own."""
    actor = call.caller.actor
    if request.parent != actor.path:
        raise PermissionDeniedError("an API token is made by its user")
    value = convert.api_token(request.api_token, call.unit.now_ns)
    call.unit.forget_ended_tokens(actor.uid)
    if call.unit.count_tokens(actor.uid) >= MAX_TOKENS:
        raise LimitReachedError(f"a user may have {MAX_TOKENS} API tokens")
    limits.check_count(call.caller.org, "API token", call.unit.count_tokens_in(call.caller.org), limits.API_TOKENS)
    surroundings = call.unit.surroundings
    path = f"{actor.path}/apiTokens/{surroundings.id()}"
    record = TokenRecord(path, actor.uid, value.display_name, call.unit.now_ns, value.expires_ns)
    secret = tokens.new_token(tokens.API, surroundings.random)
    call.unit.add_token(record, tokens.token_hash(secret))
    call.note(path, display_name=value.display_name)
    return pb.CreateApiTokenResponse(api_token=convert.token_message(record), secret="" if call.trial else secret)


def get_api_token(request: pb.GetApiTokenRequest, call: ReadCall) -> pb.GetApiTokenResponse:
    """One token."""
    return pb.GetApiTokenResponse(api_token=convert.token_message(call.state.token(request.name)))


def list_api_tokens(request: pb.ListApiTokensRequest, call: ReadCall) -> pb.ListApiTokensResponse:
    """The tokens of a user."""
    query = convert.query(request, listing.TOKENS, f"{request.parent}/apiTokens")
    records, token = call.state.tokens(request.parent, query)
    return pb.ListApiTokensResponse(api_tokens=map(convert.token_message, records), next_page_token=token)


def delete_api_token(request: pb.DeleteApiTokenRequest, call: WriteCall) -> pb.DeleteApiTokenResponse:
    """End a token."""
    call.unit.delete_token(request.name)
    call.note(request.name)
    return pb.DeleteApiTokenResponse()
