"""One request's ranking in several runtimes: the user's side once, and again for every candidate.

    .venv/bin/python -m benchmarks.ranking_runtime CONFIG [--candidates 500] [--rounds 60]

The config's ranker over its prepared data, with random weights: speed does not depend on them. All
runtimes compute in turn in one thread; medians are of that thread's CPU time, which other work on
the machine hardly changes. ONNX Runtime takes part where the extra `onnx` is installed; it has no
binary search, so that a ranker without history matches is compared with it.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.export import Dim

from benchmarks.machine import facts
from benchmarks.rankers import Repeated, random_ranker, request_inputs
from cluster.command import parser, run
from cluster.storage import Storage
from features.examples import Examples
from models.export import export_ranker, save_program
from models.half_precision import halve_products
from models.ranker import ITEM_INPUTS, ItemsProgram, Ranker, UserProgram
from models.runtime.package import Package
from models.runtime.packages import run_compiler
from models.runtime.programs import Program
from train.config import TrainSettings

RESULTS = Path(__file__).parent / "results" / "ranking_runtime.json"
WARM_UP = 5
TOGETHER = 4
"""Requests of one batch, for what batching across requests brings."""
SIDES = ("ranker_user", "ranker_items")
BARE = "without matches, "
BATCHED = f"compiled, {TOGETHER} requests together"

Tensors = dict[str, Tensor]
Call = Callable[[], Any]


def main(settings: TrainSettings, options: argparse.Namespace) -> None:
    """Measure, print the table and one JSON line, and keep it."""
    torch.set_num_threads(1)
    examples = Examples.open(Storage(settings.storage.root, settings.recommender))
    ranker = random_ranker(settings, examples)
    user, items = request_inputs(examples, options.candidates)
    with tempfile.TemporaryDirectory(prefix="millrace-runtime-") as folder:
        with torch.no_grad():
            calls = _calls(ranker, user, items, Path(folder))
            if _has_onnx():
                calls |= _onnx_calls(
                    _without_matches(settings, examples), user, items, Path(folder)
                )
        with torch.inference_mode():
            errors = _errors(calls)
            rows = _measured(calls, options.rounds)
    result = {
        "benchmark": "ranking_runtime",
        "recommender": settings.recommender,
        "candidates": options.candidates,
        "history": int(user["history_gaps"].shape[1]),
        "rounds": options.rounds,
        "clock": "thread CPU",
        "rows": rows,
        "ratios": _ratios(rows),
        "errors": errors,
        **facts("torch", *(["onnxruntime"] if _has_onnx() else [])),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    _print(rows)
    print(json.dumps(result))


def _calls(ranker: Ranker, user: Tensors, items: Tensors, folder: Path) -> dict[str, Call]:
    """Return what is timed, by name."""
    user_side, item_side = UserProgram(ranker).eval(), ItemsProgram(ranker).eval()
    repeated = Repeated(ranker).eval()
    num = len(items["item_codes"])
    many = {name: tensor.repeat_interleave(num, 0) for name, tensor in user.items()}
    programs = _exported(ranker, {**many, **items}, folder)
    state = user_side(user)
    users = {name: tensor.repeat_interleave(TOGETHER, 0) for name, tensor in user.items()}
    batched = {name: _stacked(tensor) for name, tensor in items.items()}
    compiled = {name: _compiled(folder / f"{name}.pt2") for name in programs}
    modules = {name: torch.export.load(folder / f"{name}.pt2").module() for name in programs}
    user_package, package = compiled["ranker_user"], compiled["ranker_items"]
    halved = compiled["ranker_items_bf16"]
    calls: dict[str, Call] = {
        "eager": lambda: item_side(user_side(user), items),
        "eager, repeated": lambda: repeated(many, items),
        "exported": lambda: modules["ranker_items"](modules["ranker_user"](user), items),
        "exported, repeated": lambda: modules["repeated"](many, items),
        "compiled": lambda: package(user_package(user), items),
        "compiled, repeated": lambda: compiled["repeated"](many, items),
        "compiled bf16": lambda: halved(user_package(user), items),
        "compiled, user side": lambda: user_package(user),
        "compiled, items of one request": lambda: package(state, items),
        BATCHED: lambda: compiled["ranker_batch"](users, batched),
    }
    return calls


def _without_matches(settings: TrainSettings, examples: Examples) -> Ranker:
    """Return the config's ranker as ONNX can express it."""
    ranker = settings.models.ranker.model_copy(update={"history_matches": False})
    models = settings.models.model_copy(update={"ranker": ranker})
    return random_ranker(settings.model_copy(update={"models": models}), examples)


