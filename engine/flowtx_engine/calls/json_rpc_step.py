"""Performing a step over JSON-RPC: the call as DTM's participants expect it, and what its answer means (spec 3.3).

The law of this file: DTM's rules where DTM's work. Where its engine crashes (parameters that are null or no object) or
overlooks what the protocol says (the codes of an error object), the protocol is kept (spec 12.5, 12.6).
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import msgspec

from flowtx_dsl.errors import Ongoing, StepFault
from flowtx_dsl.targets import JsonRpcTarget
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.http_step import headers_of, judge, send
from flowtx_engine.calls.http_types import HttpFault, HttpRequest, HttpResponse, HttpTransport
from flowtx_engine.calls.remote import as_asked, ask_in_time, cut, facts_of, refused, succeeded

REFUSED = -32901
ONGOING = -32902


class _Error(msgspec.Struct, frozen=True):
    code: int | float | str | None = None
    message: msgspec.Raw = msgspec.Raw(b'""')


class _Answer(msgspec.Struct, frozen=True):
    """The parts of an answer that count; its ``id`` and version are the participant's business, as in DTM."""

    error: msgspec.Raw = msgspec.Raw(b"null")
    result: msgspec.Raw = msgspec.Raw(b"null")


_answers = msgspec.json.Decoder(_Answer)
_errors = msgspec.json.Decoder(_Error)
_params = msgspec.json.Decoder(dict[str, msgspec.Raw] | None)


class ParamsFault(Exception):
    """The payload is nothing that a JSON-RPC participant could be sent."""


async def perform_json_rpc(
    target: JsonRpcTarget[Any], attempt: Attempt, transport: HttpTransport, *, default_timeout_s: float
) -> Outcome:
    """Post the step's call once and say what became of it; never raises but when it is cancelled."""
    asked = as_asked(target, attempt)

    async def ask(timeout_s: float) -> Outcome:
        return outcome_of(asked, await send(asked, transport, request_of(target, attempt)))

    own_faults = (HttpFault, ParamsFault)
    return await ask_in_time(target, attempt, ask, default_timeout_s=default_timeout_s, own_faults=own_faults)


def request_of(target: JsonRpcTarget[Any], attempt: Attempt) -> HttpRequest:
    """The request of an attempt: the URL as it is written, DTM's facts among the parameters, over any of their names.

    Raises ``ParamsFault``.
    """
    params: dict[str, object] = {**_params_of(target, attempt.command.call.body), **facts_of(target, attempt)}
    # The id is random, and not the step's key, because the answer repeats it and is searched for DTM's words.
    call = {"id": uuid4().hex, "jsonrpc": "2.0", "method": target.method, "params": params}
    return HttpRequest(
        method="POST", url=target.url, headers=headers_of(target, attempt), body=msgspec.json.encode(call)
    )


def _params_of(target: JsonRpcTarget[Any], body: bytes) -> dict[str, msgspec.Raw]:
    """The parameters of a payload, each as it was written; an empty payload, and null, has none (spec 12.6)."""
    if not body.strip():
        return {}
    try:
        return _params.decode(body) or {}
    except (msgspec.MsgspecError, RecursionError) as error:
        found = cut(body.decode(errors="backslashreplace"))
        raise ParamsFault(
            f"{target.url} cannot be called over JSON-RPC with the payload {found}: expected a JSON object, to which "
            f"gid, trans_type, branch_id and op can be added ({error})"
        ) from error


def outcome_of(target: JsonRpcTarget[Any], response: HttpResponse) -> Outcome:
    """What an answer means: DTM's rule for HTTP first, and its words anywhere; then the error object."""
    judged = judge(target, response)
    if judged is not None:
        return judged
    try:
        answer = _answers.decode(response.body)
    except (msgspec.MsgspecError, RecursionError) as error:
        text = cut(response.body.decode(errors="replace"))
        fault = StepFault(f"{target.url} answered what is no JSON-RPC answer ({error}): {text}")
        return Outcome(kind="unknown", error=fault)
    if bytes(answer.error) == b"null":
        return succeeded(target, bytes(answer.result))
    return _outcome_of_error(target, bytes(answer.error))


def _outcome_of_error(target: JsonRpcTarget[Any], data: bytes) -> Outcome:
    try:
        error = _errors.decode(data)
    except msgspec.MsgspecError:  # no object: some participants write a mere text
        error = _Error()
    if error.code == REFUSED:
        return refused(_text_of(error.message))
    if error.code == ONGOING:
        return Outcome(kind="ongoing", error=Ongoing(cut(_text_of(error.message)) or "ONGOING"))
    return Outcome(
        kind="unknown", error=StepFault(f"{target.url} answered with an error: {cut(data.decode(errors='replace'))}")
    )


def _text_of(message: msgspec.Raw) -> str:
    """The error's message; what is no text is shown as it was written."""
    try:
        return msgspec.json.decode(message, type=str)
    except msgspec.MsgspecError:
        return bytes(message).decode(errors="replace")
