"""Training throughput: common practice, TorchRec, ours under Ray Train, and the machine's limit.

    .venv/bin/python -m benchmarks.train_throughput [--rounds 9] [--quick] [--no-torchrec]

All variants train the same two-tower model on the same examples, one thread per worker, and run
in turn for a second or two each; figures are medians over the rounds. `ray_over_torchrun` is the
time of a step under Ray Train over that under torch.distributed.run, `two_worker_cpu_ratio` the
CPU time per sample of two workers with sharded tables over that of one at the same global batch and
with the same candidates; `..._replicated` that with a copy of the tables on each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.machine import facts
from benchmarks.throughput.fleet import Fleet, Variant
from benchmarks.throughput.installed import PACKAGES, torchrec_path
from benchmarks.throughput.limit import Rates, Work
from benchmarks.throughput.rounds import Lap
from benchmarks.throughput.world import QUICK, Sizes, World
from cluster.errors import InputError
from cluster.session import WORKER_ENVIRONMENT

RESULTS = Path(__file__).parent / "results"
TORCHREC = Path("artifacts/benchmarks/torchrec")
WARM_UP_STEPS = 5
VISIT_S, QUICK_VISIT_S = 1.5, 0.2
ALONE = (Variant("common"), Variant("millrace", "benchmarks.throughput.on_ray"))
OURS = (Variant("millrace_torchrun"), Variant("millrace_fp32"))
LIMIT = Variant("limit", "benchmarks.throughput.limit")
TOGETHER = (
    Variant("one_worker"),
    Variant("two_workers", num_workers=2),
    Variant("two_workers_sharded", num_workers=2),
)

Laps = dict[str, list[list[Lap]]]
"""By variant and round, the workers' laps."""


def main(options: argparse.Namespace) -> None:
    """Measure, print one JSON line and keep it."""
    rival = None if options.no_torchrec else torchrec_path(TORCHREC)
    with tempfile.TemporaryDirectory(prefix="millrace-bench-") as name:
        folder = Path(name)
        World.make(folder, QUICK if options.quick else Sizes())
        rivals = [Variant(name, python_path=rival) for name in ("torchrec", "torchrec_chunked")]
        alone = [*ALONE, *OURS, *(rivals if rival else ())]
        laps, rates = _rounds([*alone, LIMIT], folder, options)
        more, _ = _rounds(list(TOGETHER), folder, options)
        result = _result(laps | more, Work.of(World(folder)), Rates.best(rates), folder)
        if not options.quick:
            _keep(result, folder)
    print(json.dumps(result))


def _rounds(
    variants: list[Variant], folder: Path, options: argparse.Namespace
) -> tuple[Laps, list[Rates]]:
    """Let every variant run once per round, the order turning every round."""
    visit_s = QUICK_VISIT_S if options.quick else VISIT_S
    names = [variant.name for variant in variants if variant is not LIMIT]
    laps: Laps = {name: [] for name in names}
    rates: list[Rates] = []
    with Fleet(variants, folder, folder) as fleet:
        steps = {name: _warmed(fleet, name, visit_s) for name in names}
        for number in range(options.rounds):
            for name in names if number % 2 else reversed(names):
                laps[name].append(fleet.run(name, steps[name]))
            if LIMIT in variants:
                rates += fleet.run(LIMIT.name, 1)
            _tell(number, laps)
    return laps, rates


def _warmed(fleet: Fleet, name: str, visit_s: float) -> int:
    """Warm a variant up; return how many steps fill a visit."""
    fleet.run(name, WARM_UP_STEPS)
    return max(1, round(visit_s * WARM_UP_STEPS / _seconds(fleet.run(name, WARM_UP_STEPS))))


def _seconds(laps: list[Lap]) -> float:
    return max(lap.seconds for lap in laps)


def _step_s(laps: list[Lap]) -> float:
    return _seconds(laps) / laps[0].steps


def _cpu_s(laps: list[Lap]) -> float:
    """Return the CPU time of a step, summed over the workers."""
    return sum(lap.cpu_seconds for lap in laps) / laps[0].steps


def _tell(number: int, laps: Laps) -> None:
    times = ", ".join(f"{name} {_step_s(runs[-1]) * 1e3:.0f}" for name, runs in laps.items())
    sys.stderr.write(f"round {number + 1}, ms per step: {times}\n")


def _ratio(upper: list[float], lower: list[float]) -> float:
    """Return the median of the rounds' ratios."""
    return round(statistics.median(a / b for a, b in zip(upper, lower, strict=True)), 3)


def _result(laps: Laps, work: Work, rates: Rates, folder: Path) -> dict[str, Any]:
    sizes = World(folder).sizes
    step_s = {name: [_step_s(run) for run in runs] for name, runs in laps.items()}
    cpu_s = {name: [_cpu_s(run) for run in runs] for name, runs in laps.items()}
    samples = {name: round(sizes.batch / statistics.median(s)) for name, s in step_s.items()}
    limits = {name: work.seconds(rates, is_bf16=name == "bf16") for name in ("bf16", "fp32")}
    limit = round(sizes.batch / sum(limits["bf16"].values()))
    names = ("common", "torchrec", "torchrec_chunked")
    return {
        "benchmark": "train_throughput",
        "samples_per_s": {name: samples.get(name) for name in (*names, *samples)},
        "limit_samples_per_s": limit,
        "limit_samples_per_s_fp32": round(sizes.batch / sum(limits["fp32"].values())),
        "ray_over_torchrun": _ratio(step_s["millrace"], step_s["millrace_torchrun"]),
        "ray_over_torchrun_cpu": _ratio(cpu_s["millrace"], cpu_s["millrace_torchrun"]),
        "two_worker_cpu_ratio": _ratio(cpu_s["two_workers_sharded"], cpu_s["one_worker"]),
        "two_worker_cpu_ratio_replicated": _ratio(cpu_s["two_workers"], cpu_s["one_worker"]),
        "times_common": _ratio(step_s["common"], step_s["millrace"]),
        **{
            f"times_{name}": _ratio(step_s[name], step_s["millrace"])
            for name in names[1:]
            if name in step_s
        },
        "limit_over_millrace": round(limit / samples["millrace"], 3),
        "cpu_ms_per_step": {n: round(statistics.median(s) * 1e3, 1) for n, s in cpu_s.items()},
        "loss": {name: round(runs[-1][0].loss, 4) for name, runs in laps.items()},
        "limit_ms": {
            name: {part: round(s * 1e3, 2) for part, s in parts.items()}
            for name, parts in limits.items()
        },
        "rates": {f"g{name}_per_s": round(rate / 1e9, 2) for name, rate in vars(rates).items()},
        "work": vars(work),
        "sizes": vars(sizes),
        "rounds": len(laps["millrace"]),
        **facts("torch", "ray", "numpy"),
        "rival": list(PACKAGES[:2]) if "torchrec" in step_s else [],
    }


def _keep(result: dict[str, Any], folder: Path) -> None:
    """Write the result, and the profile of our step beside it."""
    (RESULTS / "train_throughput.json").write_text(json.dumps(result, indent=1) + "\n")
    output = RESULTS / "train_throughput_profile.txt"
    command = [sys.executable, "-m", "benchmarks.throughput.profile", str(folder), str(output)]
    environment = {**os.environ, **WORKER_ENVIRONMENT, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train_throughput")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--quick", action="store_true", help="a tiny model; keeps no result")
    parser.add_argument("--no-torchrec", action="store_true", help="install and run no TorchRec")
    try:
        main(parser.parse_args())
    except InputError as error:
        sys.exit(f"error: {error}")
