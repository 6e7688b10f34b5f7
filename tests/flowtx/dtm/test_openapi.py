"""The OpenAPI document says of every route what the code does, and of nothing else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from openapi_spec_validator import validate

from flowtx.dtm import routes
from flowtx.dtm.openapi.described import DESCRIBED
from flowtx.dtm.openapi.document import make_document
from flowtx.dtm.openapi.schemas import BRANCH_FIELDS, TRANSACTION_FIELDS
from flowtx.dtm.operations.desk import Desk
from flowtx.dtm.pages import DOCS_PATH, OPENAPI_PATH, PAGES
from flowtx.dtm.routes import JSON_RPC_PATH, NAMED_ROUTES, PING_PATH, ROUTES, Asked
from flowtx.dtm.wire.requests import READERS, BranchRequest, parse_branch_request, parse_transaction_request


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """As it is served."""
    found: dict[str, Any] = json.loads(PAGES[OPENAPI_PATH]().body)
    return found


def operations(document: Mapping[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document)
    assert document["openapi"].startswith("3.1.")


def test_every_route_is_in_the_document_and_nothing_else(document: dict[str, Any]) -> None:
    named = {(method, f"{path}{{name}}") for method, path in NAMED_ROUTES}
    assert set(operations(document)) == {*ROUTES, *named, ("POST", JSON_RPC_PATH), ("GET", PING_PATH)}
    assert set(DESCRIBED) == set(operations(document))


def test_a_route_that_nobody_described_is_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = ROUTES["GET", "/api/dtmsvr/query"]
    monkeypatch.setattr("flowtx.dtm.openapi.document.ROUTES", {**ROUTES, ("GET", "/api/dtmsvr/new"): handler})
    with pytest.raises(KeyError, match="/api/dtmsvr/new"):
        make_document()


def test_every_key_of_a_request_is_described() -> None:
    assert set(TRANSACTION_FIELDS) == set(READERS)
    assert set(BRANCH_FIELDS) == set(BranchRequest.__struct_fields__)


def test_every_schema_and_response_is_used(document: dict[str, Any]) -> None:
    used = set(re.findall(r'"#/components/(\w+/\w+)"', json.dumps(document)))
    assert used == {f"{kind}/{name}" for kind, found in document["components"].items() for name in found}


class Recording(dict[str, str]):
    """A query string without anything in it, and what was looked for."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: set[str] = set()

    def read(self, query: bytes) -> Recording:
        """Stands for the reader of query strings."""
        return self

    def get(self, key: str, default: Any = None) -> Any:
        self.wanted.add(key)
        return super().get(key, default)


async def test_the_parameters_of_a_route_are_those_that_it_reads(
    open_desk: Callable[..., AbstractAsyncContextManager[Desk]],
    document: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with open_desk() as desk:
        for (method, path), handler in ROUTES.items():
            query = Recording()
            monkeypatch.setattr(routes, "parse_query", query.read)
            await _carried_out(routes.answer(handler, desk, Asked(b"", b"")))
            described = operations(document)[method, path].get("parameters", [])
            assert {parameter["name"] for parameter in described} == query.wanted, path


async def _carried_out(answer: Awaitable[routes.Answer]) -> None:
    assert b"internal error" not in (await answer).body


def test_examples_can_be_read(document: dict[str, Any]) -> None:
    for (_, path), operation in operations(document).items():
        if "requestBody" not in operation or path == JSON_RPC_PATH:
            continue
        example = operation["requestBody"]["content"]["application/json"]["example"]
        parse = parse_branch_request if "Branch" in path else parse_transaction_request
        assert parse(json.dumps(example).encode()).gid == example["gid"]


def test_the_page_needs_nothing_from_the_network() -> None:
    page = PAGES[DOCS_PATH]()
    assert page.content_type.startswith("text/html")
    text = page.body.decode()
    assert not re.findall(r"https?://|(?:src|href)\s*=\s*[\"']//|@import|innerHTML", text)
    assert "connect-src 'self'" in text


def test_nobody_pays_for_the_document_who_does_not_ask_for_it() -> None:
    program = "import sys; import flowtx.server; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "flowtx.dtm.pages" in run.stdout.split()
    assert not [module for module in run.stdout.split() if module.startswith("flowtx.dtm.openapi.")]
