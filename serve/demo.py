"""`make demo`: from nothing to recommendations over HTTP, shown as tables."""

import argparse
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from cluster.command import parser, run
from cluster.errors import InputError
from cluster.ports import free_port
from cluster.storage import Storage
from features.examples import Examples
from models.bundle import Bundle
from serve.client import Client, ServiceProcess, serve_command
from serve.config import ServeSettings
from serve.tables import answer_table, report_tables
from serve.traits import Traits

WIDTH = 120
BURST = 20
SHOWN = 10


class Demo:
    """Asks a running service for three users and prints what it answers."""

    def __init__(self, settings: ServeSettings, client: Client, console: Console) -> None:
        self.settings = settings
        self.client = client
        self.console = console
        self.storage = Storage(settings.storage.root, settings.recommender)
        bundle_id = json.loads(client.get("/v1/health")[1])["bundle"]
        self.bundle = Bundle(self.storage.fetch(f"bundles/{bundle_id}"))
        self.traits = Traits.find(self.bundle)

    def run(self) -> None:
        """Show a regular user, an unknown one, and one who has just changed taste."""
        regular, changing = self._users()
        self._show(self._ask(regular), f"A regular user, {regular}")
        self._show(self._ask("nobody-has-seen-me"), "An unknown user")
        before = self._ask(changing)
        self._show(before, f"Another user, {changing}, before a change of taste")
        if self.traits is None:
            return
        taste = self.traits.rarest(before, 2 * BURST)
        clicked = self.traits.items(taste)[:BURST]
        self._click(changing, clicked)
        after = self._ask(changing)
        burst = f"{len(clicked)} clicks on {self.traits.name} {taste!r}"
        self._show(after, f"The same user after {burst}")
        counts = [self.traits.shares(answer)[taste] for answer in (before, after)]
        self.console.print(
            f"Items of {taste!r} among {SHOWN}: {counts[0]} before the clicks, {counts[1]} after; "
            "nothing was trained in between.\n"
        )

    def _users(self) -> tuple[Any, Any]:
        """Choose two users, one with more and one with an ordinary number of events."""
        examples = Examples.open(self.storage)
        events = np.asarray(examples.user_train_events[1:])
        order = np.argsort(events, kind="stable")
        ids = examples.user_ids
        return ids[int(order[len(order) * 3 // 4])], ids[int(order[len(order) // 2])]

    def _ask(self, user_id: object) -> dict[str, Any]:
        body = {"user_id": user_id, "num_items": SHOWN}
        status, answer = self.client.post("/v1/recommendations", body)
        if status != 200:
            raise InputError(f"the service answered {status}: {answer}")
        return dict(answer)

    def _click(self, user_id: object, item_ids: Sequence[str]) -> None:
        positive = self.settings.positive
        events = [{"user_id": user_id, "item_id": i, "labels": {positive: 1}} for i in item_ids]
        status, answer = self.client.post("/v1/events", {"events": events})
        if status != 202:
            raise InputError(f"the service answered {status}: {answer}")

    def _show(self, answer: dict[str, Any], heading: str) -> None:
        traits = self.traits.by_item if self.traits else {}
        name = self.traits.name if self.traits else None
        self.console.print(answer_table(answer, heading, traits, name))
        self.console.print()


def main(settings: ServeSettings, options: argparse.Namespace) -> None:
    """Prepare, train, publish, serve, ask and show; reuse what exists."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    started = time.monotonic()
    overrides = [part for value in options.overrides for part in ("--set", value)]
    with tempfile.TemporaryDirectory(prefix="millrace-demo-") as folder:
        report_path = Path(folder) / "report.json"
        for name, extra in _steps(report_path):
            _run(console, name, [str(options.config), *overrides, *extra])
        with _service(options, console, Path(folder) / "serve.log") as client:
            Demo(settings, client, console).run()
        for table in report_tables(json.loads(report_path.read_text())):
            console.print(table, "")
    console.print(f"done in {time.monotonic() - started:.0f} s")


def _steps(report_path: Path) -> list[tuple[str, list[str]]]:
    return [("features", []), ("train", ["--report", str(report_path)]), ("retrieval", [])]


def _run(console: Console, name: str, arguments: list[str]) -> None:
    console.rule(f"python -m {name}", align="left")
    done = subprocess.run([sys.executable, "-m", name, *arguments], check=False)
    if done.returncode:
        raise InputError(f"python -m {name} ended with exit code {done.returncode}")


@contextmanager
def _service(options: argparse.Namespace, console: Console, log_path: Path) -> Iterator[Client]:
    """Start the service; show what it printed when it does not get ready."""
    console.rule("python -m serve", align="left")
    started = time.monotonic()
    port = free_port("127.0.0.1")
    command = serve_command(options.config, port, options.overrides)
    with ServiceProcess(command, port, log_path) as client:
        elapsed_s = time.monotonic() - started
        console.print(f"ready on {client.url} after {elapsed_s:.0f} s\n")
        yield client


if __name__ == "__main__":
    sys.exit(run(parser("serve.demo", __doc__ or ""), ServeSettings, main))
