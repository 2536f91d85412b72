"""Worker processes that gloo connects, without Ray."""

import multiprocessing
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from tests.linear import Silence
from train.checkpoints import Checkpoints
from train.peers import Peers
from train.plain import PlainRuntime

# What every worker needs, imported once by the process that they are forked from.
PRELOADED = [
    "pytest",
    "tests.gloo",
    "tests.toy_ranking",
    "tests.toy_retrieval",
    "torch._inductor.config",
    "train.trainees",
]


class GlooRuntime(PlainRuntime):
    """One of the connected processes; it writes its share of every checkpoint."""

    def __init__(self, checkpoints: Checkpoints) -> None:
        super().__init__(checkpoints, Silence())
        self.rank = dist.get_rank()
        self.num_workers = dist.get_world_size()
        self.peers = Peers.connected()

    def agree(self, value: float) -> float:
        """Return rank 0's value."""
        return self._all(value)[0]

    def mean(self, value: float) -> float:
        """Return the workers' mean."""
        return sum(self._all(value)) / self.num_workers

    def _all(self, value: float) -> list[float]:
        values = [torch.zeros(1, dtype=torch.float64) for _ in range(self.num_workers)]
        dist.all_gather(values, torch.tensor([value], dtype=torch.float64))
        return [float(other) for other in values]


def run_connected(count: int, function: Callable[..., None], *args: object) -> None:
    """Call `function(rank, *args)` in so many processes; it must be importable.

    Raises:
        torch.multiprocessing.ProcessRaisedException: one of them failed; the others are ended.
    """
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    multiprocessing.set_forkserver_preload(PRELOADED)
    torch.multiprocessing.start_processes(
        _connect, (count, port, function, args), nprocs=count, start_method="forkserver"
    )


def _connect(
    rank: int, count: int, port: int, function: Callable[..., None], args: tuple[object, ...]
) -> None:
    torch.set_num_threads(1)
    store = torch.distributed.TCPStore("localhost", port, count, is_master=rank == 0)
    torch.distributed.init_process_group("gloo", store=store, rank=rank, world_size=count)
    try:
        function(rank, *args)
    finally:
        torch.distributed.destroy_process_group()


def run_workers(job: Callable[..., Any], count: int, folder: Path, *args: Any) -> list[Any]:
    """Call `job(*args)` in so many processes; return what they returned, by rank."""
    folder.mkdir(parents=True)
    run_connected(count, _keep, job, folder, args)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(count)]


def _keep(rank: int, job: Callable[..., Any], folder: Path, args: tuple[Any, ...]) -> None:
    torch.save(job(*args), folder / f"{rank}.pt")
