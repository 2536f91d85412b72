"""What clients saw of a kill is summed up from the outcomes of their requests."""

import os

from benchmarks.arrivals import LOST, Outcome
from benchmarks.kills.damage import Damage
from benchmarks.kills.processes import command_line, descendants, named


def test_losses_and_gaps_are_counted_around_the_kill() -> None:
    outcomes = [
        Outcome(0.0, 100.0, 200),
        Outcome(0.5, 100.0, 200),
        Outcome(1.0, 50.0, LOST),
        Outcome(1.1, 50.0, 500),
        Outcome(1.2, 50.0, 429),
        Outcome(2.0, 600.0, 200, "rank late"),
        Outcome(3.0, 100.0, 200, "rank late"),
        Outcome(3.2, 100.0, 200),
    ]
    damage = Damage.of("replica", outcomes, 0.9)
    assert (damage.sent, damage.lost, damage.refused, damage.degraded) == (8, 2, 1, 2)
    assert damage.usual_gap_s == 0.5
    assert damage.longest_gap_s == 2.0
    assert damage.degraded_s == 1.0
    assert damage.worst_ms == 600.0


def test_a_service_that_never_answers_again_has_lost_everything() -> None:
    outcomes = [Outcome(0.0, 10.0, 200), *(Outcome(s, 1.0, LOST) for s in (1.0, 2.0))]
    damage = Damage.of("haproxy", outcomes, 0.5)
    assert (damage.lost, damage.longest_gap_s) == (2, 1.99)


def test_processes_are_found_below_this_one_only() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write)
        os.read(read, 1)
        os._exit(0)
    try:
        assert child in descendants(os.getpid())
        assert child in named(command_line(os.getpid()))
        assert os.getpid() not in descendants(os.getpid())
    finally:
        os.close(write)
        os.waitpid(child, 0)
        os.close(read)
    assert command_line(child) == ""
