"""What a spike's outcomes come to."""

from benchmarks.arrivals import LOST, Outcome, Phase
from benchmarks.spike.timeline import recovery_s, seconds, summary

PHASES = [Phase(1, 2), Phase(10, 2), Phase(1, 8)]


def outcomes() -> list[Outcome]:
    """Two full answers; a spike with every fate; degraded for two seconds more; full again."""
    return [
        Outcome(0.5, 10.0, 200),
        Outcome(1.5, 20.0, 200),
        Outcome(2.0, 100.0, 200, "overload: no ranker"),
        Outcome(2.5, 5.0, 429),
        Outcome(3.0, 50.0, 500),
        Outcome(3.5, 10_000.0, LOST),
        Outcome(4.5, 30.0, 200, "overload: no ranker"),
        Outcome(5.5, 30.0, 200, "rank late"),
        *(Outcome(6.5 + number, 10.0, 200) for number in range(6)),
    ]


def test_every_fate_is_counted_once() -> None:
    found = summary(outcomes(), PHASES)
    assert (found["sent"], found["status_5xx"], found["lost"]) == (14, 1, 1)
    assert found["refused_share"] == round(1 / 14, 4)
    assert found["degraded_share"] == round(3 / 14, 4)
    assert set(found["degraded"]) == {"overload: no ranker", "rank late"}
    assert found["refused_p99_ms"] == 5.0
    assert 50 < found["p99_ms"] <= 100, "of answers alone"
    before, spike, after = found["phases"]
    assert (before["phase"], before["sent"], before["degraded_share"]) == ("before", 2, 0.0)
    assert (spike["rate"], spike["sent"], spike["refused_share"]) == (10, 4, 0.25)
    assert after["degraded_share"] == 0.25


def test_seconds_without_requests_are_there_too() -> None:
    timeline = seconds([Outcome(0.1, 1.0, 200), Outcome(3.2, 1.0, 200)])
    assert [one.sent for one in timeline] == [1, 0, 0, 1]
    assert timeline[1].p99_ms is None
    assert seconds([]) == []


def test_quality_has_recovered_when_it_stays_full() -> None:
    found = summary(outcomes(), PHASES)
    assert (found["recovery_s"], found["full_again_s"]) == (2, 4)
    relapse = [*outcomes(), Outcome(8.9, 1.0, 429)]
    assert recovery_s(seconds(relapse), 4) is None
    assert recovery_s(seconds(outcomes()), 6) == 0
