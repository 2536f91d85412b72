"""`python -m train CONFIG`: examples to trained, judged and exported models."""

import argparse
import sys
from pathlib import Path

from cluster.command import parser, run
from cluster.errors import ConfigError
from cluster.storage import Storage
from features.examples import Examples
from train.config import ModelName, TrainSettings
from train.execution import carry_out
from train.order import Order
from train.placements import check_placements
from train.predictions import write_predictions
from train.report import report, write_report
from train.tables import tables


def main(settings: TrainSettings, options: argparse.Namespace) -> None:
    """Train what is not up to date, then report on everything."""
    wanted = _wanted(settings, options)
    examples = Examples.open(Storage(settings.storage.root, settings.recommender))
    examples.check_settings(settings)
    check_placements(settings, examples.schema)
    orders = [Order.of(settings, model, examples) for model in settings.train.models]
    chosen = [order for order in orders if order.model in wanted]
    pending = [order for order in chosen if options.force or not order.is_done]
    for order in chosen:
        if order not in pending:
            print(f"{order.storage.local / order.artifact}: up to date")
    carry_out(settings, pending)
    figures = report(examples.manifest, orders)
    if options.report:
        write_report(options.report, figures)
    if options.predictions:
        write_predictions(options.predictions, chosen)
    print(tables(figures))


def _wanted(settings: TrainSettings, options: argparse.Namespace) -> tuple[ModelName, ...]:
    """Check the options before anything takes time."""
    if options.report and options.report.is_dir():
        raise ConfigError(f"--report {options.report}: is a folder")
    if options.predictions and options.predictions.is_file():
        raise ConfigError(f"--predictions {options.predictions}: is a file, not a folder")
    models = settings.train.models
    if options.only and options.only not in models:
        raise ConfigError(f"--only {options.only}: [train] models has only {', '.join(models)}")
    return (options.only,) if options.only else models


if __name__ == "__main__":
    command = parser("train", "Train the models on prepared data.")
    command.add_argument("--only", choices=("retrieval", "ranking"), help="train one model")
    command.add_argument("--report", type=Path, metavar="R.json", help="write the figures as JSON")
    command.add_argument(
        "--predictions", type=Path, metavar="DIR", help="write what they were computed from"
    )
    command.add_argument("--force", action="store_true", help="train again what is up to date")
    sys.exit(run(command, TrainSettings, main))
