"""Progress without a terminal: lines that say what, how much and how long."""

import pytest

from cluster.progress import ProgressBar


def test_finished_work_leaves_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("read events", 3) as progress:
        for _ in range(3):
            progress.advance()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("read events 3/3  0 s")


def test_an_unknown_total_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("fill", None) as progress:
        progress.advance(7)
    assert capsys.readouterr().err.startswith("fill 7  ")


def test_failed_work_does_not_claim_to_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="broken"), ProgressBar("work", 1):
        raise ValueError("broken")
    assert capsys.readouterr().err == ""
