"""A running server answers as its OpenAPI document says, whatever it is asked; Schemathesis draws the requests.

The law of this file: the document comes from the server under test. An error is one that the document names for the
route, and its body says what is wrong and nothing of the server's inside.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from typing import Any, cast
from urllib.request import urlopen

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks  # pyright: ignore[reportUnknownVariableType]  # its own types have holes

from tests.compat.dtm import API, SUCCESS, Dtm
from tests.compat.inside import INSIDE
from tests.compat.orders import new_gid
from tests.compat.server import foreign_server, running_server

pytestmark = pytest.mark.timeout(3600)  # of the night's profile

ANSWER_MAX_S = 20
EXAMPLES = max(10, settings().max_examples // 8)
"""Requests for each route and way to draw them: 12 by day, 625 by night."""

ROUTES = (
    *(f"GET {API}/{name}" for name in ("newGid", "version", "resetCronTime", "query", "all", "subscribe")),
    *(f"GET {API}/{name}" for name in ("unsubscribe", "queryKV", "scanKV")),
    *(f"POST {API}/{name}" for name in ("prepare", "submit", "abort", "registerBranch", "registerTccBranch")),
    *(f"POST {API}/{name}" for name in ("registerXaBranch", "prepareWorkflow", "resetNextCronTime", "forceStop")),
    f"DELETE {API}/topic/{{name}}",
    "POST /api/json-rpc",
    "GET /api/ping",
)

NOTHING_TO_GET_WRONG = {
    f"GET {API}/newGid",
    f"GET {API}/version",
    "GET /api/ping",
    f"DELETE {API}/topic/{{name}}",  # any text is a name
}
CASES = [
    *((route, GenerationMode.POSITIVE) for route in ROUTES),
    *((route, GenerationMode.NEGATIVE) for route in ROUTES if route not in NOTHING_TO_GET_WRONG),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, front: dict[str, object]) -> Generator[Dtm]:
    """A server of its own: what is left unfinished here ends with it."""
    if foreign := foreign_server():
        yield foreign
        return
    with running_server(tmp_path_factory.mktemp("described"), {**front, "log_level": "error"}) as dtm:
        yield dtm


@pytest.fixture(scope="module")
def document(server: Dtm) -> dict[str, Any]:
    with urlopen(f"{server.url}/openapi.json", timeout=ANSWER_MAX_S) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


@pytest.fixture(scope="module")
def api(document: dict[str, Any]) -> Any:
    load_all_checks()
    return schemathesis.openapi.from_dict(document)


SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
"""What drawing from schemas is by its nature."""
CONFORMANCE = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")


def conformance() -> list[Any]:
    """The checks of an answer against its description."""
    return [CHECKS.get_one(name) for name in CONFORMANCE]


def check(case: Any, server: Dtm) -> None:
    """Send it; the answer must be as described, and show nothing of the inside."""
    body: object = case.body
    if isinstance(body, dict) and cast("dict[str, object]", body).get("wait_result") is True:
        body["wait_result"] = False  # answers may take a minute; other tests wait for them
    answer = case.call(base_url=server.url, timeout=ANSWER_MAX_S)
    if answer.status_code == 404:  # a name that is empty, or has a slash, is no topic's
        assert "{name}" in case.path
        return
    case.validate_response(answer, checks=conformance())
    if answer.status_code >= 500:
        said = cast("dict[str, str]", answer.json())
        assert list(said) == ["message"]
        assert not INSIDE.search(said["message"]), said


@pytest.mark.parametrize(("route", "mode"), CASES)
def test_answers_are_as_the_document_says(server: Dtm, api: Any, route: str, mode: GenerationMode) -> None:
    method, path = route.split(" ")
    drawn = api[path][method].as_strategy(generation_mode=mode)

    @settings(max_examples=EXAMPLES, suppress_health_check=SLOW)
    @given(case=drawn)
    def ask(case: Any) -> None:
        check(case, server)

    ask()
    with urlopen(f"{server.url}/api/ping", timeout=ANSWER_MAX_S) as answer:
        assert answer.read() == b'{"msg":"pong"}'


def test_every_route_of_the_document_is_asked(document: dict[str, Any]) -> None:
    assert set(ROUTES) == {
        f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods
    }


def test_answers_about_a_transaction_are_as_the_document_says(server: Dtm, api: Any) -> None:
    gid = new_gid()
    tcc = {"gid": gid, "trans_type": "tcc"}
    url = "http://127.0.0.1:1/"
    branch = {**tcc, "branch_id": "01", "data": "{}", "confirm": url, "cancel": url}
    workflow = {"gid": f"{gid}-w", "trans_type": "workflow", "query_prepared": url, "custom_data": '{"name":"w"}'}
    told: tuple[tuple[str, str, dict[str, Any], int], ...] = (
        ("POST", "prepare", tcc, 200),
        ("POST", "registerBranch", branch, 200),
        ("POST", "registerBranch", {**branch, "gid": "nobody's"}, 409),
        ("POST", "registerBranch", {**branch, "data": 1}, 400),
        ("POST", "registerBranch", branch, 500),
        ("GET", "query", {"gid": gid}, 200),
        ("GET", "all", {}, 200),
        ("GET", "all", {"gid": "nobody's"}, 200),
        ("POST", "prepareWorkflow", workflow, 200),
        ("POST", "forceStop", {"gid": gid}, 200),
        ("POST", "forceStop", {"gid": gid}, 409),
        ("GET", "subscribe", {"topic": gid, "url": url}, 200),
        ("GET", "queryKV", {"cat": "topics"}, 200),
        ("GET", "scanKV", {"cat": "topics"}, 200),
    )
    for method, name, given_as, status in told:
        said: dict[str, Any] = (
            {"query": given_as} if method == "GET" else {"body": given_as, "media_type": "application/json"}
        )
        case = api[f"{API}/{name}"][method].Case(**said)
        answer = case.call(base_url=server.url, timeout=ANSWER_MAX_S)
        assert answer.status_code == status, (name, answer.text)
        case.validate_response(answer, checks=conformance())


async def test_the_pages_are_served_and_a_slash_too_many_is_not(server: Dtm) -> None:
    page = await server.ask("GET", "/docs")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"openapi.json" in page.body
    assert (await server.ask("HEAD", "/docs")).status == 404
    assert (await server.ask("POST", "/openapi.json")).status == 404
    assert (await server.post("prepare", {"gid": "after-pages", "trans_type": "tcc"})).body == SUCCESS
