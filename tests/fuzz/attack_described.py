"""An attacker that reads the OpenAPI document: Schemathesis draws requests that fit it, and requests that do not.

The law of this file: one route and way at a time, few requests each, so that it can end soon when it is asked to. And
nothing is sent that looks like the server's inside: Hypothesis also draws the constants that stand in the project's own
code, topics are given back to whoever asks, and then no judge can tell a leak from an echo.
"""

from __future__ import annotations

import threading
from typing import Any, cast

import requests
import schemathesis
import trio
from hypothesis import HealthCheck, Phase, assume, given, seed, settings
from schemathesis import GenerationMode

from tests.fuzz.judge import shows_the_inside, wrong_with_http, wrong_with_rpc
from tests.fuzz.scene import RPC, Scene

REQUESTS = 20
ANSWER_MAX_S = 30.0
SLOW = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
"""What drawing from schemas is by its nature."""


async def attack_described(scene: Scene) -> None:
    """Requests drawn from the document, until cancelled."""
    ended = threading.Event()
    try:
        await trio.to_thread.run_sync(_attack, scene, ended, abandon_on_cancel=True)
    finally:
        ended.set()


def _attack(scene: Scene, ended: threading.Event) -> None:
    document = requests.get(f"{scene.dtm.url}/openapi.json", timeout=ANSWER_MAX_S).json()
    api: Any = schemathesis.openapi.from_dict(document)
    routes = [(path, method) for path, methods in document["paths"].items() for method in methods]
    while not ended.is_set():
        path, method = scene.dice.choice(routes)
        mode = scene.dice.choice((GenerationMode.POSITIVE, GenerationMode.NEGATIVE))
        if mode is GenerationMode.NEGATIVE and not _can_be_wrong(document["paths"][path][method]):
            continue
        _ask_some(scene, api[path][method.upper()].as_strategy(generation_mode=mode), ended)


def _can_be_wrong(operation: dict[str, Any]) -> bool:
    return "requestBody" in operation or any(each["in"] == "query" for each in operation.get("parameters", ()))


def _ask_some(scene: Scene, drawn: Any, ended: threading.Event) -> None:
    @seed(scene.dice.randrange(2**32))
    @settings(
        max_examples=REQUESTS,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=SLOW,
    )
    @given(case=drawn)
    def ask(case: Any) -> None:
        sent = f"{case.path_parameters} {case.query} {case.headers} {case.cookies} {case.body}"
        assume(not shows_the_inside(sent.encode("utf-8", "surrogatepass")))
        if not ended.is_set():
            _ask_one(scene, case)

    ask()


def _ask_one(scene: Scene, case: Any) -> None:
    body: object = case.body
    if isinstance(body, dict) and "wait_result" in body:
        cast("dict[str, object]", body)["wait_result"] = False  # a minute may pass; others wait for results
    try:
        answer = case.call(base_url=scene.dtm.url, timeout=ANSWER_MAX_S)
    except requests.RequestException as error:
        scene.book.note(scene.name, "broken off")
        scene.book.find("a whole request was not answered", f"{case.as_curl_command()}\n{error!r}")
        return
    content = bytes(answer.content)
    wrong = (
        wrong_with_rpc(answer.status_code, content)
        if case.path == RPC
        else wrong_with_http(case.path, answer.status_code, content)
    )
    scene.book.note(scene.name, str(answer.status_code))
    if wrong:
        scene.book.find(wrong, f"{case.as_curl_command()}\n{answer.status_code} {content!r}")
