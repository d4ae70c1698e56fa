"""Everything that is counted, in one registry per process made service (tests make many).

Labels are route templates, operations and states: never names of tenants, buckets or objects. Where
several processes count together (`shared_metrics`), a scrape of any of them shows all: counters and
histograms are added up, and so are gauges of what is going on now; of what was looked at, the last
look of any process counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from service.telemetry.shared_metrics import is_shared, render_all

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_ADDED: Literal["livesum"] = "livesum"
_LAST: Literal["mostrecent"] = "mostrecent"
"""How gauges of several processes become one; those of ended processes count in the second only."""

_REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600)
_LAG_BUCKETS = (
    *(0.001, 0.0025, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.06, 0.075, 0.1, 0.15),
    *(0.25, 0.5, 1, 2.5, 5, 10),
)
_STORE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One counter per question that an operator asks; times in seconds, sizes in bytes."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._shared = is_shared()
        self._watched: list[tuple[Gauge, Callable[[], float]]] = []
        self.requests = Counter(
            "mediagate_requests",
            "Requests answered",
            ("route", "method", "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "mediagate_request_duration_seconds",
            "From the request's head to the end of its response",
            ("route", "method"),
            buckets=_REQUEST_BUCKETS,
            registry=registry,
        )
        self.requests_in_flight = Gauge(
            "mediagate_requests_in_flight",
            "Requests being served now",
            registry=registry,
            multiprocess_mode=_ADDED,
        )
        self.loop_lag_seconds = Histogram(
            "mediagate_event_loop_lag_seconds",
            "How late the event loop gets to what is due, looked at twenty times a second",
            buckets=_LAG_BUCKETS,
            registry=registry,
        )
        self.connections = Gauge(
            "mediagate_connections",
            "Client connections open now",
            registry=registry,
            multiprocess_mode=_ADDED,
        )
        self.connections_refused = Counter(
            "mediagate_connections_refused",
            "Connections closed by a timer or a limit",
            ("reason",),
            registry=registry,
        )
        self.bytes_in = Counter(
            "mediagate_received_bytes", "Bytes of request bodies read", registry=registry
        )
        self.bytes_out = Counter(
            "mediagate_sent_bytes", "Bytes of responses sent", registry=registry
        )
        self.bytes_spliced = Counter(
            "mediagate_spliced_bytes",
            "Bytes of responses that the kernel moved, those of sent_bytes that cost no copy",
            registry=registry,
        )
        self.parts_in_flight = Gauge(
            "mediagate_parts_in_flight",
            "Parts being sent to the store now",
            registry=registry,
            multiprocess_mode=_ADDED,
        )
        self.budget_used_bytes = Gauge(
            "mediagate_budget_used_bytes",
            "Byte budget held by parts",
            registry=registry,
            multiprocess_mode=_ADDED,
        )
        self.budget_limit_bytes = Gauge(
            "mediagate_budget_limit_bytes",
            "Byte budget of all workers together",
            registry=registry,
            multiprocess_mode=_ADDED,
        )
        self.ledger_uploads = Gauge(
            "mediagate_ledger_uploads",
            "Entries of the write ledger by state, as of the last look",
            ("state",),
            registry=registry,
            multiprocess_mode=_LAST,
        )
        self.sweeper_work = Counter(
            "mediagate_sweeper_work",
            "What the sweeper of this process did",
            ("kind",),
            registry=registry,
        )
        self.audit_findings = Gauge(
            "mediagate_audit_findings",
            "Differences between metadata and store, as of the last cycle of any replica",
            ("kind",),
            registry=registry,
            multiprocess_mode=_LAST,
        )
        self.cycle_finished = Gauge(
            "mediagate_cycle_finished_timestamp_seconds",
            "When the last whole cycle of the auditor or the scrubber ended",
            ("worker",),
            registry=registry,
            multiprocess_mode="max",
        )
        self.scrubbed_blobs = Counter(
            "mediagate_scrubbed_blobs",
            "Blobs that the scrubber of this process read back",
            ("result",),
            registry=registry,
        )
        self.scrubbed_bytes = Counter(
            "mediagate_scrubbed_bytes", "Bytes that it read back", registry=registry
        )
        self.journal_lag_seconds = Gauge(
            "mediagate_journal_lag_seconds",
            "Age of the oldest event that the journal has not got, as of the last look",
            registry=registry,
            multiprocess_mode=_LAST,
        )
        self.journal_pending = Gauge(
            "mediagate_journal_pending_events",
            "Events that the journal has not got, as of the last look",
            registry=registry,
            multiprocess_mode=_LAST,
        )
        self.journal_published = Counter(
            "mediagate_journal_published_events",
            "Events that the publisher of this process took to the journal",
            registry=registry,
        )
        self.journal_objects = Gauge(
            "mediagate_journal_objects",
            "Objects of the journal, as of the last compaction of this process",
            registry=registry,
            multiprocess_mode=_LAST,
        )
        self.store_seconds = Histogram(
            "mediagate_store_duration_seconds",
            "Calls to the stores, errors included",
            ("store", "operation"),
            buckets=_STORE_BUCKETS,
            registry=registry,
        )
        self.store_errors = Counter(
            "mediagate_store_errors",
            "Calls to the stores that failed, by the code of the error",
            ("store", "operation", "code"),
            registry=registry,
        )
        self.breaker_open = Gauge(
            "mediagate_breaker_open",
            "1 while a store does not answer and new requests are refused for it",
            ("store",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self.requests_shed = Counter(
            "mediagate_requests_shed",
            "Requests refused at once, since a store did not answer",
            ("store",),
            registry=registry,
        )

    def watch_breaker(self, store: str, is_open: Callable[[], bool]) -> None:
        self._watch(self.breaker_open.labels(store), is_open)

    def watch_budget(self, used_bytes: Callable[[], int], limit_bytes: int) -> None:
        """Read the budget's use whenever somebody scrapes, rather than at every grain."""
        self.budget_limit_bytes.set(limit_bytes)
        self._watch(self.budget_used_bytes, used_bytes)

    def _watch(self, gauge: Gauge, value: Callable[[], float]) -> None:
        """Read it at each scrape; where that may reach another process, `refresh` reads it."""
        if self._shared:
            self._watched.append((gauge, value))
        else:
            gauge.set_function(value)

    def refresh(self) -> None:
        """Call it now and then, for what is watched; other processes tell what it was then."""
        for gauge, value in self._watched:
            gauge.set(value())

    def part_in_flight(self) -> AbstractContextManager[None]:
        """Counts a part while it is being sent."""
        return self.parts_in_flight.track_inprogress()

    def set_ledger(self, counts: Mapping[Any, int]) -> None:
        """counts: uploads by state, every state there is; one without uploads is not shown.

        Shared gauges cannot be taken back, and another process may have counted some before: there
        it is shown with its 0.
        """
        if not self._shared:
            self.ledger_uploads.clear()
        for state, count in counts.items():
            if count or self._shared:
                self.ledger_uploads.labels(str(state)).set(count)

    def swept(self, work: Mapping[str, int]) -> None:
        """work: what one sweep did, e.g. {"aborted": 2, "blobs_deleted": 5}."""
        for kind, count in work.items():
            self.sweeper_work.labels(kind).inc(count)

    def set_audit(self, drift: Mapping[str, int], finished_at: datetime) -> None:
        """drift: findings by kind."""
        for kind, count in drift.items():
            self.audit_findings.labels(kind).set(count)
        self.cycle_finished.labels("auditor").set(finished_at.timestamp())

    def set_scrub(self, finished_at: datetime) -> None:
        self.cycle_finished.labels("scrubber").set(finished_at.timestamp())

    def scrubbed(self, result: str) -> None:
        """result: `whole`, `damaged`, `unreadable` or `missing`."""
        self.scrubbed_blobs.labels(result).inc()

    def request_done(self, route: str, method: str, status: int, duration_s: float) -> None:
        self.requests.labels(route, method, str(status)).inc()
        self.request_seconds.labels(route, method).observe(duration_s)

    def store_done(
        self, store: str, operation: str, duration_s: float, code: str | None = None
    ) -> None:
        """code: of the error that the call ended with, None where it did not fail."""
        self.store_seconds.labels(store, operation).observe(duration_s)
        if code is not None:
            self.store_errors.labels(store, operation, code).inc()

    def render(self) -> bytes:
        """The text format of Prometheus, as `CONTENT_TYPE` says; may read files."""
        if not self._shared:
            return generate_latest(self.registry)
        self.refresh()
        return render_all()
