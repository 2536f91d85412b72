"""`[serve.runtime]`: how a replica runs the bundle's programs."""

import logging
from typing import Literal

import torch
from pydantic import Field

from cluster.config import Section
from cluster.errors import ConfigError
from cluster.storage import Storage
from models.runtime.compiled import CompiledPrograms
from models.runtime.device import DevicePrograms
from models.runtime.packages import Packages
from models.runtime.programs import ExportedPrograms, Programs

FOLDER = "compiled"
CPU = torch.device("cpu")
DEVICE_PROGRAMS = ("ranker_user", "ranker_items", "ranker_batch")
"""What runs on a GPU. The user tower encodes one user at a time for an index in main memory."""
GPU_BATCH = 16

logger = logging.getLogger(__name__)


class RuntimeConfig(Section):
    """`[serve.runtime]`."""

    compile: Literal["auto", "always", "never"] = "auto"
    """Whether programs are compiled for the host's CPU, once per host and program (needs g++):
    "auto" answers with the exported programs until that is done, "always" starts no replica before,
    "never" leaves them as they were exported."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where the ranker runs: "auto" takes the GPU that its deployment reserves (`num_gpus`), and
    the CPU where it reserves none or torch finds none."""
    max_batch: int | None = Field(default=None, ge=1)
    """Requests that may be ranked in one call; 1 ranks each alone. None lets a GPU take 16, a CPU
    1: there a call for four takes as long as four calls (`benchmarks/ranking_runtime.py`)."""

    def batch_on(self, device: torch.device) -> int:
        """Return how many requests may be ranked in one call."""
        return self.max_batch or (1 if device.type == "cpu" else GPU_BATCH)


def device_of(config: RuntimeConfig, num_gpus: float) -> torch.device:
    """Return where the ranker runs in a replica that reserves so many GPUs.

    Ray hides no GPU from a replica that reserves none.

    Raises:
        ConfigError: it has to be a GPU, and torch finds none.
    """
    if config.device == "cpu" or not num_gpus:
        return CPU
    if torch.cuda.is_available():
        return torch.device("cuda")
    if config.device == "cuda":
        raise ConfigError("serve.runtime.device = 'cuda': torch finds no GPU in this process")
    logger.warning("the replica reserves %g GPUs, but torch finds none: on the CPU", num_gpus)
    return CPU


def open_programs(
    config: RuntimeConfig,
    storage: Storage,
    num_threads: int,
    *,
    is_patient: bool = False,
    device: torch.device = CPU,
) -> Programs:
    """Return what opens a bundle's programs for so many threads; packages lie on this host.

    Args:
        config: whether they are compiled.
        storage: where packages are.
        num_threads: calls of a program at a time.
        is_patient: wait for what is compiled in the background.
        device: where the ranker's run; they are compiled for no other than the CPU.
    """
    programs = _host_programs(config, storage, num_threads, is_patient)
    if device.type == "cpu":
        return programs
    return DevicePrograms(programs, device, DEVICE_PROGRAMS)


def _host_programs(
    config: RuntimeConfig, storage: Storage, num_threads: int, is_patient: bool
) -> Programs:
    if config.compile == "never":
        return ExportedPrograms()
    packages = Packages(storage.local / FOLDER, num_runners=num_threads)
    return CompiledPrograms(
        packages, must_compile=config.compile == "always", is_patient=is_patient
    )
