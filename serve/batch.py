"""`python -m serve.batch CONFIG --output DIR`: answers for every user, made beforehand on Ray Data.

They go to Parquet (columns: see `serve.part`) and into the online store, where the service finds
them when its stages cannot answer. Killed, it goes on with the chunks that are not done, as of the
same instant.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster import command
from cluster.config import toml_value
from cluster.errors import ConfigError
from cluster.progress import ProgressBar
from cluster.session import session
from serve.chunks import Chunks, Order
from serve.commission import Commission, Users
from serve.config import ServeSettings
from serve.fields import MAX_ITEMS
from serve.preparation import prepare

NUM_ITEMS = 50
CHUNK_USERS = 500
MAX_CHUNK_USERS = 100_000
NODE_LABEL = "ray.io/node-id"


@dataclass
class Tally:
    """What this run has made."""

    users: int = 0
    degraded: int = 0
    stage_ms: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    started_s: float = field(default_factory=time.monotonic)

    def add(self, made: dict[str, Any]) -> None:
        """Add a chunk, as `Chunks.make` tells of it."""
        self.users += made["users"]
        self.degraded += made["degraded"]
        for stage, ms in made["stage_ms"].items():
            self.stage_ms[stage] += ms

    @property
    def rate(self) -> str:
        """Tell the users per second since the start."""
        return self.rate_at(time.monotonic())

    def rate_at(self, now_s: float) -> str:
        """Tell the users per second from the start to an instant of the same clock."""
        return f"{self.users / max(now_s - self.started_s, 1e-9):.1f} users/s"

    def stages(self) -> str:
        """Tell the milliseconds per user in each stage."""
        return ", ".join(f"{name} {ms / self.users:.1f}" for name, ms in self.stage_ms.items())


def main(settings: ServeSettings, options: argparse.Namespace) -> None:
    """Make the edition, or what is left of it.

    Raises:
        InputError: there is no sound bundle, there are no users, or the folder holds other answers.
    """
    _check(options)
    context = dict(map(_pair, options.context))
    bundle = prepare(settings)
    users = Users.of(settings, options.users)
    if users.num_foreign:
        sys.stderr.write(
            f"{users.num_foreign:,} users of live events have no answers made: the data's ids are "
            "integers, theirs are not\n"
        )
    commission = Commission(
        settings,
        bundle,
        users,
        num_items=options.num_items,
        context=context,
        chunk_users=options.batch_size,
        is_stored=options.store,
    )
    order, manifest = commission.order(options.output, is_forced=options.force)
    where = f"{options.output}: {manifest.num_users:,} users, bundle {manifest.bundle}"
    if manifest.is_complete:
        sys.stdout.write(f"{where}: up to date; --force begins anew\n")
        return
    tally = _complete(settings, order, manifest.num_users, options.workers)
    order.edition.finish()
    sys.stdout.write(f"{where}\n")
    if tally.users:
        sys.stdout.write(
            f"  {tally.users:,} made in this run: {tally.rate}, {tally.degraded:,} degraded; "
            f"ms per user: {tally.stages()}\n"
        )


def _complete(settings: ServeSettings, order: Order, num_users: int, workers: int | None) -> Tally:
    """Make the chunks that are not done."""
    pending = order.edition.pending()
    if not pending:
        return Tally()
    with session(settings.cluster), ProgressBar("users", num_users) as progress:
        tally = Tally()
        progress.advance(num_users - sum(pending.values()), "made before")
        for made in _made(order, list(pending), workers):
            tally.add(made)
            progress.advance(made["users"], tally.rate)
    return tally


def _made(order: Order, pending: Sequence[int], workers: int | None) -> Iterator[dict[str, Any]]:
    """Make chunks on Ray Data, on the host of the online store; yield what was made.

    Raises:
        ConfigError: there are fewer cores than workers.
    """
    import ray
    import ray.data

    from features.tasks import quiet_console

    quiet_console()
    node_id = ray.get_runtime_context().get_node_id()
    size = num_workers(_num_cpus(node_id), workers)
    rows = [{"chunk": chunk} for chunk in pending]
    # A block for each chunk, put there by this process: reading tasks would want the actors' cores.
    chunks = ray.data.from_items(rows, override_num_blocks=len(rows))
    made = chunks.map(
        Chunks,
        fn_constructor_args=(order,),
        compute=ray.data.ActorPoolStrategy(size=min(size, len(rows))),
        num_cpus=1,
        label_selector={NODE_LABEL: node_id},
    )
    for row in made.iter_rows():
        yield json.loads(row["made"])


def _num_cpus(node_id: str) -> int:
    import ray

    node = next(node for node in ray.nodes() if node["NodeID"] == node_id)
    return int(node["Resources"].get("CPU", 0))


def num_workers(num_cpus: int, wanted: int | None) -> int:
    """Return how many processes there are to be: as many as cores unless fewer are wanted.

    Raises:
        ConfigError: there are fewer cores.
    """
    if max(wanted or 1, 1) > num_cpus:
        raise ConfigError(f"--workers {wanted or 1}: Ray has {num_cpus} CPUs on this host")
    return wanted or num_cpus


def _pair(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not (name and sign):
        raise ConfigError(f"--context {text!r}: expected key=value")
    return name, toml_value(value)


def _check(options: argparse.Namespace) -> None:
    limits = {"num_items": MAX_ITEMS, "batch_size": MAX_CHUNK_USERS, "workers": None}
    for name, most in limits.items():
        value = getattr(options, name)
        if value is not None and not 1 <= value <= (most or value):
            limit = f"between 1 and {most}" if most else "at least 1"
            raise ConfigError(f"--{name.replace('_', '-')} {value}: must be {limit}")


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = command.parser("serve.batch", "Make answers for every user beforehand.")
    add = parser.add_argument
    add("--output", required=True, metavar="DIR", help="folder for Parquet: a path or a URI")
    add("--num-items", type=int, default=NUM_ITEMS, help=f"items per user; default {NUM_ITEMS}")
    add("--users", type=Path, metavar="FILE", help="Parquet with user_id; default all")
    add(
        "--context",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="what is known of the situation (repeatable)",
    )
    add(
        "--batch-size",
        type=int,
        default=CHUNK_USERS,
        help=f"users per file and transaction; default {CHUNK_USERS}",
    )
    add("--workers", type=int, help="processes; default one per core that Ray has here")
    add("--no-store", dest="store", action="store_false", help="leave the online store as it is")
    add("--force", action="store_true", help="begin anew whatever the folder holds")
    return parser


if __name__ == "__main__":
    sys.exit(command.run(parser(), ServeSettings, main))
