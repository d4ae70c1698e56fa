"""What a scrape shows."""

from __future__ import annotations

from service.telemetry.metrics import Metrics


def test_two_services_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.request_done("/v1/buckets", "GET", 200, 0.1)
    assert b'mediagate_requests_total{method="GET",route="/v1/buckets",status="200"} 1.0' in (
        one.render()
    )
    assert b'route="/v1/buckets"' not in other.render()


def test_the_budget_is_read_when_scraped() -> None:
    metrics = Metrics()
    used = [5]
    metrics.watch_budget(lambda: used[0], 100)
    used[0] = 7
    text = metrics.render().decode()
    assert "mediagate_budget_used_bytes 7.0" in text
    assert "mediagate_budget_limit_bytes 100.0" in text


def test_a_ledger_state_that_emptied_disappears() -> None:
    metrics = Metrics()
    metrics.set_ledger({"open": 3})
    metrics.set_ledger({"open": 0, "committed": 1})
    text = metrics.render().decode()
    assert 'state="open"' not in text
    assert 'mediagate_ledger_uploads{state="committed"} 1.0' in text


def test_failed_store_calls_are_timed_and_counted_by_code() -> None:
    metrics = Metrics()
    metrics.store_done("s3", "head", 0.2, "store_timeout")
    metrics.store_done("s3", "head", 0.1)
    text = metrics.render().decode()
    assert (
        'mediagate_store_errors_total{code="store_timeout",operation="head",store="s3"} 1.0' in text
    )
    assert 'mediagate_store_duration_seconds_count{operation="head",store="s3"} 2.0' in text


def test_a_part_counts_only_while_it_is_in_flight() -> None:
    metrics = Metrics()
    with metrics.part_in_flight():
        assert b"mediagate_parts_in_flight 1.0" in metrics.render()
    assert b"mediagate_parts_in_flight 0.0" in metrics.render()
