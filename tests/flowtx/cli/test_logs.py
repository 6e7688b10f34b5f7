"""The server's log: a JSON object a line, with everything that is known and whatever is logged."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowtx.cli.logs import JsonLines, TextLines, set_up_logging
from flowtx.observers.log import log_request
from flowtx_dsl.current import CurrentStep, reset_current_step, set_current_step
from flowtx_engine.runtime.speech import replaying, watch_records

log = logging.getLogger("tests.logs")


@pytest.fixture
def root() -> Iterator[None]:
    """Logging as it was, afterwards."""
    before, level = list(logging.root.handlers), logging.root.level
    yield
    logging.root.handlers[:] = before
    logging.root.setLevel(level)


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_says_what_is_known(root: None, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(level="info", form="auto")
    before = set_current_step(CurrentStep(gid="g", address="0/1", key="g/0/1", attempt=2))
    try:
        log.warning("of %d", 7, extra={"status": "submitted"})
    finally:
        reset_current_step(before)
    log.debug("not said")
    (line,) = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", str(line.pop("ts")))
    assert str(line.pop("caller")).startswith("test_logs.py:")
    assert line == {
        "level": "warn",
        "logger": "tests.logs",
        "msg": "of 7",
        "gid": "g",
        "address": "0/1",
        "attempt": 2,
        "status": "submitted",
    }


def test_a_traceback_is_a_field_and_not_more_lines(root: None, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(level="info", form="json")
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("it broke")
    (line,) = lines(capsys)
    assert str(line["stacktrace"]).endswith("ValueError: odd")


def test_text_is_for_people(root: None, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(level="info", form="text")
    log.info("done", extra={"gid": "g"})
    assert re.fullmatch(r"\S+ info tests\.logs: done gid=g\n", capsys.readouterr().err)


def test_nothing_is_written_while_a_run_is_replayed(root: None, capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(level="debug", form="json")
    with replaying("g"):
        log.error("again")
    log.info("new")
    assert [line["msg"] for line in lines(capsys)] == ["new"]


def test_requests_that_were_not_done_are_told_and_others_are_for_debugging(
    root: None, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_logging(level="info", form="json")
    log_request("http", "submit", 200, 0.001)
    log_request("http", "submit", 409, 0.0012)
    (line,) = lines(capsys)
    assert [line[name] for name in ("logger", "api", "status", "elapsed_ms")] == ["flowtx.access", "submit", 409, 1.2]


@given(st.dictionaries(st.text(), st.from_type(object)), st.text())
def test_nothing_that_is_logged_is_lost_or_breaks_the_line(extra: dict[str, object], message: str) -> None:
    record = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": message})
    record.__dict__["found"] = extra
    for formatter in (JsonLines(), TextLines()):
        formatted = formatter.format(record)
        assert message in formatted or isinstance(formatter, JsonLines)
    line = JsonLines().format(record)
    assert "\n" not in line
    assert json.loads(line)["msg"] == message


def test_watching_records_twice_is_watching_once() -> None:
    watch_records()
    made = logging.getLogRecordFactory()
    watch_records()
    assert logging.getLogRecordFactory() is made
