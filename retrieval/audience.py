"""Real users' vectors at the end of the data, on which an index is tuned and checked."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from features.assembly import Inputs
from features.encoding import Encoded
from features.examples import Examples
from features.timelines import Timelines
from retrieval.user_tower import UserTower

BATCH = 64


def audience_vectors(
    examples: Examples, tower: UserTower, now_ms: int, num_users: int
) -> npt.NDArray[np.float32]:
    """Return the vectors of about `num_users` users, spread evenly: (n, dim)."""
    batches = audience_inputs(examples, now_ms, num_users)
    return np.concatenate([tower.vectors(inputs) for inputs in batches])


def audience_inputs(examples: Examples, now_ms: int, num_users: int) -> Iterator[Inputs]:
    """Yield the user inputs of about `num_users` users at one instant, in batches."""
    share = -(-num_users // examples.num_partitions)
    for partition in range(examples.num_partitions):
        timelines = examples.timelines(partition)
        places = np.unique(np.linspace(0, len(timelines.users), share, endpoint=False, dtype=int))
        for begin in range(0, len(places) if len(timelines.users) else 0, BATCH):
            yield _inputs(examples, timelines, places[begin : begin + BATCH], now_ms)


def _inputs(
    examples: Examples, timelines: Timelines, places: npt.NDArray[np.int64], now_ms: int
) -> Inputs:
    """Assemble users with their whole timelines, in the context of their last event."""
    schema = examples.schema
    begin, end = timelines.offsets[places], timelines.offsets[places + 1]
    history, history_ms = timelines.histories(begin, end, schema.history_length)
    num = len(places)
    num_entities = len(schema.entities_of("user")) + len(schema.entities_of("context"))
    return examples.assembler.user_inputs(
        examples.users.take(timelines.users[places]),
        Encoded(
            timelines.context_codes[end - 1],
            np.zeros((num, 0, schema.max_values), np.int32),
            timelines.context_numbers[end - 1],
        ),
        timestamps_ms=np.full(num, now_ms, np.int64),
        history=history,
        history_ms=history_ms,
        counts=np.zeros((num, num_entities, 1 + len(schema.tasks)), np.float32),
    )
