"""DTM's JSON-RPC API: from a call to an operation, and from its outcome to an answer (spec 2.6).

The law of this file: the operations are those of HTTP, and what they take is read by the same rules.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import assert_never

from flowtx.dtm.gids import new_gid
from flowtx.dtm.operations import abort, branches, prepare, submit
from flowtx.dtm.operations.desk import Desk, answered
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, DtmOngoing, Outcome
from flowtx.dtm.routes import Answer
from flowtx.dtm.wire import json_rpc as wire
from flowtx.dtm.wire.answers import with_failure
from flowtx.dtm.wire.errors import RequestError
from flowtx.dtm.wire.json_rpc import RpcCall, RpcError, parse_call, spell_answer, spell_call
from flowtx.dtm.wire.requests import read_branch_request, read_transaction_request

Method = Callable[[Desk, object], Awaitable[Outcome]]


async def _new_gid(desk: Desk, params: object) -> Outcome:
    return Done({"gid": new_gid()})


async def _prepare(desk: Desk, params: object) -> Outcome:
    return await prepare.prepare(desk, read_transaction_request(params))


async def _abort(desk: Desk, params: object) -> Outcome:
    return await abort.abort(desk, read_transaction_request(params))


async def _register_branch(desk: Desk, params: object) -> Outcome:
    return await branches.register_branch(desk, read_branch_request(params))


async def _submit(desk: Desk, params: object) -> Outcome:
    return await submit.submit(desk, read_transaction_request(params))


METHODS: Mapping[str, Method] = {
    "newGid": _new_gid,
    "prepare": _prepare,
    "submit": _submit,
    "abort": _abort,
    "registerBranch": _register_branch,
}
"""Every method by its name; topics, queries and stopping are HTTP's only."""


async def answer(desk: Desk, body: bytes) -> Answer:
    """Carry out one request; never raises but when it is cancelled."""
    try:
        call = parse_call(body)
    except RequestError as error:
        # DTM answers this with a status of HTTP too, and with a type that the body is not of (spec 12.46).
        refused = RpcError(wire.PARSE_ERROR, f"Parse json error: {error.message}")
        return Answer(400, spell_answer("", error=refused), "text/plain; charset=utf-8")
    return Answer(200, await _answer_call(desk, call))


async def _answer_call(desk: Desk, call: RpcCall) -> bytes:
    if not call.is_well_formed:
        return spell_answer(call.id, error=RpcError(wire.BAD_REQUEST, f"Bad json request: {spell_call(call)}"))
    method = METHODS.get(call.method)
    if method is None:
        return spell_answer(call.id, error=RpcError(wire.NO_SUCH_METHOD, f"Method not found: {call.method[:100]}"))
    return spell(call.id, await answered(method(desk, call.params)))


def spell(call_id: str, outcome: Outcome) -> bytes:
    """An outcome as JSON-RPC says it; the result of an error is an empty object, of what crashes DTM it is null."""
    match outcome:
        case Done(value=value):
            return spell_answer(call_id, result=value)
        case DtmFailure(message=message):
            return spell_answer(call_id, result={}, error=RpcError(wire.FAILURE, with_failure(message)))
        case DtmOngoing(message=message):
            return spell_answer(call_id, result={}, error=RpcError(wire.ERROR, message))
        case DtmError(message=message, kind=kind):
            result: dict[str, object] | None = None if kind == "crash" else {}
            return spell_answer(call_id, result=result, error=RpcError(wire.ERROR, message))
        case _:
            assert_never(outcome)
