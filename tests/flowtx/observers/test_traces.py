"""Traces: spans that hang together, from the request to the participant; nothing without the extra."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import flowtx
from flowtx.dtm.arrivals import arrive, arrived_traceparent
from flowtx.observers.traces import PassingOn, Traces, TracingMissing, provider_from_environment
from flowtx_engine.calls.passing import pass_on, passed_beside
from flowtx_engine.runtime.engine import Engine

ARRIVED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OPTIONS = b'{"traceparent":"%s"}' % ARRIVED.encode()

passed: list[tuple[tuple[str, str], ...]] = []


def fine() -> None:
    passed.append(passed_beside(()))
    with trace.get_tracer_provider().get_tracer("user").start_as_current_span("of the user"):
        pass


def broken() -> None:
    raise RuntimeError("down")


@flowtx.workflow
async def half(tx: flowtx.Tx) -> None:
    await tx.step(fine)
    await tx.step(broken, retry=flowtx.Retry(attempts_max=1))


@pytest.fixture(autouse=True)
def forget() -> None:
    passed.clear()


@pytest.fixture
def spans() -> InMemorySpanExporter:
    return InMemorySpanExporter()


async def run_half(engine: Engine) -> None:
    await engine.create(half, b"[]", gid="g", pattern="saga", options=OPTIONS)
    with pytest.raises(flowtx.TransactionFailed):
        await engine.wait("g")


def context_of(span: ReadableSpan) -> trace.SpanContext:
    found = span.get_span_context()
    assert found is not None
    return found


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


async def test_calls_hang_below_their_transaction_and_that_below_its_request(spans: InMemorySpanExporter) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    async with flowtx.open("memory://") as engine:
        engine.observers.add(Traces(provider))
        await run_half(engine)
    found = by_name(spans)
    drive = found["drive half"]
    assert drive.parent is not None
    assert trace.format_span_id(drive.parent.span_id) == ARRIVED.split("-")[2]
    assert trace.format_trace_id(context_of(drive).trace_id) == ARRIVED.split("-")[1]
    calls = [span for name, span in found.items() if name.startswith("action ")]
    assert len(calls) == 2
    for span in calls:
        assert span.parent is not None
        assert span.parent.span_id == context_of(drive).span_id
    good, bad = sorted(calls, key=lambda span: str((span.attributes or {})["flowtx.address"]))
    assert dict(good.attributes or {}) == {
        "flowtx.gid": "g",
        "flowtx.address": "0",
        "flowtx.attempt": 1,
        "flowtx.op": "action",
        "flowtx.outcome": "succeeded",
    }
    assert bad.status.status_code is trace.StatusCode.ERROR
    assert bad.status.description == "down"
    assert drive.status.status_code is trace.StatusCode.ERROR
    assert dict(drive.attributes or {})["flowtx.status"] == "failed"
    (header,) = passed[0]
    assert header == (
        "traceparent",
        f"00-{ARRIVED.split('-')[1]}-{trace.format_span_id(context_of(good).span_id)}-01",
    ), "the participant's spans hang below the call's"


async def test_a_call_that_nobody_waits_for_any_more_ends_its_span(spans: InMemorySpanExporter) -> None:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))

    async def hang() -> None:
        await trio.sleep_forever()

    @flowtx.workflow
    async def gives_up(tx: flowtx.Tx) -> None:
        with tx.move_on_after(0.05):
            await tx.step(hang)

    async with flowtx.open("memory://") as engine:
        engine.observers.add(Traces(provider))
        await engine.run(gives_up)
    outcomes = [dict(span.attributes or {}).get("flowtx.outcome") for span in spans.get_finished_spans()]
    assert "given up" in outcomes


async def test_without_tracing_the_requests_trace_is_passed_on_as_it_came() -> None:
    async with flowtx.open("memory://") as engine:
        engine.observers.add(PassingOn())
        await run_half(engine)
    assert passed == [(("traceparent", ARRIVED),)]


async def test_a_transaction_without_a_trace_passes_nothing_on() -> None:
    async with flowtx.open("memory://") as engine:
        engine.observers.add(PassingOn())
        with pytest.raises(flowtx.TransactionFailed):
            await engine.run(half)
    assert passed == [()]


def test_what_a_target_names_itself_is_left_to_it() -> None:
    pass_on((("traceparent", "a"), ("tracestate", "b")))
    try:
        assert passed_beside((("TraceParent", "mine"),)) == (("tracestate", "b"),)
    finally:
        pass_on(())


@pytest.mark.parametrize("header", ["", "x", ARRIVED.upper(), f"{ARRIVED}-1", f"{ARRIVED}\r\nx: y"])
def test_what_is_no_traceparent_is_none(header: str) -> None:
    arrive(ARRIVED)
    assert arrived_traceparent() == ARRIVED
    arrive(header)
    assert arrived_traceparent() == ""


def test_opentelemetry_is_not_imported_unless_traces_are_wanted() -> None:
    code = "import sys, flowtx.server; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_a_missing_extra_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.resources", None)
    with pytest.raises(TracingMissing, match=r"opentelemetry\.sdk\.resources is not installed\n  -> Install it: pip"):
        provider_from_environment()
