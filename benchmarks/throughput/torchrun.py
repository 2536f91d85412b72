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
        TrainMillrace(address, name, world_path, training_of(name))()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
