"""DTM's routes over HTTP: from method, path, query string and body to an operation, and from its outcome to an answer.

The law of this file: it knows HTTP as values and no server, so that every server that carries it answers alike.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import assert_never
from urllib.parse import parse_qsl

import msgspec

from flowtx.dtm.operations import abort, about, branches, hasten, kv, look, prepare, stop, submit, topics, workflows
from flowtx.dtm.operations.desk import Desk, answered
from flowtx.dtm.outcomes import Done, DtmError, DtmFailure, DtmOngoing, Outcome
from flowtx.dtm.wire import answers
from flowtx.dtm.wire.queries import parse_hasten_request, parse_list_request, parse_scan_request
from flowtx.dtm.wire.requests import parse_branch_request, parse_transaction_request


class Asked(msgspec.Struct, frozen=True):
    """What a request holds besides its method and path; the query string is still encoded.

    ``name`` is the last part of the path, decoded, for routes that end in a name.
    """

    query: bytes
    body: bytes
    name: str = ""


class Answer(msgspec.Struct, frozen=True):
    """A status and a body; the type is JSON but where another is named.

    ``transaction_status`` is where a transaction stands that has not succeeded, for the header of that name.
    """

    status: int
    body: bytes
    content_type: str = answers.CONTENT_TYPE
    location: str = ""
    transaction_status: str = ""


Handler = Callable[[Desk, Asked], Awaitable[Outcome]]

PREFIX = "/api/dtmsvr"
RESET_TIMEOUTS = 3
"""``resetCronTime`` hastens what waits longer than so many times ``timeout_to_fail_s``, unless told otherwise."""
PING_PATH = "/api/ping"
JSON_RPC_PATH = "/api/json-rpc"
PONG = Answer(200, answers.encode({"msg": "pong"}))
NOT_FOUND = Answer(404, b"404 page not found", "text/plain")


async def _new_gid(desk: Desk, asked: Asked) -> Outcome:
    return await about.make_gid()


async def _version(desk: Desk, asked: Asked) -> Outcome:
    return await about.version()


async def _submit(desk: Desk, asked: Asked) -> Outcome:
    return await submit.submit(desk, parse_transaction_request(asked.body))


async def _prepare(desk: Desk, asked: Asked) -> Outcome:
    return await prepare.prepare(desk, parse_transaction_request(asked.body))


async def _abort(desk: Desk, asked: Asked) -> Outcome:
    return await abort.abort(desk, parse_transaction_request(asked.body))


async def _register_branch(desk: Desk, asked: Asked) -> Outcome:
    return await branches.register_branch(desk, parse_branch_request(asked.body))


async def _prepare_workflow(desk: Desk, asked: Asked) -> Outcome:
    return await workflows.prepare_workflow(desk, parse_transaction_request(asked.body))


async def _reset_next_cron_time(desk: Desk, asked: Asked) -> Outcome:
    return await hasten.reset_next_cron_time(desk, parse_transaction_request(asked.body).gid)


async def _reset_cron_time(desk: Desk, asked: Asked) -> Outcome:
    timeout_s = RESET_TIMEOUTS * desk.settings.timeout_to_fail_s
    return await hasten.reset_cron_time(desk, parse_hasten_request(parse_query(asked.query), timeout_s=timeout_s))


async def _force_stop(desk: Desk, asked: Asked) -> Outcome:
    return await stop.force_stop(desk, parse_transaction_request(asked.body).gid)


async def _query(desk: Desk, asked: Asked) -> Outcome:
    return await look.query(desk, parse_query(asked.query).get("gid", ""))


async def _all(desk: Desk, asked: Asked) -> Outcome:
    return await look.list_transactions(desk, parse_list_request(parse_query(asked.query)))


async def _subscribe(desk: Desk, asked: Asked) -> Outcome:
    query = parse_query(asked.query)
    return await topics.subscribe(
        desk, topic=query.get("topic", ""), url=query.get("url", ""), remark=query.get("remark", "")
    )


async def _unsubscribe(desk: Desk, asked: Asked) -> Outcome:
    query = parse_query(asked.query)
    return await topics.unsubscribe(desk, topic=query.get("topic", ""), url=query.get("url", ""))


async def _delete_topic(desk: Desk, asked: Asked) -> Outcome:
    return await topics.delete_topic(desk, asked.name)


async def _query_kv(desk: Desk, asked: Asked) -> Outcome:
    query = parse_query(asked.query)
    return await kv.query_kv(desk, category=query.get("cat", ""), key=query.get("key", ""))


async def _scan_kv(desk: Desk, asked: Asked) -> Outcome:
    return await kv.scan_kv(desk, parse_scan_request(parse_query(asked.query)))


ROUTES: Mapping[tuple[str, str], Handler] = {
    ("GET", f"{PREFIX}/newGid"): _new_gid,
    ("GET", f"{PREFIX}/version"): _version,
    ("POST", f"{PREFIX}/prepare"): _prepare,
    ("POST", f"{PREFIX}/submit"): _submit,
    ("POST", f"{PREFIX}/abort"): _abort,
    ("POST", f"{PREFIX}/registerBranch"): _register_branch,
    ("POST", f"{PREFIX}/registerTccBranch"): _register_branch,
    ("POST", f"{PREFIX}/registerXaBranch"): _register_branch,
    ("POST", f"{PREFIX}/prepareWorkflow"): _prepare_workflow,
    ("POST", f"{PREFIX}/resetNextCronTime"): _reset_next_cron_time,
    ("GET", f"{PREFIX}/resetCronTime"): _reset_cron_time,
    ("POST", f"{PREFIX}/forceStop"): _force_stop,
    ("GET", f"{PREFIX}/query"): _query,
    ("GET", f"{PREFIX}/all"): _all,
    ("GET", f"{PREFIX}/subscribe"): _subscribe,
    ("GET", f"{PREFIX}/unsubscribe"): _unsubscribe,
    ("GET", f"{PREFIX}/queryKV"): _query_kv,
    ("GET", f"{PREFIX}/scanKV"): _scan_kv,
}
"""Every route by method and path (spec 2.4), but those that end in a name."""

NAMED_ROUTES: Mapping[tuple[str, str], Handler] = {
    ("DELETE", f"{PREFIX}/topic/"): _delete_topic,
}
"""Routes that end in one part of the path more, a name: by method and what stands before it."""


async def answer(handler: Handler, desk: Desk, asked: Asked) -> Answer:
    """Carry out one request; never raises but when it is cancelled."""
    return spell(await answered(handler(desk, asked)))


def spell(outcome: Outcome) -> Answer:
    """An outcome as HTTP says it (spec 2.2)."""
    match outcome:
        case Done(value=None):
            return Answer(200, answers.SUCCESS)
        case Done(value=value):
            return Answer(200, answers.encode(value))
        case DtmFailure(message=message, status=status):
            return Answer(409, answers.failure(message), transaction_status=status)
        case DtmOngoing(message=message):
            return Answer(425, answers.ongoing(message))
        case DtmError(message=message, kind="undecodable"):
            return Answer(400, answers.error(message), "text/plain; charset=utf-8")
        case DtmError(message=message, kind=kind):
            return Answer(503 if kind == "overloaded" else 500, answers.error(message))
        case _:
            assert_never(outcome)


def answer_unrouted(method: str, path: str, query: bytes) -> Answer:
    """What is no route: a path that only ends in a slash too many is redirected, all else is not found (spec 2.2)."""
    straight = path[:-1]
    if path.endswith("/") and _is_route(method, straight):
        location = f"{straight}?{query.decode('latin-1')}" if query else straight
        if method != "GET":
            return Answer(307, b"", location=location)
        body = f'<a href="{straight}">Moved Permanently</a>.\n\n'.encode()
        return Answer(301, body, "text/html; charset=utf-8", location=location)
    return NOT_FOUND


def _is_route(method: str, path: str) -> bool:
    if (method, path) in ROUTES or path == PING_PATH or (method, path) == ("POST", JSON_RPC_PATH):
        return True
    before, _, name = path.rpartition("/")
    return bool(name) and (method, f"{before}/") in NAMED_ROUTES


def api_of(path: str) -> str:
    """What metrics and logs call the operation of a path, "other" for a path that is none (spec 8.2, 12.37).

    DTM takes the last part of the path with its query string, a name for every gid; here it is the route's.
    """
    return _APIS.get(path) or _APIS.get(f"{path.rpartition('/')[0]}/", "other")


_APIS = {path: path.rpartition("/")[2].lower() for _, path in ROUTES} | {
    PING_PATH: "ping",
    f"{PREFIX.rpartition('/')[0]}/metrics": "metrics",
    JSON_RPC_PATH: "json-rpc",
    **{path: path.split("/")[-2].lower() for _, path in NAMED_ROUTES},
}


def parse_query(query: bytes) -> dict[str, str]:
    """A query string; of several values of one name the first counts, as in DTM."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        found.setdefault(name, value)
    return found