def _onnx_calls(ranker: Ranker, user: Tensors, items: Tensors, folder: Path) -> dict[str, Call]:
    """Return calls of one ranker as it is, compiled and under ONNX Runtime."""
    from benchmarks.onnx_session import onnx_call

    user_side, item_side = UserProgram(ranker).eval(), ItemsProgram(ranker).eval()
    own = folder / "bare"
    own.mkdir()
    num = len(items["item_codes"])
    many = {name: tensor.repeat_interleave(num, 0) for name, tensor in user.items()}
    export_ranker(ranker, {**many, **items}, own)
    user_package, package = (_compiled(own / f"{name}.pt2") for name in SIDES)
    return {
        f"{BARE}eager": lambda: item_side(user_side(user), items),
        f"{BARE}compiled": lambda: package(user_package(user), items),
        f"{BARE}onnx": onnx_call(user_side, item_side, user, items, own),
    }


def _stacked(tensor: Tensor) -> Tensor:
    """Repeat a request's input for a batch of requests."""
    return tensor.expand(TOGETHER, *tensor.shape).clone()


def _exported(ranker: Ranker, example: Tensors, folder: Path) -> tuple[str, ...]:
    """Export as training does, with the products halved, and with the user's side repeated."""
    export_ranker(ranker, example, folder)
    halved = torch.export.load(folder / "ranker_items.pt2")
    halve_products(halved)
    torch.export.save(halved, folder / "ranker_items_bf16.pt2")
    items = {name: example[name] for name in ITEM_INPUTS}
    users = {name: tensor for name, tensor in example.items() if name not in ITEM_INPUTS}
    size = Dim("pairs")
    shapes = tuple({name: {0: size} for name in part} for part in (users, items))
    save_program(Repeated(ranker), (users, items), shapes, folder / "repeated.pt2")
    return "ranker_user", "ranker_items", "ranker_batch", "ranker_items_bf16", "repeated"


def _errors(calls: dict[str, Call]) -> dict[str, float]:
    """Return how far predictions are from eager's, of what gives one request's predictions."""
    outputs = {name: call() for name, call in calls.items()}
    errors = {}
    for name, output in outputs.items():
        exact = outputs[f"{BARE}eager" if name.startswith(BARE) else "eager"]
        if isinstance(output, Tensor) and output.shape == exact.shape:
            errors[name] = float((output - exact).abs().max())
    return errors


def _compiled(source: Path) -> Program:
    folder = source.with_suffix("")
    folder.mkdir()
    sys.stderr.write(f"compiling {source.stem}\n")
    run_compiler(source, folder, False)
    return Package(folder)


def _measured(calls: dict[str, Call], rounds: int) -> list[dict[str, Any]]:
    """Return the milliseconds of CPU of each call, all of them in turn in every round."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(WARM_UP + rounds):
        for name, call in calls.items():
            started = time.thread_time()
            call()
            if number >= WARM_UP:
                times[name].append(1000 * (time.thread_time() - started))
    return [
        {"runtime": name, "ms": round(statistics.median(own), 3), "min_ms": round(min(own), 3)}
        for name, own in times.items()
    ]


def _ratios(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return times against eager and ONNX Runtime, and a batched request's against a single one."""
    ms = {row["runtime"]: row["ms"] for row in rows}
    ratios = {"batched / single": ms[BATCHED] / TOGETHER / ms["compiled"]}
    pairs = [("compiled", "eager"), ("compiled bf16", "eager")]
    pairs += [(f"{BARE}compiled", f"{BARE}{rival}") for rival in ("eager", "onnx")]
    for name, rival in pairs:
        if rival in ms:
            ratios[f"{name} / {rival.removeprefix(BARE)}"] = ms[name] / ms[rival]
    return {name: round(ratio, 3) for name, ratio in ratios.items()}


def _has_onnx() -> bool:
    return all(find_spec(name) is not None for name in ("onnxruntime", "onnxscript"))


def _print(rows: list[dict[str, Any]]) -> None:
    table = Table("runtime", "median ms", "least ms", title="ranking one request, one thread")
    for row in rows:
        table.add_row(row["runtime"], f"{row['ms']:.2f}", f"{row['min_ms']:.2f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    command = parser("benchmarks.ranking_runtime", "Compare the ranker's runtimes.")
    command.add_argument("--candidates", type=int, default=500)
    command.add_argument("--rounds", type=int, default=60)
    sys.exit(run(command, TrainSettings, main))
