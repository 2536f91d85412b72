"""Progress of long work: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_INTERVAL_S = 5.0


class ProgressBar:
    """Counts steps of one piece of work on stderr.

    Args:
        description: what is being done.
        total: steps; None while unknown.
    """

    def __init__(self, description: str, total: int | None) -> None:
        self.description = description
        self.total = total
        self.done = 0
        self._note = ""
        self._started = time.monotonic()
        self._last_line = self._started
        self._last_done: int | None = None
        self._bar = _bar() if sys.stderr.isatty() else None
        self._task = self._bar.add_task(description, total=total, note="") if self._bar else None

    def __enter__(self) -> "ProgressBar":
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar:
            self._bar.stop()
        elif kind is None and self.done != self._last_done:
            self._line(self._note or "done")

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Count steps; `note` is shown behind the bar (loss, samples/s, ...)."""
        self.done += steps
        self._note = note
        if self._bar and self._task is not None:
            self._bar.update(self._task, advance=steps, note=note)
        elif time.monotonic() - self._last_line >= LINE_INTERVAL_S:
            self._line(note)

    def _line(self, note: str) -> None:
        self._last_line = time.monotonic()
        self._last_done = self.done
        elapsed = self._last_line - self._started
        total = f"/{self.total}" if self.total is not None else ""
        parts = (f"{self.description} {self.done}{total}", f"{elapsed:.0f} s", note)
        sys.stderr.write("  ".join(part for part in parts if part) + "\n")
        sys.stderr.flush()


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
