"""The OpenAPI 3.1 document of DTM's HTTP API, made from the table of routes and the types of requests and answers.

The law of this file: a route that is not described raises here, so that none can be forgotten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flowtx.dtm.openapi.described import DESCRIBED, GROUPS, Described, Parameter
from flowtx.dtm.openapi.schemas import TEXT, Schema, make_schemas, ref
from flowtx.dtm.routes import JSON_RPC_PATH, NAMED_ROUTES, PING_PATH, ROUTES
from flowtx.version import __version__

JSON = "application/json"
PLAIN = "text/plain"

ABOUT = """The HTTP API of flowtx, which is DTM's.

Requests are JSON whatever their `Content-Type`. Names of keys match in any case, unknown keys are ignored, `null` is
the same as leaving a key out."""

ERRORS: Mapping[int, tuple[str, str, str]] = {
    400: ("", "The body cannot be read: it is not JSON, or not of the form that this route takes.", PLAIN),
    408: ("Error", "The body did not arrive in time.", JSON),
    409: ("Failure", "A final no; the message ends in `FAILURE`.", JSON),
    413: ("Error", "The body is longer than the server takes.", JSON),
    425: ("Ongoing", "Not finished: ask again.", JSON),
    500: ("Error", "The request is wrong, or the database failed; nothing was stored.", JSON),
    503: ("Error", "A limit is reached or the server is stopping; nothing was stored, come back later.", JSON),
}
"""What each status but 200 means (spec 2.2): the schema of its body, the words, the type.

The body of a 400 is JSON too, but DTM calls it plain text.
"""


def routes() -> Iterator[tuple[str, str]]:
    """Method and path of everything in the document."""
    yield from ROUTES
    yield from ((method, f"{path}{{name}}") for method, path in NAMED_ROUTES)
    yield "POST", JSON_RPC_PATH
    yield "GET", PING_PATH


def make_document() -> dict[str, Any]:
    """The document, as JSON's values."""
    paths: dict[str, dict[str, Any]] = {}
    for method, path in routes():
        described = DESCRIBED[method, path]
        paths.setdefault(path, {})[method.lower()] = _operation(path, described)
    return {
        "openapi": "3.1.0",
        "info": {"title": "flowtx", "version": __version__, "description": ABOUT},
        "tags": [{"name": name, "description": text} for name, text in GROUPS.items()],
        "paths": paths,
        "components": {"schemas": make_schemas(), "responses": _errors()},
    }


def _operation(path: str, described: Described) -> dict[str, Any]:
    name = path.removesuffix("/{name}").rpartition("/")[2]
    operation: dict[str, Any] = {
        "operationId": name,
        "tags": [described.group],
        "summary": described.summary,
        "responses": {
            "200": {"description": "Done.", "content": {JSON: {"schema": ref(described.done)}}},
            **{str(status): {"$ref": f"#/components/responses/{status}"} for status in described.errors},
        },
    }
    if described.parameters:
        operation["parameters"] = [_parameter(parameter) for parameter in described.parameters]
    if described.body:
        content = {JSON: {"schema": ref(described.body), "example": described.example}}
        operation["requestBody"] = {"required": True, "content": content}
    return operation


def _parameter(parameter: Parameter) -> dict[str, Any]:
    schema: Schema = {"type": "integer", "format": "int64"} if parameter.is_number else dict(TEXT)
    if parameter.is_required:
        schema["minLength"] = 1
    if parameter.default is not None:
        schema["default"] = parameter.default
    return {
        "name": parameter.name,
        "in": parameter.where,
        "required": parameter.is_required,
        "description": parameter.text,
        "schema": schema,
    }


def _errors() -> dict[str, Any]:
    return {
        str(status): {
            "description": text,
            "content": {kind: {"schema": TEXT if kind == PLAIN else ref(schema)}},
        }
        for status, (schema, text, kind) in ERRORS.items()
    }
