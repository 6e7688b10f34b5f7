"""Performing a step over HTTP: the request as DTM's participants expect it, and what its answer means.

The law of this file: it decides and does not wait; ``perform_http`` is the one function that does. The rules are those
of DTM (spec 3.1, 3.2), exactly: any participant written for DTM in any language is understood.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

import msgspec
import trio

from flowtx_dsl.commands import Compensate
from flowtx_dsl.errors import Ongoing, PayloadError, Refused, StepFault, StepTimeout
from flowtx_dsl.targets import HttpTarget
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.http_types import HttpFault, HttpRequest, HttpResponse, HttpTransport

_SAFE_IN_KEY = "!\"#$&'()*+,/:;<=>?@[]^`{|}"
"""A gid may hold what no header can; all of it but letters, digits and these is percent-encoded in the key."""
BODY_SHOWN_MAX = 4096
"""Longer answers are cut in error texts."""


async def perform_http(
    target: HttpTarget[Any], attempt: Attempt, transport: HttpTransport, *, default_timeout_s: float
) -> Outcome:
    """Send the step's request once and say what became of it. An empty URL is a success without a call (spec 3.1)."""
    if not target.url:
        return Outcome(kind="succeeded")
    timeout_s = attempt.command.timeout_s or default_timeout_s
    try:
        with trio.move_on_after(timeout_s):
            response = await transport.send(request_of(target, attempt))
            return outcome_of(_as_asked(target, attempt), response)
    except Exception as raised:  # an HttpFault, and whatever a URL or a gid that cannot be sent leads to
        error = StepFault(str(raised) if isinstance(raised, HttpFault) else f"{target.url} cannot be called: {raised}")
        error.__cause__ = raised
        return Outcome(kind="unknown", error=error)
    return Outcome(kind="unknown", error=StepTimeout(f"{target.url} did not answer within {timeout_s:g} s"))


def _as_asked(target: HttpTarget[Any], attempt: Attempt) -> HttpTarget[Any]:
    """Nobody reads what a compensation answers, so it need not be of any type."""
    return replace(target, result_type=None) if isinstance(attempt.command, Compensate) else target


def request_of(target: HttpTarget[Any], attempt: Attempt) -> HttpRequest:
    """The request of an attempt (spec 3.2): DTM's four query parameters after the URL's own, JSON unless overridden."""
    body = attempt.command.call.body
    query = urlencode(
        {
            "branch_id": target.branch_id or attempt.step_address,
            "gid": attempt.gid,
            "op": attempt.op,
            "trans_type": target.trans_type,
        }
    )
    url = target.url.partition("#")[0]
    between = "?" if "?" not in url else "" if url.endswith("?") else "&"
    given = {name.lower() for name, _ in target.headers}
    defaults = (("Content-Type", "application/json"), ("Idempotency-Key", quote(attempt.key, safe=_SAFE_IN_KEY)))
    headers = tuple(header for header in defaults if header[0].lower() not in given) + target.headers
    return HttpRequest(
        method=target.method or ("POST" if body else "GET"), url=f"{url}{between}{query}", headers=headers, body=body
    )


def outcome_of(target: HttpTarget[Any], response: HttpResponse) -> Outcome:
    """What an answer means; the first match wins, and the words are looked for anywhere in the body (spec 3.2)."""
    text = response.body.decode(errors="replace").strip()
    if response.status == 425 or "ONGOING" in text:
        return Outcome(kind="ongoing", error=Ongoing(_cut(text) or "ONGOING"))
    if response.status == 409 or "FAILURE" in text:
        text = _cut(text)
        return Outcome(kind="refused", error=Refused(text if text.endswith(" FAILURE") else f"{text} FAILURE"))
    if response.status != 200:
        return Outcome(kind="unknown", error=StepFault(f"{target.url} answered {response.status}: {_cut(text)}"))
    return _succeeded(target, response)


def _succeeded(target: HttpTarget[Any], response: HttpResponse) -> Outcome:
    if target.result_type is None:
        return Outcome(kind="succeeded")
    value = _as_json(response.body)
    try:
        target.result.decode(value, what=f"the answer of {target.url}")
    except PayloadError as error:
        return Outcome(kind="unknown", error=error)
    return Outcome(kind="succeeded", value=value)


def _as_json(body: bytes) -> bytes:
    """A body as JSON: itself when it is JSON, a string of its text when not, null when empty."""
    if not body.strip():
        return b"null"
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):  # or nested so deep that nobody could read it
        return msgspec.json.encode(body.decode(errors="replace"))
    return body


def _cut(text: str) -> str:
    return text if len(text) <= BODY_SHOWN_MAX else f"{text[:BODY_SHOWN_MAX]}... ({len(text)} characters in all)"
