"""One chunk's answers as an Arrow table.

Columns: `user_id` in the data's own type; `items`, best first, a list of structs of `item_id` (own
type), `score`, `source` and `pred_<task>` (null where the ranker gave no number); `degraded`, what
the answer misses, null where that is nothing; `bundle`; `made_at`.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl
import pyarrow as pa

from models.bundle import Bundle
from serve.messages import Answer, Item


def part_table(
    bundle: Bundle, user_ids: pa.Array, answers: Sequence[Answer], *, made_ms: int
) -> pa.Table:
    """Return a row for each user (n,) and their answer (n,)."""
    tasks = [task.name for task in bundle.schema.tasks] if bundle.has_ranker else []
    number = len(answers)
    columns = {
        "user_id": user_ids,
        "items": pa.array(
            [[_row(item, tasks) for item in answer.items] for answer in answers],
            pa.list_(_item_type(bundle, tasks)),
        ),
        "degraded": pa.array([answer.degraded for answer in answers], pa.string()),
        "bundle": pa.array([answer.bundle for answer in answers], pa.string()),
        "made_at": pa.array([made_ms] * number, pa.timestamp("ms", tz="UTC")),
    }
    return pa.table(columns)


def _row(item: Item, tasks: Sequence[str]) -> dict[str, Any]:
    predictions = {f"pred_{task}": item.predictions.get(task) for task in tasks}
    return {"item_id": item.item_id, "score": item.score, "source": item.source, **predictions}


def _item_type(bundle: Bundle, tasks: Sequence[str]) -> pa.DataType:
    is_text = bundle.catalogue.table["item_id"].dtype == pl.String
    return pa.struct(
        [
            ("item_id", pa.string() if is_text else pa.int64()),
            ("score", pa.float32()),
            ("source", pa.string()),
            *((f"pred_{task}", pa.float32()) for task in tasks),
        ]
    )
