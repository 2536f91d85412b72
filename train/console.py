"""Shows a training on the terminal: one bar per epoch, one line per later phase."""

import sys
from types import TracebackType

from cluster.progress import ProgressBar
from train.progress import Phase, Progress

PHASES: dict[Phase, str] = {
    "evaluation": "judging on the test split",
    "export": "exporting for serving",
}


class Console:
    """A listener that writes to stderr.

    Args:
        model: name of the model in training.
        epochs: at most this many.
    """

    def __init__(self, model: str, epochs: int) -> None:
        self.model = model
        self.epochs = epochs
        self._epoch = 0
        self._bar: ProgressBar | None = None

    def __enter__(self) -> "Console":
        sys.stderr.write(f"{self.model}: starting\n")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, traceback)
            self._bar = None

    def tell(self, progress: Progress) -> None:
        """Move the bar; close it with the epoch's figures."""
        if progress.phase != "training":
            self.__exit__(None, None, None)
            sys.stderr.write(f"{self.model}: {PHASES[progress.phase]}\n")
            return
        bar = self._bar_of(progress)
        bar.advance(max(progress.step - bar.done, 0), note(progress))
        if progress.is_epoch:
            self.__exit__(None, None, None)

    def _bar_of(self, progress: Progress) -> ProgressBar:
        if self._bar is None or self._epoch != progress.epoch:
            self.__exit__(None, None, None)
            title = f"{self.model} epoch {progress.epoch}/{self.epochs}"
            self._bar = ProgressBar(title, progress.num_steps).__enter__()
            self._epoch = progress.epoch
        return self._bar


def note(progress: Progress) -> str:
    """Say loss, rate and, of a finished epoch, the validation figure."""
    figures = progress.figures
    parts = [f"loss {figures.get('loss', 0.0):.4f}", f"{figures['samples/s']:,.0f} samples/s"]
    if progress.is_epoch and progress.monitor in figures:
        parts.append(f"{progress.monitor} {figures[progress.monitor]:.4f}")
    if progress.is_best:
        parts.append("best")
    return "  ".join(parts)
