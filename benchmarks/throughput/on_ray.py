"""Ours under Ray Train, through the project's own assembly of it.

python -m benchmarks.throughput.on_ray NAME SOCKET WORLD
"""

import sys
import tempfile
from pathlib import Path

from pyarrow import fs

from benchmarks.throughput.millrace import TrainMillrace, training_of
from cluster.config import ClusterConfig
from cluster.session import session
from train.checkpoints import Checkpoints
from train.config import TrainConfig
from train.progress import Listeners
from train.trainer import train_on_ray


def main(name: str, address: str, world_path: Path) -> None:
    """Train one worker of one core."""
    train = TrainMillrace(address, name, world_path, training_of(name))
    config = TrainConfig(num_workers=1, cpus_per_worker=1, max_failures=0)
    with tempfile.TemporaryDirectory() as folder, session(ClusterConfig(object_store_mb=128)):
        checkpoints = Checkpoints(fs.LocalFileSystem(), f"{folder}/run", {"benchmark": name})
        train_on_ray(train, checkpoints, config, Listeners(()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
