"""Performing a step over HTTP: the request as DTM's participants expect it, and what its answer means.

The law of this file: it decides and does not wait; ``perform_http`` is the one function that does. The rules are those
of DTM (spec 3.1, 3.2), exactly: any participant written for DTM in any language is understood.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import msgspec

from flowtx_dsl.errors import Ongoing, PayloadError, StepFault
from flowtx_dsl.targets import HttpTarget, RemoteTarget
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.http_types import AnswerTooLong, HttpFault, HttpRequest, HttpResponse, HttpTransport
from flowtx_engine.calls.passing import passed_beside
from flowtx_engine.calls.remote import (
    TOO_LONG_REMEDY,
    as_asked,
    ask_in_time,
    cut,
    facts_of,
    idempotency_key_of,
    refused,
    succeeded,
)


async def perform_http(
    target: HttpTarget[Any], attempt: Attempt, transport: HttpTransport, *, default_timeout_s: float
) -> Outcome:
    """Send the step's request once and say what became of it; never raises but when it is cancelled."""
    asked = as_asked(target, attempt)

    async def ask(timeout_s: float) -> Outcome:
        return outcome_of(asked, await send(asked, transport, request_of(target, attempt)))

    return await ask_in_time(target, attempt, ask, default_timeout_s=default_timeout_s, own_faults=HttpFault)


def request_of(target: HttpTarget[Any], attempt: Attempt) -> HttpRequest:
    """The request of an attempt (spec 3.2): DTM's four query parameters after the URL's own, JSON unless overridden."""
    body = attempt.command.call.body
    url = target.url.partition("#")[0]
    between = "?" if "?" not in url else "" if url.endswith("?") else "&"
    return HttpRequest(
        method=target.method or ("POST" if body else "GET"),
        url=f"{url}{between}{urlencode(facts_of(target, attempt))}",
        headers=headers_of(target, attempt),
        body=body,
    )


async def send(target: RemoteTarget[Any], transport: HttpTransport, request: HttpRequest) -> HttpResponse:
    """The whole answer; raises ``PayloadError`` for one that means success and is too long to be kept.

    When nobody reads what it says, or it means something else, it is a fault like any other: asked for again.
    """
    try:
        return await transport.send(request)
    except HttpFault as fault:
        if target.result_type is None or not _is_success_too_long(fault):
            raise
        raise PayloadError(f"{fault} (payload_bytes_max)", remedy=TOO_LONG_REMEDY) from fault


def _is_success_too_long(fault: BaseException | None) -> bool:
    while fault is not None and not isinstance(fault, AnswerTooLong):
        fault = fault.__cause__
    return fault is not None and fault.status == 200


def headers_of(target: RemoteTarget[Any], attempt: Attempt) -> tuple[tuple[str, str], ...]:
    """The headers of an attempt: those of the target, before them what it does not name itself."""
    given = {name.lower() for name, _ in target.headers}
    defaults = (("Content-Type", "application/json"), ("Idempotency-Key", idempotency_key_of(attempt)))
    kept = tuple(header for header in defaults if header[0].lower() not in given)
    return kept + passed_beside(target.headers) + target.headers


def outcome_of(target: HttpTarget[Any], response: HttpResponse) -> Outcome:
    """What an answer means."""
    judged = judge(target, response)
    return succeeded(target, _as_json(response.body)) if judged is None else judged


def judge(target: RemoteTarget[Any], response: HttpResponse) -> Outcome | None:
    """DTM's rule (spec 3.2): the first match wins, the words are looked for anywhere in the body; None for success."""
    text = response.body.decode(errors="replace").strip()
    if response.status == 425 or "ONGOING" in text:
        return Outcome(kind="ongoing", error=Ongoing(cut(text) or "ONGOING"))
    if response.status == 409 or "FAILURE" in text:
        return refused(text)
    if response.status != 200:
        return Outcome(kind="unknown", error=StepFault(f"{target.url} answered {response.status}: {cut(text)}"))
    return None


def _as_json(body: bytes) -> bytes:
    """A body as JSON: itself when it is JSON, a string of its text when not, null when empty."""
    if not body.strip():
        return b"null"
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):  # or nested so deep that nobody could read it
        return msgspec.json.encode(body.decode(errors="replace"))
    return body
