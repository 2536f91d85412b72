"""`python -m features CONFIG`: raw data to canonical tables, examples, vocabularies, profile."""

import argparse
import sys
import time

from cluster.command import parser, run
from features.config import FeatureSettings
from features.preparation import prepare
from features.summary import summary


def main(settings: FeatureSettings, options: argparse.Namespace) -> None:
    """Prepare the data and print what came out."""
    started = time.monotonic()
    examples, is_new = prepare(settings, force=options.force)
    if is_new:
        print(summary(examples, time.monotonic() - started))
    else:
        print(f"{examples.folder}: up to date")


if __name__ == "__main__":
    command = parser("features", "Prepare raw data for training.")
    command.add_argument("--force", action="store_true", help="prepare again what is up to date")
    sys.exit(run(command, FeatureSettings, main))
