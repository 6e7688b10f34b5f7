"""The same functions as endpoints of every framework: what a function does, DTM understands."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from types import ModuleType
from typing import Any, TypeVar, cast
from urllib.parse import urlencode

import django
import pytest
import trio
from django.conf import settings as django_settings
from django.test import AsyncClient, Client, override_settings
from django.urls import path as django_path
from fastapi import FastAPI
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from quart import Quart
from quart_trio import QuartTrio
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

import flowtx.client.django as for_django
import flowtx.client.fastapi as for_fastapi
import flowtx.client.flask as for_flask
import flowtx.client.quart as for_quart
from flowtx.client.barrier import Barrier
from flowtx.client.participants import METHODS, BranchRequest, Handler, Participant, disarm
from flowtx_dsl.errors import Ongoing, Refused, WorkflowError

QUERY = {"gid": "g-1", "branch_id": "01", "op": "action", "trans_type": "saga"}
GOOD = b'{"account": "alice", "amount": "30.50"}'
T = TypeVar("T")
Answer = tuple[int, str, bytes]
Send = Callable[[str, str, bytes], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payment:
    account: str
    amount: Decimal


def withdraw(barrier: Barrier, payment: Payment, *, bank: str) -> dict[str, object]:
    return {"who": barrier.gid + barrier.op, "amount": payment.amount, "bank": bank, "note": "FAILURE and ONGOING"}


def nothing(barrier: Barrier) -> None:
    assert barrier.table == "my_barrier"


def refused(payment: Payment) -> None:
    raise Refused(f"{payment.account} has no money, ONGOING", remedy="work")


def ongoing() -> None:
    raise Ongoing("not yet, FAILURE")


def broken() -> None:
    raise ValueError("FAILURE of the disk, ONGOING")


def whole(call: BranchRequest, text: str = "nothing came") -> list[str]:
    return [call.query["op"], call.body.decode(), text]


HANDLERS: tuple[Handler, ...] = (withdraw, nothing, refused, ongoing, broken, whole)


def path_of(handler: Handler, opening: str = "{", closing: str = "}") -> str:
    name = handler.__name__
    return f"/{name}/{opening}bank{closing}" if name == "withdraw" else f"/{name}"


def in_async(handler: Handler) -> Handler:
    """The same function, async."""

    @functools.wraps(handler)
    async def run(*args: object, **kwargs: object) -> object:
        return handler(*args, **kwargs)

    return run


def flask_app(handlers: list[Handler]) -> Send:
    app = Flask("participant")
    for handler in handlers:
        app.route(path_of(handler, "<", ">"))(for_flask.participant(table="my_barrier")(handler))

    def send(method: str, target: str, body: bytes) -> Answer:
        answer = app.test_client().open(target, method=method, data=body)
        return answer.status_code, answer.mimetype or "", answer.data

    return send


def quart_app(run: Callable[[Callable[[], Awaitable[Answer]]], Answer], app: Quart) -> Callable[[list[Handler]], Send]:
    def make(handlers: list[Handler]) -> Send:
        for handler in handlers:
            app.route(path_of(handler, "<", ">"))(for_quart.participant(table="my_barrier")(handler))

        def send(method: str, target: str, body: bytes) -> Answer:
            async def main() -> Answer:
                client: Any = app.test_client()
                answer = await client.open(target, method=method, data=body)
                return answer.status_code, answer.mimetype, await answer.get_data()

            return run(main)

        return send

    return make


def starlette_app(handlers: list[Handler]) -> Send:
    decorate = for_fastapi.participant(table="my_barrier")
    routes = [Route(path_of(handler), decorate(handler), methods=METHODS) for handler in handlers]
    return _test_client(Starlette(routes=routes))


def fastapi_app(handlers: list[Handler]) -> Send:
    app = FastAPI()
    for handler in handlers:
        app.api_route(path_of(handler), methods=list(METHODS))(for_fastapi.participant(table="my_barrier")(handler))
    return _test_client(app)


def _test_client(app: Starlette) -> Send:
    client = TestClient(app)

    def send(method: str, target: str, body: bytes) -> Answer:
        answer = client.request(method, target, content=body)
        return answer.status_code, answer.headers["Content-Type"], answer.content

    return send


def django_app(handlers: list[Handler]) -> Send:
    if not django_settings.configured:
        django_settings.configure(
            ALLOWED_HOSTS=["testserver"], MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"]
        )
        django.setup()
    decorate = for_django.participant(table="my_barrier")
    urls: Any = ModuleType("urls")
    urls.urlpatterns = [django_path(path_of(each, "<", ">")[1:], cast("Any", decorate(each))) for each in handlers]
    is_async = inspect.iscoroutinefunction(handlers[0])

    def send(method: str, target: str, body: bytes) -> Answer:
        with override_settings(ROOT_URLCONF=urls):
            if is_async:
                untyped: Any = AsyncClient(enforce_csrf_checks=True)
                answer: Any = asyncio.run(untyped.generic(method, target, body, content_type="application/json"))
            else:
                answer = Client(enforce_csrf_checks=True).generic(method, target, body, content_type="application/json")
            return answer.status_code, answer["Content-Type"], answer.content

    return send


APPS: dict[str, Callable[[], Send]] = {
    "Flask": lambda: flask_app(list(HANDLERS)),
    "Quart": lambda: quart_app(lambda main: asyncio.run(_coroutine(main)), Quart("a"))([*map(in_async, HANDLERS)]),
    "Quart, threads": lambda: quart_app(lambda main: asyncio.run(_coroutine(main)), Quart("b"))(list(HANDLERS)),
    "Quart on trio": lambda: quart_app(trio.run, QuartTrio("c"))([*map(in_async, HANDLERS)]),
    "Quart on trio, threads": lambda: quart_app(trio.run, QuartTrio("d"))(list(HANDLERS)),
    "Starlette": lambda: starlette_app([*map(in_async, HANDLERS)]),
    "Starlette, threads": lambda: starlette_app(list(HANDLERS)),
    "FastAPI": lambda: fastapi_app([*map(in_async, HANDLERS)]),
    "FastAPI, threads": lambda: fastapi_app(list(HANDLERS)),
    "Django": lambda: django_app(list(HANDLERS)),
    "Django, async": lambda: django_app([*map(in_async, HANDLERS)]),
}


async def _coroutine(main: Callable[[], Awaitable[T]]) -> T:
    return await main()


@pytest.fixture(scope="module", params=list(APPS))
def send(request: pytest.FixtureRequest) -> Send:
    return APPS[request.param]()


def meaning(status: int, body: bytes) -> str:
    """What DTM takes an answer for (spec 3.2)."""
    if status == 425 or b"ONGOING" in body:
        return "ongoing"
    if status == 409 or b"FAILURE" in body:
        return "refused"
    return "succeeded" if status == 200 else "unknown"


def call(send: Send, path: str, body: bytes = b"", **query: str) -> tuple[str, int, Any]:
    """Call a participant as DTM does; returns what the answer means to DTM, its status, and its body read as JSON."""
    status, kind, answer = send("POST" if body else "GET", f"{path}?{urlencode({**QUERY, **query})}", body)
    assert kind == "application/json"
    return meaning(status, answer), status, json.loads(answer)


def test_what_a_function_returns_is_a_success_whatever_words_it_holds(send: Send) -> None:
    assert call(send, "/withdraw/A", GOOD) == (
        "succeeded",
        200,
        {"who": "g-1action", "amount": "30.50", "bank": "A", "note": "FAILURE and ONGOING"},
    )
    assert call(send, "/nothing") == ("succeeded", 200, {"dtm_result": "SUCCESS"})


def test_a_refusal_is_one_though_it_speaks_of_ongoing(send: Send) -> None:
    body = {"dtm_result": "FAILURE", "message": "alice has no money, ONGOING"}
    assert call(send, "/refused", GOOD) == ("refused", 409, body)


def test_what_is_ongoing_is_asked_again(send: Send) -> None:
    assert call(send, "/ongoing") == ("ongoing", 425, {"dtm_result": "ONGOING", "message": "not yet, FAILURE"})


def test_what_breaks_is_no_outcome_and_is_logged(send: Send, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR, "flowtx.client"):
        said = call(send, "/broken")
    assert said == ("unknown", 500, {"message": "ValueError: FAILURE of the disk, ONGOING"})
    [record] = [each for each in caplog.records if each.name == "flowtx.client"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


def test_what_cannot_be_read_is_no_outcome(send: Send) -> None:
    meant, status, body = call(send, "/withdraw/A", b'{"account": "FAILURE"}')
    assert (meant, status) == ("unknown", 400)
    assert "the payload of withdraw does not fit Payment: Object missing required field `amount`" in body["message"]
    meant, status, body = call(send, "/nothing", gid="")
    assert (meant, status) == ("unknown", 400)
    assert "gid is missing or empty" in body["message"]


def test_the_whole_call_can_be_had_and_a_payload_left_out(send: Send) -> None:
    assert call(send, "/whole", b'"text"', op="ä&?") == ("succeeded", 200, ["ä&?", '"text"', "text"])
    assert call(send, "/whole") == ("succeeded", 200, ["action", "", "nothing came"])


def test_what_a_handler_asks_for_must_be_possible() -> None:
    def two(a: int, b: int) -> None: ...
    def many(*everything: int) -> None: ...
    def impossible(a: Payment | dict[str, int]) -> None: ...

    with pytest.raises(WorkflowError, match="takes a and b, but a call has one payload"):
        Participant(two)
    with pytest.raises(WorkflowError, match=r"takes \*everything"):
        Participant(many)
    with pytest.raises(WorkflowError, match="the payload of impossible"):
        Participant(impossible)
    with pytest.raises(WorkflowError, match="withdraw is async, expected a plain function: Flask"):
        for_flask.participant()(in_async(withdraw))
    unknown = eval("lambda a: None")
    unknown.__annotations__ = {"a": "NoSuchType"}
    with pytest.raises(WorkflowError, match=r"the signature of .* cannot be read"):
        Participant(unknown)


jsonable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["FAILURE", "\\FAILURE", "xONGOING\\"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.just("FAILURE"), inner),
)


@given(jsonable)
def test_disarmed_json_reads_the_same_and_holds_neither_word(value: object) -> None:
    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False)):
        disarmed = disarm(text.encode(errors="surrogatepass"))
        assert b"FAILURE" not in disarmed
        assert b"ONGOING" not in disarmed
        assert json.loads(disarmed.decode(errors="surrogatepass")) == value
