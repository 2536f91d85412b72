"""A variant's worker under torch.distributed.run; also one of ours without Ray.

python -m torch.distributed.run --nproc_per_node N -m MODULE NAME SOCKET WORLD
"""

import sys
from pathlib import Path

import torch
import torch.distributed as dist

from benchmarks.throughput.common import train_common
from benchmarks.throughput.millrace import TrainMillrace, training_of
from benchmarks.throughput.world import World
from train.progress import Listener, Listeners
from train.state import State


class TorchrunRuntime:
    """One worker among those that torch.distributed.run has started."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.num_workers = dist.get_world_size()
        self.device = torch.device("cpu")
        self.listener: Listener = Listeners(())

    def restore(self, state: State) -> State | None:
        """Return None."""
        return None

    def report(self, figures: dict[str, float], state: State) -> None:
        """Keep nothing."""

    def settle(self) -> None:
        """Wait for nothing."""

    def recall(self, epoch: int, state: State) -> None:
        """Leave the last weights as they are."""

    def agree(self, value: float) -> float:
        """Return rank 0's value to every worker."""
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.broadcast(tensor, src=0)
        return float(tensor)

    def mean(self, value: float) -> float:
        """Return the mean of the workers' values to every worker."""
        tensor = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(tensor)
        return float(tensor) / self.num_workers


def main(name: str, address: str, world_path: Path) -> None:
    """Run the variant's training function."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    if name == "common":
        train_common(address, name, World(world_path))
    elif name.startswith("torchrec"):
        # Installed for this variant alone.
        from benchmarks.throughput.fbgemm import train_torchrec

        train_torchrec(address, name, World(world_path))
    else:
        TrainMillrace(address, name, world_path, training_of(name))(TorchrunRuntime())
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
