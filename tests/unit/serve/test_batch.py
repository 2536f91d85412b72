"""The command line of a batch, and what it says of a run."""

from pathlib import Path

import pytest

from cluster import command
from cluster.errors import ConfigError
from serve.batch import Tally, main, num_workers, parser
from serve.config import ServeSettings
from tests.conftest import TINY


def refused(capsys: pytest.CaptureFixture[str], root: Path, *arguments: str) -> str:
    line = [str(TINY), "--set", f"storage.root={root}", "--output", str(root / "answers")]
    assert command.run(parser(), ServeSettings, main, [*line, *arguments]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--num-items", "0"), "--num-items 0: must be between 1 and 500"),
        (("--num-items", "501"), "--num-items 501: must be between 1 and 500"),
        (("--batch-size", "0"), "--batch-size 0: must be between 1 and 100000"),
        (("--workers", "0"), "--workers 0: must be at least 1"),
        (("--context", "surface"), "--context 'surface': expected key=value"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_opened(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], said: str
) -> None:
    assert said in refused(capsys, tmp_path, *arguments)
    assert not list(tmp_path.iterdir())


def test_there_are_no_more_workers_than_cores() -> None:
    assert num_workers(4, None) == 4
    assert num_workers(4, 2) == 2
    with pytest.raises(ConfigError, match="--workers 5: Ray has 4 CPUs"):
        num_workers(4, 5)
    with pytest.raises(ConfigError, match="Ray has 0 CPUs"):
        num_workers(0, None)


def test_a_run_tells_its_rate_and_the_time_in_stages() -> None:
    tally = Tally(started_s=0.0)
    tally.add({"users": 3, "degraded": 1, "stage_ms": {"rank": 30.0, "rerank": 6.0}})
    tally.add({"users": 1, "degraded": 0, "stage_ms": {"rank": 6.0}})
    assert (tally.users, tally.degraded) == (4, 1)
    assert tally.stages() == "rank 9.0, rerank 1.5"
    assert tally.rate_at(2.0) == "2.0 users/s"
