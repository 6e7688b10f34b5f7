"""What the server's answers mean (spec 2.2, 2.5, 10).

The law of this file: only 200 is success, and for a write only without the word FAILURE, as every DTM client judges.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from flowtx.client.errors import ServerError, ServerOngoing, ServerRefused
from flowtx.client.exchanges import ClientAnswer, ClientRequest

T = TypeVar("T")

BODY_SHOWN_MAX = 500
"""How many characters of an answer stand in an error's message; ``ServerError.body`` holds all."""


class FoundBranch(msgspec.Struct, frozen=True, kw_only=True):
    """One branch of a transaction as the server has it (spec 2.5)."""

    branch_id: str
    op: str
    status: str
    url: str = ""


class FoundTransaction(msgspec.Struct, frozen=True, kw_only=True):
    """A transaction as the server has it (spec 2.5); ``status`` is one of DTM's five words."""

    gid: str
    pattern: str = msgspec.field(name="trans_type")
    status: str = ""
    rollback_reason: str = ""
    branches: tuple[FoundBranch, ...] = ()

    @property
    def is_final(self) -> bool:
        """True when nothing will happen any more."""
        return self.status in ("succeed", "failed")


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What a workflow has reported of one op of one branch (spec 2.4, prepareWorkflow)."""

    branch_id: str = ""
    op: str = ""
    status: str = ""
    data: bytes = msgspec.field(name="bin_data", default=b"")


class WorkflowRow(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow's transaction as prepareWorkflow tells it; ``result`` is base64, ``options`` JSON (spec 2.5)."""

    status: str = ""
    rollback_reason: str = ""
    result: str = ""
    options: str = ""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """The answer of prepareWorkflow."""

    transaction: WorkflowRow
    progresses: tuple[Progress, ...] | None = None


class _Gid(msgspec.Struct, frozen=True):
    gid: str


class _Found(msgspec.Struct, frozen=True):
    transaction: FoundTransaction | None = None
    branches: tuple[FoundBranch, ...] | None = None


_read_gid = msgspec.json.Decoder(_Gid).decode
_read_found = msgspec.json.Decoder(_Found).decode
_read_prepared = msgspec.json.Decoder(Prepared).decode


def check_success(request: ClientRequest, answer: ClientAnswer) -> None:
    """Raises the ``ServerError`` of a write that did not succeed."""
    check_status(request, answer)
    if b"FAILURE" in answer.body:
        raise answer_error(ServerRefused, request, answer)


def check_status(request: ClientRequest, answer: ClientAnswer) -> None:
    """Raises the ``ServerError`` of a read that did not succeed: its data may hold any word."""
    if answer.status == 200:
        return
    if answer.status == 425 or b"ONGOING" in answer.body:
        raise answer_error(ServerOngoing, request, answer)
    if answer.status == 409 or b"FAILURE" in answer.body:
        raise answer_error(ServerRefused, request, answer)
    raise answer_error(ServerError, request, answer)


def read_gid(request: ClientRequest, answer: ClientAnswer) -> str:
    """The gid of newGid's answer; raises ``ServerError``."""
    check_success(request, answer)
    gid = _read(request, answer, _read_gid).gid
    if not gid:
        raise unreadable(request, answer, "the gid is empty")
    return gid


def read_found(request: ClientRequest, answer: ClientAnswer) -> FoundTransaction | None:
    """The transaction of query's answer, if any; raises ``ServerError``."""
    check_status(request, answer)
    found = _read(request, answer, _read_found)
    if found.transaction is None:
        return None
    return msgspec.structs.replace(found.transaction, branches=found.branches or ())


def read_prepared(request: ClientRequest, answer: ClientAnswer) -> Prepared:
    """PrepareWorkflow's answer; raises ``ServerError``."""
    check_status(request, answer)
    return _read(request, answer, _read_prepared)


def shorten(text: str) -> str:
    """A text as it is shown in an error."""
    return text if len(text) <= BODY_SHOWN_MAX else text[:BODY_SHOWN_MAX] + "..."


def answer_error(kind: type[ServerError], request: ClientRequest, answer: ClientAnswer) -> ServerError:
    """The error for an answer over HTTP that is no success."""
    body = answer.body.decode(errors="replace")
    return kind(
        f"{request.method} {request.url} was answered with {answer.status}, expected 200: {shorten(body)}"
        if answer.status != 200
        else f"{request.method} {request.url} was answered with a failure: {shorten(body)}",
        status=answer.status,
        body=body,
    )


def _read(request: ClientRequest, answer: ClientAnswer, decode: Callable[[bytes], T]) -> T:
    try:
        return decode(answer.body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise unreadable(request, answer, str(error)) from error


def unreadable(request: ClientRequest, answer: ClientAnswer, why: str) -> ServerError:
    """The error for an answer that no DTM server gives."""
    body = answer.body.decode(errors="replace")
    return ServerError(
        f"{request.method} {request.url} was answered with what no DTM server says ({why}): {body[:BODY_SHOWN_MAX]}",
        status=answer.status,
        body=body,
    )
