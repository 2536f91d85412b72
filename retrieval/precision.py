"""The precision in which a bundle ranks: a lower one only where ranking does not suffer from it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.export import ExportedProgram

from cluster.errors import InputError
from features.assembly import Inputs
from features.examples import Examples
from models.half_precision import halve_products
from models.ranker import ITEM_INPUTS, USER_INPUTS
from models.runtime.programs import Program
from retrieval.config import RankerPrecision

USER_PROGRAM, ITEMS_PROGRAM = "ranker_user.pt2", "ranker_items.pt2"
BATCH_PROGRAM = "ranker_batch.pt2"
BATCH = 512


def lower_precision(folder: Path, examples: Examples, config: RankerPrecision) -> dict[str, Any]:
    """Halve the products of a bundle's ranker, if that is asked for; return what it costs.

    Args:
        folder: the bundle in the making.
        examples: the validation split judges.
        config: how much may be lost.

    Raises:
        InputError: a task loses more.
    """
    if config.precision == "fp32" or not (folder / ITEMS_PROGRAM).exists():
        return {"precision": "fp32"}
    user = torch.export.load(folder / USER_PROGRAM).module()
    exact = torch.export.load(folder / ITEMS_PROGRAM).module()
    lowered = torch.export.load(folder / ITEMS_PROGRAM)
    halve_products(lowered)
    impressions = list(validation_inputs(examples, config.checked_rows))
    if not impressions:
        raise InputError("retrieval.ranker.precision = 'bf16': no validation impressions to judge")
    labels = np.concatenate([labels for _, labels in impressions])
    inputs = [inputs for inputs, _ in impressions]
    exactly, *predicted = _predicted(user, (exact, lowered.module()), inputs)
    batch = _lowered_batch(folder)
    if batch is not None:
        predicted.append(_predicted_together(batch.module(), inputs))
    lost = _lost(examples, labels, exactly, predicted)
    for task, share in lost.items():
        if share > config.max_auc_loss:
            raise InputError(
                f"retrieval.ranker.precision = 'bf16': loses {share:.5f} of the AUC of {task!r} on "
                f"{len(labels)} validation impressions, more than max_auc_loss = "
                f"{config.max_auc_loss:g}"
            )
    torch.export.save(lowered, folder / ITEMS_PROGRAM)
    if batch is not None:
        torch.export.save(batch, folder / BATCH_PROGRAM)
    return {"precision": "bf16", "auc_lost": {task: round(lost[task], 6) for task in lost}}


def validation_inputs(
    examples: Examples, num_rows: int
) -> Iterator[tuple[Inputs, npt.NDArray[np.float32]]]:
    """Yield inputs and labels of evenly spaced validation impressions, in batches."""
    shards = [examples.shard("validation", p) for p in range(examples.num_partitions)]
    every = max(1, sum(len(shard) for shard in shards) // num_rows)
    for partition, shard in enumerate(shards):
        timelines = examples.timelines(partition)
        for start in range(0, len(shard), BATCH * every):
            index = np.arange(start, min(start + BATCH * every, len(shard)), every)
            yield examples.ranking_inputs(shard, timelines, index), shard.labels[index]


def auc(scores: npt.NDArray[np.floating], is_positive: npt.NDArray[np.bool_]) -> float:
    """Return the share of (positive, negative) pairs in right order, ties half; NaN of none."""
    num_positive = int(is_positive.sum())
    num_pairs = num_positive * (len(scores) - num_positive)
    if not num_pairs:
        return float("nan")
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    above = float(ranks[is_positive].sum()) - num_positive * (num_positive + 1) / 2
    return above / num_pairs


def _predicted(
    user: Program, programs: tuple[Program, ...], batches: list[Inputs]
) -> list[npt.NDArray[np.float32]]:
    """Return each program's predictions (n, tasks), one request per impression."""
    found: list[list[torch.Tensor]] = [[] for _ in programs]
    with torch.inference_mode():
        for inputs in batches:
            tensors = {name: torch.from_numpy(array) for name, array in inputs.items()}
            for row in range(len(inputs["item_codes"])):
                one = {name: tensor[row : row + 1] for name, tensor in tensors.items()}
                state = user({name: one[name] for name in USER_INPUTS})
                items = {name: one[name] for name in ITEM_INPUTS}
                for parts, program in zip(found, programs, strict=True):
                    parts.append(program(state, items))
    return [torch.cat(parts).float().numpy() for parts in found]


def _lowered_batch(folder: Path) -> ExportedProgram | None:
    """Return the program of several requests with its products halved, if there is one."""
    if not (folder / BATCH_PROGRAM).exists():
        return None
    program = torch.export.load(folder / BATCH_PROGRAM)
    halve_products(program)
    return program


def _predicted_together(program: Program, batches: list[Inputs]) -> npt.NDArray[np.float32]:
    """Return predictions (n, tasks) of as many requests with one candidate each."""
    found = []
    with torch.inference_mode():
        for inputs in batches:
            users = {name: torch.from_numpy(inputs[name]) for name in USER_INPUTS}
            items = {name: torch.from_numpy(inputs[name]).unsqueeze(1) for name in ITEM_INPUTS}
            found.append(program(users, items).squeeze(1))
    return torch.cat(found).float().numpy()


def _lost(
    examples: Examples,
    labels: npt.NDArray[np.float32],
    exact: npt.NDArray[np.float32],
    lowered: list[npt.NDArray[np.float32]],
) -> dict[str, float]:
    """Return the share of the AUC that the worst of the lowered predictions lacks, by task.

    Of watch times, that of being above the median.
    """
    lost = {}
    for k, task in enumerate(examples.schema.tasks):
        known = ~np.isnan(labels[:, k])
        values = labels[known, k]
        if not len(values):
            continue
        is_positive = values > (0.5 if task.kind == "binary" else np.median(values))
        full = auc(exact[known, k], is_positive)
        if not (np.isfinite(full) and full > 0):
            continue
        aucs = [auc(scores[known, k], is_positive) for scores in lowered]
        lost[task.name] = max((full - own) / full if np.isfinite(own) else 1.0 for own in aucs)
    return lost
