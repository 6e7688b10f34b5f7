"""URLs of message queues in requests: what can never be sent is refused before anything is stored.

The law of this file: a queue answers nothing but that it has the message, so it can stand for a branch that need not
say no, and for nobody who is asked a question.
"""

from __future__ import annotations

from flowtx.dtm.wire.errors import RequestError
from flowtx_dsl.errors import WorkflowError
from flowtx_dsl.queues import check_library, is_queue, parse_queue_url, shown_url


def check_queue_url(url: str, what: str) -> None:
    """Raises ``RequestError`` for a URL of a queue that is malformed, or that this server has no library for."""
    if wrong := wrong_with_queue(url):
        raise RequestError(f"{what}: {wrong}")


def wrong_with_queue(url: str) -> str:
    """What is wrong with a URL of a queue; empty when nothing is, and for other URLs."""
    if not is_queue(url):
        return ""
    try:
        check_library(parse_queue_url(url).broker)
    except WorkflowError as error:
        return f"{error.message}. {error.remedy}"
    return ""


def refuse_queue(url: str, what: str) -> None:
    """Raises ``RequestError`` for a queue where an answer is needed."""
    if is_queue(url):
        raise RequestError(
            f"{what} is the queue {shown_url(url)}, which cannot answer; expected a participant over HTTP or gRPC"
        )
