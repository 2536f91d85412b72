"""A switch of bundles is summed up from what clients saw."""

from benchmarks.arrivals import LOST, Outcome
from benchmarks.switch.windows import Instants, sum_up

AT = Instants(begun_s=10.0, published_s=20.0, first_new_s=23.5, last_old_s=23.6, ended_s=30.0)


def test_latencies_are_told_before_during_and_after() -> None:
    outcomes = [
        Outcome(5.0, 999.0, 200),
        *(Outcome(10.0 + i, 10.0, 200) for i in range(10)),
        *(Outcome(20.0 + i, 20.0 + i, 200) for i in range(3)),
        Outcome(23.55, 30.0, 200, "rank late"),
        *(Outcome(24.0 + i, 12.0, 200) for i in range(6)),
        Outcome(30.0, 999.0, 200),
    ]
    row = sum_up(outcomes, AT)
    assert (row.seconds, row.overlap_ms) == (3.5, 100.0)
    assert (row.requests, row.failed, row.degraded) == (20, 0, 1)
    assert (row.p50_ms_before, row.p99_ms_before) == (10.0, 10.0)
    assert (row.p50_ms_during, row.p99_ms_after) == (21.5, 12.0)
    assert 29 < row.p99_ms_during < 30


def test_what_was_lost_or_refused_failed() -> None:
    row = sum_up([Outcome(11.0, 5.0, LOST), Outcome(12.0, 5.0, 429), Outcome(13.0, 5.0, 200)], AT)
    assert (row.requests, row.failed) == (3, 2)


def test_the_old_bundle_s_last_answer_may_come_before_the_new_one_s_first() -> None:
    at = Instants(begun_s=0, published_s=1, first_new_s=2.0, last_old_s=1.9, ended_s=3)
    assert sum_up([], at).overlap_ms == 0.0
