"""Which of the ranker's choices matter: every variant trained with the same seeds.

    .venv/bin/python -m benchmarks.ranking_ablation CONFIG [--seeds 5] [--minutes M]

Each variant changes the config in one way and is trained as the config says, in this process.
Differences are taken seed by seed from the base, on the validation split; test figures stand beside
them and choose nothing. Every finished training is kept in the results, and the same command goes
on where the last one stopped; another config begins anew.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.machine import facts
from cluster.command import parser, run
from cluster.config import load
from cluster.storage import Storage, content_hash
from features.examples import Examples
from train.batch_size import sized
from train.checkpoints import Checkpoints
from train.config import TrainSettings
from train.figures import without_nan
from train.impressions import Impressions
from train.loop import fit
from train.plain import PlainRuntime
from train.progress import Listeners
from train.ranking import RankingTrainee
from train.ranking_report import ranking_report
from train.trainees import build_trainee

RESULTS = Path(__file__).parent / "results" / "ranking_ablation.json"
PACKAGES = ("torch", "numpy")
BASE = "base"
VARIANTS: dict[str, tuple[str, ...]] = {
    BASE: (),
    "mixture: mmoe, three experts": ("models.ranker.mixture=mmoe", "models.ranker.experts=3"),
    "mixture: shared, three experts": ("models.ranker.mixture=shared", "models.ranker.experts=3"),
    "loss weights: fixed": ("train.ranking.loss_weighting=fixed",),
    "loss weights: uncertainty": ("train.ranking.loss_weighting=uncertainty",),
    "watch time: log": ("models.ranker.watch_time=log",),
    "watch time: weighted logistic": ("models.ranker.watch_time=weighted_logistic",),
    "watch time: duration quantiles": ("models.ranker.watch_time=duration_quantiles",),
    "no history matches": ("models.ranker.history_matches=false",),
    "no averaging": ("train.ranking.averaging=0",),
    "number_dim 0": ("models.ranker.number_dim=0",),
    "number_dim 8": ("models.ranker.number_dim=8",),
    "value_dropout 0.1": ("models.ranker.value_dropout=0.1",),
    "value_dropout 0.5": ("models.ranker.value_dropout=0.5",),
    "no crosses": ("models.ranker.cross_layers=0",),
    "crosses of rank 16": ("models.ranker.cross_rank=16",),
    "crosses of rank 256": ("models.ranker.cross_rank=256",),
    "one expert": ("models.ranker.mixture=shared",),
}

Runs = dict[str, dict[str, Any]]


def main(settings: TrainSettings, options: argparse.Namespace) -> None:
    """Train what is missing, print the table and one JSON line."""
    examples = Examples.open(Storage(settings.storage.root, settings.recommender))
    examples.check_settings(settings)
    begun = _begun(settings, examples, options)
    until = time.monotonic() + options.minutes * 60
    for name, seed in _missing(settings, begun["runs"], options):
        if time.monotonic() > until:
            break
        sys.stderr.write(f"{name}, seed {seed}\n")
        begun["runs"][_key(name, seed)] = _trained(examples, _varied(options, name, seed))
        RESULTS.write_text(json.dumps(begun, indent=1) + "\n")
    _print(begun["runs"])
    print(json.dumps({**begun, "summary": summary(begun["runs"])}))


def summary(runs: Runs) -> dict[str, dict[str, dict[str, float]]]:
    """Return per variant and figure: its mean, and the mean and deviation of the differences."""
    names = dict.fromkeys(key.rpartition("/")[0] for key in runs)
    return {name: _compared(runs, name) for name in names}


def _compared(runs: Runs, name: str) -> dict[str, dict[str, float]]:
    pairs = [
        (run["validation"], runs[_key(BASE, run["seed"])]["validation"])
        for key, run in runs.items()
        if key.rpartition("/")[0] == name and _key(BASE, run["seed"]) in runs
    ]
    compared = {}
    for figure in pairs[0][0] if pairs else ():
        values = [ours[figure] for ours, _ in pairs]
        changes = [ours[figure] - base[figure] for ours, base in pairs]
        compared[figure] = {
            "mean": statistics.fmean(values),
            "change": statistics.fmean(changes),
            "sd": statistics.stdev(changes) if len(changes) > 1 else 0.0,
            "seeds": len(values),
        }
    return compared


def _begun(
    settings: TrainSettings, examples: Examples, options: argparse.Namespace
) -> dict[str, Any]:
    """Return the results so far of this very config and data."""
    sections = [settings.models.ranker, settings.train.ranking, *settings.tasks]
    values = [section.model_dump(mode="json") for section in sections]
    base = content_hash([examples.manifest["id"], values])
    if RESULTS.exists():
        kept: dict[str, Any] = json.loads(RESULTS.read_text())
        if kept["base"] == base:
            return kept
    return {
        "benchmark": "ranking_ablation",
        "recommender": settings.recommender,
        "base": base,
        **facts(*PACKAGES),
        "runs": {},
    }


def _missing(
    settings: TrainSettings, runs: Runs, options: argparse.Namespace
) -> Iterator[tuple[str, int]]:
    """Yield variants seed by seed, so that any number of finished ones can be compared."""
    for seed in range(options.seeds):
        for name in (BASE, *(name for name in options.variants if name != BASE)):
            is_base = name != BASE and _varied(options, name, 0) == _varied(options, BASE, 0)
            if _key(name, seed) not in runs and not is_base:
                yield name, seed


def _varied(options: argparse.Namespace, name: str, seed: int) -> TrainSettings:
    changes = [*options.overrides, *VARIANTS[name], f"train.ranking.seed={seed}"]
    return load(TrainSettings, options.config, changes)


def _trained(examples: Examples, settings: TrainSettings) -> dict[str, Any]:
    started = time.monotonic()
    settings = sized(settings, examples)
    trainee = build_trainee(settings, "ranking", examples)
    assert isinstance(trainee, RankingTrainee)
    with tempfile.TemporaryDirectory() as root:
        checkpoints = Checkpoints.of(Storage(root, "ablation"), "runs/ranking", {})
        position = fit(trainee, settings.train.ranking, PlainRuntime(checkpoints, Listeners(())))
    trainee.finish()
    return {
        "seed": settings.train.ranking.seed,
        "epochs": position.epoch,
        "best_epoch": position.best_epoch,
        "validation": _figures(trainee, trainee.validation),
        "test": _figures(trainee, Impressions(examples, "test")),
        "seconds": round(time.monotonic() - started, 1),
    }


def _figures(trainee: RankingTrainee, impressions: Impressions) -> dict[str, float]:
    """Return "<task> <figure>" for what distinguishes variants."""
    report = without_nan(ranking_report(impressions, trainee.predict(impressions))["ranking"])
    return {
        f"{task} {name}": value
        for task, figures in report.items()
        for name, value in figures.items()
        if name in ("auc", "gauc", "ece", "mae", "xauc") and value is not None
    }


def _print(runs: Runs) -> None:
    compared = summary(runs)
    figures = [
        f for f in next(iter(compared.values()), {}) if f.endswith((" auc", " xauc", " mae"))
    ]
    table = Table("variant", "seeds", *figures, title="validation: change from the base ± sd")
    for name, values in compared.items():
        if values:
            seeds = str(next(iter(values.values()))["seeds"])
            table.add_row(name, seeds, *(_cell(name, values[figure]) for figure in figures))
    Console(width=140).print(table)


def _cell(name: str, value: dict[str, float]) -> str:
    if name == BASE:
        return f"{value['mean']:.4f}"
    return f"{value['change']:+.4f} ± {value['sd']:.4f}"


def _key(name: str, seed: int) -> str:
    return f"{name}/{seed}"


def _command() -> argparse.ArgumentParser:
    command = parser("benchmarks.ranking_ablation", "Which of the ranker's choices matter.")
    command.add_argument("--seeds", type=int, default=5)
    command.add_argument("--minutes", type=float, default=float("inf"))
    command.add_argument(
        "--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME"
    )
    return command


def _main(arguments: Sequence[str] | None = None) -> int:
    return run(_command(), TrainSettings, main, arguments)


if __name__ == "__main__":
    sys.exit(_main())
