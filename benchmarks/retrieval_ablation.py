"""What each part of two-tower retrieval is worth: variants on the same budget of CPU time.

    .venv/bin/python -m benchmarks.retrieval_ablation CONFIG [--minutes 10] [--epochs N]
        [--seeds 0 1 2] [--only VARIANT ...] [--set section.key=value ...]

CONFIG's data must be prepared (`python -m features CONFIG`). A run trains in this process and is
judged on validation users: the test split decides nothing here. How many epochs come nearest to the
budget is measured before each run, so that every variant's learning rate comes down within it;
`--epochs` gives them to variants that cost the same, which a busy machine would tell apart.
Results are kept run by run: the same command goes on where it was interrupted, other epochs take a
run's place, another config begins anew.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch
from pyarrow import fs
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benchmarks.machine import facts, portable
from cluster.command import parser, run
from cluster.storage import Storage, content_hash
from features.examples import Examples
from train.checkpoints import Checkpoints
from train.config import RetrievalTraining, TrainSettings
from train.loop import Fit, fit
from train.plain import PlainRuntime
from train.progress import Listeners
from train.retrieval import RetrievalTrainee
from train.trainees import build_trainee

RESULTS = Path(__file__).parent / "results" / "retrieval_ablation.json"
FIGURES = ("ndcg@10", "hit_rate@10", "recall@100", "coverage@100", "gini@100")
PROBE_MINUTES = 0.3

Overrides = dict[str, dict[str, Any]]
Result = dict[str, Any]

VARIANTS: dict[str, Overrides] = {
    "as configured": {},
    "encoder: mean": {"two_tower": {"encoder": "mean"}},
    "encoder: transformer": {"two_tower": {"encoder": "transformer"}},
    "encoder: hstu": {"two_tower": {"encoder": "hstu"}},
    "encoder: hstu, 4 layers of half the width": {
        "two_tower": {"encoder": "hstu", "layers": 4, "dim": 64}
    },
    "optimizer: adamw": {"training": {"optimizer": "adamw"}},
    "softmax: sampled, 4096 negatives": {"training": {"full_softmax_items": 0}},
    "softmax: sampled, 512 negatives": {
        "training": {"full_softmax_items": 0, "num_negatives": 512}
    },
    "softmax: sampled, 512 negatives, no logQ": {
        "training": {"full_softmax_items": 0, "num_negatives": 512, "logq_correction": 0.0}
    },
    "temperature 0.025": {"two_tower": {"temperature": 0.025}},
    "temperature 0.1": {"two_tower": {"temperature": 0.1}},
    "no item attributes": {"two_tower": {"item_attributes": False}},
    "no time gaps": {"two_tower": {"time_gaps": False}},
    "id_dropout 0": {"two_tower": {"id_dropout": 0.0}},
    "id_dropout 0.1": {"two_tower": {"id_dropout": 0.1}},
    "id_dropout 0.3": {"two_tower": {"id_dropout": 0.3}},
}


def main(settings: TrainSettings, options: argparse.Namespace) -> None:
    """Run what is missing, keep every result, print the table and one JSON line."""
    torch.set_num_threads(options.threads)
    examples = Examples.open(Storage(settings.storage.root, settings.recommender))
    examples.check_settings(settings)
    data = {"recommender": settings.recommender, "examples": examples.manifest["id"]}
    overrides = [portable(override) for override in options.overrides]
    of_config = data | {"base": base_of(settings)}
    kept: list[Result] = json.loads(RESULTS.read_text())["runs"] if RESULTS.exists() else []
    for seed in options.seeds:
        for name in options.only or VARIANTS:
            asked = of_config | {"variant": name, "seed": seed, "minutes": options.minutes}
            wanted = asked | ({"epochs": options.epochs} if options.epochs else {})
            if not any(wanted.items() <= result.items() for result in kept):
                figures = _figures(varied(settings, name, seed), examples, asked, options.epochs)
                kept = [result for result in kept if not asked.items() <= result.items()]
                kept.append(asked | {"overrides": overrides} | figures)
                _keep(kept)
    ours = [result for result in kept if of_config.items() <= result.items()]
    _print_table(ours)
    print(json.dumps({"benchmark": "retrieval_ablation", "runs": ours}))


def base_of(settings: TrainSettings) -> str:
    """Return the identity of what the variants start from; each run has a seed of its own."""
    training = settings.train.retrieval.model_dump(mode="json", exclude={"seed"})
    sections = (settings.models.two_tower, settings.retrieval)
    return content_hash([training, *(section.model_dump(mode="json") for section in sections)])


def varied(settings: TrainSettings, name: str, seed: int) -> TrainSettings:
    """Return the settings of one variant."""
    overrides = VARIANTS[name]
    two_tower = {**settings.models.two_tower.model_dump(), **overrides.get("two_tower", {})}
    training = {**settings.train.retrieval.model_dump(), **overrides.get("training", {})}
    values = settings.model_dump()
    values["models"]["two_tower"] = two_tower
    values["train"]["retrieval"] = {**training, "seed": seed}
    return TrainSettings.model_validate(values)


def _figures(
    settings: TrainSettings, examples: Examples, asked: Result, epochs: int | None
) -> Result:
    """Train for the budget and judge the best weights on the validation split."""
    training = settings.train.retrieval
    epochs = epochs or _fitting_epochs(settings, examples, asked["minutes"])
    planned = training.model_copy(update={"epochs": epochs, "patience": epochs})
    trainee = _built(settings, examples)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        position = fit(trainee, planned, _runtime(folder))
    figures = trainee.validate()
    result = {
        "epochs": epochs,
        "best_epoch": position.best_epoch,
        "cpu_minutes": round((time.process_time() - started) / 60, 2),
        **{name: round(figures[name], 5) for name in FIGURES},
    }
    sys.stderr.write(f"{asked | result}\n")
    return result


def _fitting_epochs(settings: TrainSettings, examples: Examples, minutes: float) -> int:
    """Measure a few steps; return the epochs that come nearest to the budget, at least one."""
    update = {"max_minutes": PROBE_MINUTES, "epochs": 1}
    probe: RetrievalTraining = settings.train.retrieval.model_copy(update=update)
    with tempfile.TemporaryDirectory() as folder:
        run = Fit(_built(settings, examples), probe, _runtime(folder))
        started = time.process_time()
        run.train_epoch()
    seconds_per_step = (time.process_time() - started) / run.position.total_steps
    return max(1, round(minutes * 60 / (seconds_per_step * run.num_steps)))


def _built(settings: TrainSettings, examples: Examples) -> RetrievalTrainee:
    trainee = build_trainee(settings, "retrieval", examples)
    assert isinstance(trainee, RetrievalTrainee)
    return trainee


def _runtime(folder: str) -> PlainRuntime:
    return PlainRuntime(Checkpoints(fs.LocalFileSystem(), folder, {}), Listeners(()))


def _keep(runs: Sequence[Result]) -> None:
    result = {
        "benchmark": "retrieval_ablation",
        **facts("torch", "numpy"),
        "runs": list(runs),
    }
    partial = RESULTS.with_suffix(".partial")
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.replace(RESULTS)


def _print_table(runs: Sequence[Result]) -> None:
    table = Table(title="validation, mean ± sd over seeds", box=SIMPLE_HEAD, pad_edge=False)
    for name in ("variant", "min", "epochs", "seeds", *FIGURES):
        table.add_column(name, no_wrap=True)
    groups: dict[tuple[str, float], list[Result]] = {}
    for result in runs:
        groups.setdefault((result["variant"], result["minutes"]), []).append(result)
    for (variant, minutes), group in groups.items():
        cells = [_spread([result[name] for result in group]) for name in FIGURES]
        epochs = f"{mean(result['epochs'] for result in group):.0f}"
        table.add_row(variant, f"{minutes:g}", epochs, str(len(group)), *cells)
    Console(width=140).print(table)


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")


if __name__ == "__main__":
    command = parser("benchmarks.retrieval_ablation", "Compare variants of two-tower retrieval.")
    command.add_argument("--minutes", type=float, default=10.0, help="CPU time of a run's training")
    command.add_argument("--epochs", type=int, help="of a run; measured unless given")
    command.add_argument("--seeds", type=int, nargs="+", default=[0])
    command.add_argument("--only", nargs="+", choices=tuple(VARIANTS), metavar="VARIANT")
    command.add_argument("--threads", type=int, default=1)
    sys.exit(run(command, TrainSettings, main))
