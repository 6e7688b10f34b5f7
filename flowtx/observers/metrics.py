"""Metrics for Prometheus: DTM's names, and what a journal and an engine have besides.

The law of this file: it publishes what others have counted, at the moment somebody asks. Every name stands in the
reference.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from flowtx.observers.tally import BOUNDS, Durations, Tally
from flowtx.version import __version__
from flowtx_engine.runtime.node import EngineStatistics

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """The metrics of one server: its tally, and what its engine says of itself."""

    def __init__(
        self, tally: Tally, statistics: Callable[[], EngineStatistics], *, alerts: Mapping[str, int] | None = None
    ) -> None:
        """``alerts`` counts alerts by what became of them, when there is a web hook."""
        self._registry = CollectorRegistry()
        self._registry.register(_Published(tally, statistics, alerts))
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry)


class _Published(Collector):
    def __init__(
        self, tally: Tally, statistics: Callable[[], EngineStatistics], alerts: Mapping[str, int] | None
    ) -> None:
        self._tally = tally
        self._statistics = statistics
        self._alerts = alerts

    def collect(self) -> Iterator[Metric]:
        yield from self._of_dtm()
        yield from self._of_calls()
        yield from self._of_engine(self._statistics())
        if self._alerts is not None:
            alerts = _counter("flowtx_alerts", "Alerts, by what became of them.", ["outcome"])
            for outcome in ("sent", "failed", "dropped"):
                alerts.add_metric([outcome], self._alerts.get(outcome, 0))
            yield alerts

    def _of_dtm(self) -> Iterator[Metric]:
        tally = self._tally
        info = GaugeMetricFamily("dtm_server_info", "The server.", labels=["gin_version", "grpc_version"])
        info.add_metric(["none", _version_of("grpcio")], 1)
        yield info
        requests = _counter("dtm_server_process", "Requests answered.", ["type", "api", "status"])
        for labels, count in tally.requests.items():
            requests.add_metric(labels, count)
        yield requests
        yield _histogram(
            "dtm_server_response_duration", "Seconds until an answer.", ["type", "api"], tally.request_durations
        )
        rounds = _counter("dtm_transaction_process", "Rounds of transactions.", ["model", "status"])
        for round_labels, count in tally.rounds.items():
            rounds.add_metric(round_labels, count)
        yield rounds
        yield _histogram(
            "dtm_transaction_handled_duration",
            "Seconds from a transaction's creation to its end.",
            ["model"],
            {(pattern,): durations for pattern, durations in tally.handled_durations.items()},
        )
        branches = _counter(
            "dtm_branch_process", "Attempts at branches.", ["model", "branchid", "branchtype", "status"]
        )
        for branch_labels, count in tally.branches.items():
            branches.add_metric(branch_labels, count)
        yield branches

    def _of_calls(self) -> Iterator[Metric]:
        calls = _counter("flowtx_calls", "Attempts at steps, by what was called.", ["kind", "outcome"])
        for labels, count in self._tally.calls.items():
            calls.add_metric(labels, count)
        yield calls
        yield _histogram(
            "flowtx_call_duration",
            "Seconds that an attempt took.",
            ["kind"],
            {(kind,): durations for kind, durations in self._tally.call_durations.items()},
        )

    def _of_engine(self, found: EngineStatistics) -> Iterator[Metric]:
        info = GaugeMetricFamily("flowtx_info", "What runs here.", labels=["version", "python"])
        info.add_metric([__version__, platform.python_version()], 1)
        yield info
        journal = found.journal
        for name, help_text, value in (
            ("flowtx_transactions_active", "Transactions driven just now.", found.active_count),
            ("flowtx_transactions_stuck", "Transactions that wait for other code.", found.stuck_count),
            ("flowtx_journal_pending", "Appends that wait for their commit.", journal.pending_count),
        ):
            yield GaugeMetricFamily(name, help_text, value=value)
        for name, help_text, count in (
            ("flowtx_transactions_driven", "Times that a transaction was taken up.", self._tally.driven_count),
            ("flowtx_transactions_recovered", "Of these, begun before this start.", self._tally.recovered_count),
            ("flowtx_journal_commits", "Commits of the journal.", journal.commit_count),
            ("flowtx_journal_commit_seconds", "Seconds spent in these commits.", journal.commit_seconds),
            ("flowtx_journal_appends", "Appends in these commits.", journal.write_count),
            ("flowtx_journal_events", "Events in these appends.", journal.row_count),
            ("flowtx_journal_conflicts", "Appends that met a conflict.", journal.conflict_count),
        ):
            yield CounterMetricFamily(name, help_text, value=count)


def _counter(name: str, help_text: str, labels: list[str]) -> CounterMetricFamily:
    return CounterMetricFamily(name, help_text, labels=labels)


def _histogram(name: str, help_text: str, labels: list[str], found: Mapping[Any, Durations]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(name, help_text, labels=labels)
    for values, durations in found.items():
        buckets: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*(str(bound) for bound in BOUNDS), "+Inf"), durations.counts, strict=True):
            total += count
            buckets.append((bound, total))
        family.add_metric(values, buckets=buckets, sum_value=durations.sum_s)
    return family


def _version_of(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"
