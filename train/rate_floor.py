"""The floor of ranking: the sum of smoothed rates, which needs no model."""

import numpy as np
import numpy.typing as npt

from features.examples import Shard
from features.rates import smoothed_rates
from features.schema import RateEntity, Schema
from models.heads import is_floor, user_side_entities
from train.impressions import Impressions


def rate_logits(impressions: Impressions, schema: Schema) -> npt.NDArray[np.float32]:
    """Score impressions by the summed rates of user, item and context entities: (n, tasks).

    The rates are point-in-time; binary tasks sum logits, watch times mean log seconds.
    """
    return np.concatenate([_scores(shard, schema) for shard in impressions.shards])


def _scores(shard: Shard, schema: Schema) -> npt.NDArray[np.float32]:
    user = _summed(shard.user_counts, user_side_entities(schema), schema)
    return user + _summed(shard.item_counts, schema.entities_of("item"), schema)


def _summed(
    counts: npt.NDArray[np.float32], entities: tuple[RateEntity, ...], schema: Schema
) -> npt.NDArray[np.float32]:
    chosen = [k for k, entity in enumerate(entities) if is_floor(entity)]
    return np.asarray(smoothed_rates(counts[:, chosen], schema).sum(axis=1), np.float32)
