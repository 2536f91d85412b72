"""The ranker as the runtime benchmark runs it: random weights, one request's inputs."""

import numpy as np
import torch
from torch import Tensor, nn

from features.examples import Examples
from models.ranker import ITEM_INPUTS, USER_INPUTS, Ranker
from train.config import TrainSettings

SPREAD = 0.1

Tensors = dict[str, Tensor]


class Repeated(nn.Module):
    """The user's side for every candidate, as a ranker of pairs would compute it.

    Args:
        ranker: the model.
    """

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.ranker = ranker

    def forward(self, users: Tensors, items: Tensors) -> Tensor:
        """Return predictions (n, tasks) of pairs (n, ...)."""
        one = {name: tensor.unsqueeze(1) for name, tensor in items.items()}
        outputs = self.ranker.item_side(self.ranker.user_side(users), one).squeeze(1)
        return self.ranker.predictions(outputs, items)


def random_ranker(settings: TrainSettings, examples: Examples) -> Ranker:
    """Return the config's ranker; its heads, which begin at 0, take random weights, too."""
    torch.manual_seed(settings.train.ranking.seed)
    ranker = Ranker(settings.models.ranker, examples.schema).eval()
    nn.init.normal_(ranker.heads.weight, std=SPREAD)
    return ranker


def request_inputs(examples: Examples, num_candidates: int) -> tuple[Tensors, Tensors]:
    """Return the user inputs of the validation impression with the longest history, and items."""
    shards = [examples.shard("validation", p) for p in range(examples.num_partitions)]
    lengths = [shard.history_end - shard.history_begin for shard in shards]
    partition = int(np.argmax([own.max(initial=-1) for own in lengths]))
    shard, index = shards[partition], np.argmax(lengths[partition], keepdims=True)
    inputs = examples.ranking_inputs(shard, examples.timelines(partition), index)
    user = {name: torch.from_numpy(inputs[name]) for name in USER_INPUTS}
    random = np.random.default_rng(0)
    rows = random.integers(1, examples.catalogue.num_items + 1, num_candidates)
    items = examples.assembler.item_inputs(
        rows,
        timestamps_ms=np.repeat(shard.timestamp[index], num_candidates),
        counts=np.repeat(shard.item_counts[index], num_candidates, axis=0),
    )
    return user, {name: torch.from_numpy(items[name]) for name in ITEM_INPUTS}
