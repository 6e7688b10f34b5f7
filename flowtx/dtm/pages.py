"""Pages that explain the API beside it: its OpenAPI document, and a page to read and try it.

The law of this file: nothing is made or read before somebody asks for it, and what was made is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib.resources import files

from flowtx.dtm.routes import Answer
from flowtx.dtm.wire import answers

OPENAPI_PATH = "/openapi.json"
DOCS_PATH = "/docs"


@cache
def answer_openapi() -> Answer:
    """The OpenAPI document."""
    from flowtx.dtm.openapi.document import make_document  # noqa: PLC0415 - most servers are never asked for it

    return Answer(200, answers.encode(make_document()))


@cache
def answer_docs() -> Answer:
    """The page, which reads the document and asks for nothing else but what its reader sends."""
    return Answer(200, files("flowtx.dtm").joinpath("openapi/page.html").read_bytes(), "text/html; charset=utf-8")


PAGES: Mapping[str, Callable[[], Answer]] = {OPENAPI_PATH: answer_openapi, DOCS_PATH: answer_docs}
