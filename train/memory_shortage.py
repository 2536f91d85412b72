"""Says in one line that a model and its batches do not fit into memory, where torch fails."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from cluster.errors import InputError
from train.config import ModelName, TrainSettings
from train.trainees import training_of

CPU_ALLOCATOR = "DefaultCPUAllocator: can't allocate memory"
WANTED = re.compile(r"(?:tried|unable) to allocate ([\d.]+ \w+)", re.IGNORECASE)
SIZES = {"retrieval": "models.two_tower", "ranking": "models.ranker"}


@contextmanager
def memory_shortage_told(settings: TrainSettings, model: ModelName) -> Iterator[None]:
    """Translate what torch or NumPy raise for want of memory.

    Raises:
        InputError: names what can be made smaller.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_shortage(error):
            raise
        wanted = WANTED.search(str(error))
        size = f" (one piece wants {wanted[1]})" if wanted else ""
        batch_size = training_of(settings, model).batch_size
        raise InputError(
            f"train.{model}: out of memory{size}: make train.{model}.batch_size ({batch_size}) or "
            f"the dimensions in {SIZES[model]} smaller"
        ) from error


def _is_shortage(error: RuntimeError | MemoryError) -> bool:
    kinds = (MemoryError, torch.OutOfMemoryError)
    return isinstance(error, kinds) or CPU_ALLOCATOR in str(error)
