"""`python -m tune CONFIG`: many trainings to the best config, by figures on validation alone."""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from cluster.command import parser, run
from cluster.config import read
from cluster.errors import ConfigError
from cluster.storage import Storage
from features.examples import Examples
from train.report import write_report
from tune.config import TuneSettings
from tune.execution import carry_out
from tune.result import BEST_JSON, BEST_TOML, PICTURE, Manifest
from tune.summary import summary
from tune.sweep import Sweep

WIDTH = 160
FILES = {BEST_TOML: "train it", BEST_JSON: "the same as JSON", PICTURE: "look at it"}


def main(settings: TuneSettings, options: argparse.Namespace) -> None:
    """Carry out the sweep unless its result is there, then say what came of it."""
    if options.report and options.report.is_dir():
        raise ConfigError(f"--report {options.report}: is a folder")
    storage = Storage(settings.storage.root, settings.recommender)
    examples = Examples.open(storage)
    examples.check_settings(settings)
    values = read(options.config, options.overrides)
    sweep = Sweep.of(settings, values, options.config, examples)
    manifest = storage.manifest(sweep.artifact)
    if options.force:
        sweep.forget_runs()
    if options.force or manifest is None or manifest["id"] != sweep.id:
        manifest = carry_out(sweep)
    if options.report:
        write_report(options.report, manifest)
    _say(sweep, manifest)


def _say(sweep: Sweep, manifest: Manifest) -> None:
    Console(width=None if sys.stdout.isatty() else WIDTH).print(summary(sweep, manifest))
    folder = sweep.storage.fetch(sweep.artifact)
    for name, purpose in FILES.items():
        print(f"{purpose}: {folder / name}")


if __name__ == "__main__":
    command = parser("tune", "Try values of the config; write the config with the best ones.")
    command.add_argument("--report", type=Path, metavar="R.json", help="write every trial as JSON")
    command.add_argument("--force", action="store_true", help="begin the sweep anew")
    sys.exit(run(command, TuneSettings, main))
