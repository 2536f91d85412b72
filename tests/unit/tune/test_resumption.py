"""A killed sweep goes on only from a state that Ray Tune can read."""

import logging
from pathlib import Path

import pytest
from pyarrow import fs

from train.checkpoints import Checkpoints
from tune.resumption import can_go_on


def goes_on(folder: Path, **files: str) -> bool:
    folder.mkdir()
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)
    return can_go_on(Checkpoints(fs.LocalFileSystem(), str(folder), {}))


def test_a_state_with_trials_is_gone_on_from(tmp_path: Path) -> None:
    state = {"experiment_state-1__json": '{"trial_data": [["{}", "{}"]]}'}
    assert goes_on(tmp_path / "run", tuner__pkl="", **state)
    assert (tmp_path / "run" / "tuner.pkl").exists()


@pytest.mark.parametrize(
    "files",
    [
        {"tuner__pkl": ""},
        {"tuner__pkl": "", "experiment_state-1__json": '{"trial_data": []}'},
        {"tuner__pkl": "", "experiment_state-1__json": '{"trial_data": [["{'},
        {"experiment_state-1__json": '{"trial_data": [["{}", "{}"]]}'},
    ],
)
def test_what_ray_tune_would_fail_on_is_cleared(
    tmp_path: Path, files: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert not goes_on(tmp_path / "run", **files)
    assert "beginning anew" in caplog.text
    assert not (tmp_path / "run").exists()


def test_a_new_sweep_has_nothing_to_clear(tmp_path: Path) -> None:
    assert not can_go_on(Checkpoints(fs.LocalFileSystem(), str(tmp_path / "none"), {}))
