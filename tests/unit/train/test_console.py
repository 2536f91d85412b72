"""What a training shows on the terminal."""

import pytest

from train.console import Console, note
from train.progress import Progress

FIGURES = {"loss": 0.5, "samples/s": 12345.6, "auc": 0.75}


def test_an_epoch_is_one_line_with_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    with Console("ranking", 3) as console:
        console.tell(Progress(epoch=1, step=5, num_steps=9, figures=FIGURES))
        console.tell(
            Progress(
                epoch=1,
                step=9,
                num_steps=9,
                figures=FIGURES,
                monitor="auc",
                is_epoch=True,
                is_best=True,
            )
        )
        console.tell(Progress(phase="evaluation"))
    starting, epoch, judging = capsys.readouterr().err.splitlines()
    assert starting == "ranking: starting"
    assert epoch.startswith("ranking epoch 1/3 9/9")
    assert epoch.endswith("loss 0.5000  12,346 samples/s  auc 0.7500  best")
    assert judging == "ranking: judging on the test split"


def test_within_an_epoch_no_validation_figure_is_claimed() -> None:
    assert note(Progress(figures=FIGURES, monitor="auc")) == "loss 0.5000  12,346 samples/s"
