"""Traces by OpenTelemetry: a span for each time a transaction is driven, a span below it for each call.

The law of this file: OpenTelemetry is imported when traces are wanted and not before. Without it, the trace that a
request brought is passed on to the participants as it came, so that theirs is whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from flowtx_dsl.errors import FlowtxError
from flowtx_engine.calls.attempt import Attempt, Outcome
from flowtx_engine.calls.http_url import shown
from flowtx_engine.calls.passing import pass_on
from flowtx_engine.journal.records import Transaction
from flowtx_engine.runtime.observer import Observer

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.trace import Span, TracerProvider


class TracingMissing(FlowtxError):
    """Traces are wanted and OpenTelemetry is not installed."""

    remedy = "Install it: pip install 'flowtx[tracing]'; or switch the setting tracing off."


class _Stored(msgspec.Struct, frozen=True):
    traceparent: str = ""


_stored = msgspec.json.Decoder(_Stored)


def traceparent_of(row: Transaction) -> str:
    """The trace that a transaction's request belonged to, "" for none."""
    return _stored.decode(row.options).traceparent if b'"traceparent"' in row.options else ""


class PassingOn(Observer):
    """Hands the trace of a transaction's request on to its participants; needs nothing installed."""

    def calling(self, row: Transaction, attempt: Attempt) -> None:
        """See ``Observer.calling``."""
        traceparent = traceparent_of(row)
        if traceparent:
            pass_on((("traceparent", traceparent),))


class Traces(Observer):
    """Makes spans with a provider, and hands those of calls on to the participants."""

    def __init__(self, provider: TracerProvider) -> None:
        # Heavy, and not installed unless traces are wanted.
        from opentelemetry import context, trace  # noqa: PLC0415 - see above
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - too

        self._trace = trace
        self._context = context
        self._propagator = TraceContextTextMapPropagator()
        self._tracer = provider.get_tracer("flowtx")
        self._driven: dict[str, Span] = {}
        self._calls: dict[tuple[str, str], Span] = {}

    def driven(self, row: Transaction) -> None:
        """See ``Observer.driven``."""
        self._end_round(row.gid)
        self._driven[row.gid] = self._tracer.start_span(
            f"drive {row.workflow}",
            context=self._arrived(row),
            attributes={"flowtx.gid": row.gid, "flowtx.pattern": row.pattern},
        )

    def calling(self, row: Transaction, attempt: Attempt) -> None:
        """See ``Observer.calling``: what a step's function traces is below its call."""
        round_ = self._driven.get(row.gid)
        parent = self._trace.set_span_in_context(round_) if round_ is not None else self._arrived(row)
        span = self._tracer.start_span(
            f"{attempt.op} {shown(attempt.command.call.name)}",
            context=parent,
            kind=self._trace.SpanKind.CLIENT,
            attributes={
                "flowtx.gid": row.gid,
                "flowtx.address": attempt.address,
                "flowtx.attempt": attempt.number,
                "flowtx.op": attempt.op,
            },
        )
        self._calls[row.gid, attempt.address] = span
        current = self._trace.set_span_in_context(span)
        self._context.attach(current)  # for the task of this call, which ends with it
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, current)
        pass_on(tuple(carrier.items()))

    def called(self, row: Transaction, attempt: Attempt, outcome: Outcome | None, elapsed_s: float) -> None:
        """See ``Observer.called``."""
        span = self._calls.pop((row.gid, attempt.address), None)
        if span is None:
            return
        span.set_attribute("flowtx.outcome", outcome.kind if outcome is not None else "given up")
        if outcome is not None and outcome.error is not None:
            span.set_status(self._trace.StatusCode.ERROR, str(outcome.error).split("\n", 1)[0])
        span.end()

    def rested(self, row: Transaction, error: Exception | None) -> None:
        """See ``Observer.rested``."""
        span = self._driven.get(row.gid)
        if span is not None:
            span.set_attribute("flowtx.status", row.status)
            if error is not None or row.status == "failed":
                span.set_status(self._trace.StatusCode.ERROR, str(error) if error is not None else row.reason)
        self._end_round(row.gid)

    def _end_round(self, gid: str) -> None:
        span = self._driven.pop(gid, None)
        if span is not None:
            span.end()

    def _arrived(self, row: Transaction) -> Context:
        return self._propagator.extract({"traceparent": traceparent_of(row)}, self._context.Context())


def provider_from_environment() -> TracerProvider:
    """The provider that is set up already, else one that sends to where the OTEL_* variables say (OTLP over HTTP).

    Raises ``TracingMissing`` when OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import trace  # noqa: PLC0415 - heavy, and not installed unless traces are wanted
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - as above
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - as above
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - as above
    except ImportError as error:
        raise TracingMissing(f"the setting tracing is on, and {error.name} is not installed") from error
    there = trace.get_tracer_provider()
    if isinstance(there, TracerProvider):
        return there
    made = TracerProvider(resource=Resource.create({"service.name": "flowtx"}))
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return made
