"""A soak sends mixed traffic and notices what grows."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter

import pytest

from benchmarks.arrivals import LOST, Outcome
from benchmarks.serve_soak import answers, sizes
from benchmarks.soak.family import Family, Size, growth, growth_by_role, look, role_of, total
from benchmarks.soak.script import LENGTH, SHARES, Script, mixed_lines
from cluster.progress import ProgressBar
from serve.messages import Events, Request

USERS, ITEMS = [1, 2, 3], ["a", "b"]


@pytest.fixture(scope="module")
def script() -> Script:
    return Script("host", 80, mixed_lines(USERS, ITEMS, "click"))


def test_every_kind_has_its_share(script: Script) -> None:
    counts = Counter(line.kind for line in script.lines)
    assert counts.keys() == SHARES.keys()
    assert all(abs(counts[kind] / LENGTH - share) < 0.02 for kind, share in SHARES.items())
    assert mixed_lines(USERS, ITEMS, "click") == script.lines


def test_recommendations_and_events_are_sound(script: Script) -> None:
    labels = Counter()
    for line in script.lines:
        if line.kind == "recommendations":
            assert Request.model_validate_json(line.body).user_id in USERS
        if line.kind == "events":
            (event,) = Events.model_validate_json(line.body).events
            assert event.item_id in ITEMS
            labels[event.labels.get("click", 0.0)] += 1
    assert 0.2 < labels[1.0] / labels.total() < 0.4


def test_requests_go_over_the_wire_in_turn(script: Script) -> None:
    sent = list(itertools.islice(script.requests(0), LENGTH + 1))
    assert sent[LENGTH] == sent[0]
    for line, request in zip(script.lines, sent, strict=False):
        head, _, body = request.partition(b"\r\n\r\n")
        assert head.startswith(f"{line.method} {line.path} HTTP/1.1\r\nHost: host\r\n".encode())
        assert body == line.body.encode()


def test_each_kind_has_statuses_of_its_own(script: Script) -> None:
    fine = {"recommendations": 200, "events": 202, "bad": 422, "looks": 200}
    outcomes = [Outcome(0.0, 1.0, fine[line.kind]) for line in script.lines]
    assert script.unexpected(outcomes) == []
    kinds = [line.kind for line in script.lines]
    outcomes[kinds.index("bad")] = Outcome(0.0, 1.0, 200)
    outcomes[kinds.index("events")] = Outcome(0.0, 1.0, LOST)
    assert sorted(script.unexpected(outcomes)) == [("bad", 200), ("events", LOST)]


def test_growth_is_that_of_the_medians_of_the_ends() -> None:
    assert growth([100.0] * 50) == 0.0
    assert growth([100.0] * 10 + [500.0] * 30 + [110.0] * 10) == 0.1
    assert growth([100.0] * 9 + [900.0] + [100.0] * 40) == 0.0
    assert growth([0.0] * 10) == 0.0


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("ray::ServeReplica:kuairand:gateway", "replica"),
        ("ray::ServeController.run_control_loop", "controller"),
        ("ray::HAProxyManager", "proxy"),
        ("python3 /x/cluster/haproxy.py -db -f y", "guard"),
        ("/y/haproxy -db -f z", "haproxy"),
        ("python -m serve configs/kuairand.toml --port 1", "command"),
        ("/r/raylet/raylet --raylet_socket_name=a", "ray"),
    ],
)
def test_processes_are_told_by_their_command_lines(command: str, role: str) -> None:
    assert role_of(command) == role


def test_roles_are_added_up_and_compared() -> None:
    samples = [
        {"replica": Size(1, 100.0 + i, 50.0, 10), "ray": Size(2, 200.0, 20.0, 30 + 3 * i)}
        for i in range(10)
    ]
    assert total(samples[0]) == Size(3, 300.0, 70.0, 40)
    found = growth_by_role(samples)
    assert found["replica"] == {
        "processes": 1,
        "pss_mb": 109.0,
        "memory_growth": round(108.5 / 100.5 - 1, 4),
        "anon_growth": 0.0,
        "fds": 10,
        "fd_growth": 0.0,
    }
    assert found["ray"]["fd_growth"] == round(55.5 / 31.5 - 1, 4)


def test_what_grows_while_warming_up_does_not_count() -> None:
    warming = [{"replica": Size(1, 10.0 * i, 5.0 * i, i)} for i in range(15)]
    settled = [{"replica": Size(1, 200.0 + i, 100.0, 20)} for i in range(85)]
    found = sizes([*warming, *settled])
    assert found["memory_growth"] == round(276 / 208 - 1, 4)
    assert (found["anon_growth"], found["fd_growth"]) == (0.0, 0.0)
    assert found["processes"]["replica"]["memory_growth"] == found["memory_growth"]
    assert (found["pss_mb"][0], found["fds"][-1]) == (0, 20)


def test_what_became_of_requests_is_told(script: Script) -> None:
    fine = {"recommendations": 200, "events": 202, "bad": 404, "looks": 200}
    outcomes = [Outcome(0.0, 7.0, fine[line.kind]) for line in script.lines[:100]]
    kinds = [line.kind for line in script.lines]
    first = kinds.index("recommendations")
    outcomes[first] = Outcome(0.0, 9.0, 503)
    outcomes[kinds.index("recommendations", first + 1)] = Outcome(0.0, 9.0, 200, "rank late")
    outcomes[kinds.index("events")] = Outcome(0.0, 9.0, LOST)
    assert answers(script, outcomes) == {
        "requests": 100,
        "status_5xx": 1,
        "lost": 1,
        "unexpected": {"recommendations 503": 1, "events 0": 1},
        "degraded": 1,
        "p50_ms": 7.0,
        "p99_ms": 9.0,
    }


def test_a_family_is_a_process_and_all_below_it() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        with Family(os.getpid(), ProgressBar("test", 2)) as family:
            while not family.samples:
                time.sleep(0.01)
        assert total(family.samples[0]).processes >= 2
        alone = total(look(child.pid))
        assert alone.processes == 1
        assert alone.fds >= 3
        child.communicate(b"\n")
    assert json.dumps(look(child.pid)) == "{}"
