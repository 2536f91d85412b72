"""Wraps a model so that its dense gradients are the workers' mean; its tables see to their own."""

from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from models.tables.placed import PlacedTables
from train.runtime import Runtime


def data_parallel(
    model: torch.nn.Module, tables: PlacedTables, runtime: Runtime
) -> torch.nn.Module:
    """Return the model itself for one worker, else under DDP without the tables' parameters."""
    if runtime.num_workers == 1:
        return model
    ignore: Any = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
    ignore(model, tables.parameter_names(model))
    return DistributedDataParallel(model, gradient_as_bucket_view=True)
