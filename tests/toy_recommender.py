"""A toy recommender's prepared data and exported towers, written without features or train."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import nn

from cluster.storage import MANIFEST, Storage, content_hash
from features.assembly import Assembler
from features.catalogue import Catalogue
from features.config import TaskConfig
from features.counting import rate_table
from features.encoding import DAY_MS, Encoded
from features.schema import Feature, RateEntity, Schema
from features.timelines import Timelines
from features.vocabulary import Vocabularies, Vocabulary
from retrieval.config import RetrievalConfig, RetrievalSettings

NAME = "toy"
DIM = 8
USERS = 40
DATA_END_MS = 30 * DAY_MS
TABS = ("home", "search")


class ToyItemTower(nn.Module):
    """Unit vectors from the item's id; a small `spread` makes them nearly the same."""

    def __init__(self, rows: int, seed: int, spread: float) -> None:
        super().__init__()
        random = torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed))
        self.table = nn.Embedding.from_pretrained(1 + spread * random)

    def forward(self, items: dict[str, torch.Tensor]) -> torch.Tensor:
        """Encode items (n, ...): (n, DIM)."""
        return nn.functional.normalize(self.table(items["item_codes"][:, 0]), dim=-1)


class ToyUserTower(nn.Module):
    """The mean of the history's item vectors plus a vector of the context."""

    def __init__(self, items: ToyItemTower) -> None:
        super().__init__()
        self.table = items.table
        generator = torch.Generator().manual_seed(0)
        contexts = torch.randn(len(TABS) + 1, DIM, generator=generator)
        self.contexts = nn.Embedding.from_pretrained(contexts)

    def forward(self, user: dict[str, torch.Tensor]) -> torch.Tensor:
        """Encode users (batch, ...): (batch, DIM)."""
        is_real = (user["history_gaps"] > 0).unsqueeze(-1)
        pooled = (self.table(user["history_codes"][..., 0]) * is_real).sum(1)
        vectors = pooled + self.contexts(user["context_codes"][:, 0])
        return nn.functional.normalize(vectors, dim=-1)


def toy_settings(root: Path, **retrieval: object) -> RetrievalSettings:
    """Return settings of the toy recommender, without a ranker."""
    return RetrievalSettings.model_validate(
        {
            "recommender": NAME,
            "storage": {"root": str(root)},
            "dataset": {"format": "synthetic"},
            "tasks": [{"name": "click", "column": "click"}],
            "retrieval": RetrievalConfig.model_validate(retrieval).model_dump(),
            "train": {"models": ["retrieval"]},
        }
    )


def toy_recommender(root: Path, *, items: int = 60, seed: int = 0) -> Storage:
    """Write prepared data and a trained retrieval model under a root."""
    storage = Storage(str(root), NAME)
    schema = _schema(items)
    with storage.publishing("examples") as folder:
        _write_examples(folder, schema, items, seed)
    train_toy(storage, seed=seed)
    return storage


def train_toy(storage: Storage, *, seed: int = 0, spread: float = 1e3) -> None:
    """Replace the trained retrieval model by another one."""
    schema = Schema.open(storage.fetch("examples"))
    item_tower = ToyItemTower(schema.features[0].rows, seed, spread)
    with storage.publishing("trained/retrieval") as folder:
        inputs = _tower_inputs(schema, Catalogue.open(storage.fetch("examples") / "catalogue"))
        _export(item_tower, inputs["item"], folder / "item_tower.pt2")
        _export(ToyUserTower(item_tower), inputs["user"], folder / "user_tower.pt2")
        metrics = {"retrieval": {"two_tower": {"recall@100": 0.5}}}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        manifest = {"id": content_hash([seed, spread]), "fingerprint": schema.fingerprint}
        (folder / MANIFEST).write_text(json.dumps(manifest))


@contextmanager
def edited_manifest(folder: Path) -> Iterator[dict[str, object]]:
    """Yield an artifact's manifest and write it back."""
    manifest = json.loads((folder / MANIFEST).read_text())
    yield manifest
    (folder / MANIFEST).write_text(json.dumps(manifest))


def _schema(items: int) -> Schema:
    return Schema(
        recommender=NAME,
        features=(
            Feature(name="item_id", owner="item", kind="categorical", rows=items + 1),
            Feature(name="topic", owner="item", kind="categorical", rows=4),
            Feature(name="country", owner="user", kind="categorical", rows=3),
            Feature(name="tab", owner="context", kind="categorical", rows=len(TABS) + 1),
        ),
        entities=(
            RateEntity(name="user", owner="user"),
            RateEntity(name="item", owner="item"),
            RateEntity(name="item.topic", owner="item", feature="topic"),
            RateEntity(name="context.tab", owner="context", feature="tab"),
        ),
        tasks=(TaskConfig(name="click", column="click"),),
        base_rates=(0.2,),
        positive="click",
        history_length=10,
        max_values=3,
        interval_ms=DAY_MS,
        utc_offset_ms=0,
        smoothing=20.0,
        has_time=True,
        vocabularies="toy",
    )


def _write_examples(folder: Path, schema: Schema, items: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    schema.save(folder)
    (folder / "profile.json").write_text("{}")
    Vocabularies(
        {
            "item.item_id": Vocabulary([f"i{row}" for row in range(1, items + 1)]),
            "item.topic": Vocabulary(["music", "sport", "news"]),
            "user.country": Vocabulary(["ch", "ke"]),
            "context.tab": Vocabulary(TABS),
        }
    ).save(folder / "vocabularies")
    _catalogue(items, random).save(folder / "catalogue")
    countries = random.integers(0, 3, (USERS + 1, 1)).astype(np.int32)
    _encoded(countries).save(folder / "users")
    ids = pl.DataFrame({"user_id": [f"u{row}" for row in range(1, USERS + 1)]})
    ids.write_parquet(folder / "users" / "ids.parquet")
    for partition, users in enumerate(np.array_split(np.arange(1, USERS + 1), 2)):
        _timelines(users, items, random).save(folder / "timelines" / f"{partition:05d}")
    for entity in schema.entities:
        _rates(items if entity.name == "item" else 3).save(folder / "rates" / entity.name)
    manifest = {
        "id": content_hash(["toy", items, seed]),
        "fingerprint": schema.fingerprint,
        "num_partitions": 2,
        "data_end_ms": DATA_END_MS,
        "dataset": {"users": USERS, "items": items, "events": 400},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))


def _catalogue(items: int, random: np.random.Generator) -> Catalogue:
    rows = np.arange(items + 1)
    codes = np.stack([rows, random.integers(0, 4, items + 1)], axis=1).astype(np.int32)
    codes[0] = 0
    table = pl.DataFrame(
        {
            "item_id": [f"i{row}" for row in rows[1:]],
            "title": [f"Item {row}" for row in rows[1:]],
            "topic": [[None, "music", "sport", "news"][code] for code in codes[1:, 1]],
        }
    )
    published = random.integers(0, DATA_END_MS, items + 1)
    published[:2] = -1
    return Catalogue(table, _encoded(codes), published, random.integers(0, 9, items + 1))


def _encoded(codes: np.ndarray) -> Encoded:
    n = len(codes)
    return Encoded(codes, np.zeros((n, 0, 3), np.int32), np.zeros((n, 0), np.float32))


def _timelines(users: np.ndarray, items: int, random: np.random.Generator) -> Timelines:
    num = 10 * len(users)
    return Timelines(
        users=users.astype(np.int32),
        offsets=np.arange(0, num + 1, 10),
        items=np.minimum(random.zipf(1.3, num), items).astype(np.int32),
        timestamps=np.sort(random.integers(0, DATA_END_MS, (len(users), 10)), axis=1).reshape(-1),
        context_codes=random.integers(0, len(TABS) + 1, (num, 1)).astype(np.int32),
        context_numbers=np.zeros((num, 0), np.float32),
        split=np.zeros(num, np.uint8),
    )


def _rates(codes: int):
    counts = {
        "code": np.arange(1, codes + 1),
        "bucket": np.zeros(codes, np.int64),
        "count_impressions": np.full(codes, 10.0),
        "count_click": np.full(codes, 2.0),
    }
    return rate_table(pl.DataFrame(counts), 0, 30)


def _tower_inputs(schema: Schema, catalogue: Catalogue) -> dict[str, dict[str, torch.Tensor]]:
    two = np.asarray([1, 2])
    none = np.zeros((2, 0), np.float32)
    user = Assembler(schema, catalogue).user_inputs(
        _encoded(np.zeros((2, 1), np.int32)),
        Encoded(np.zeros((2, 1), np.int32), np.zeros((2, 0, 3), np.int32), none),
        timestamps_ms=two * DAY_MS,
        history=np.ones((2, schema.history_length), np.int32),
        history_ms=np.zeros((2, schema.history_length), np.int64),
        counts=np.zeros((2, 2, 2), np.float32),
    )
    del user["user_rates"]
    items = Assembler.static_item_inputs(catalogue.encoded.take(two))
    both = {"user": user, "item": items}
    return {
        side: {name: torch.from_numpy(array) for name, array in inputs.items()}
        for side, inputs in both.items()
    }


def _export(module: nn.Module, inputs: dict[str, torch.Tensor], path: Path) -> None:
    shapes = ({name: {0: torch.export.Dim("rows")} for name in inputs},)
    program = torch.export.export(module.eval(), (inputs,), dynamic_shapes=shapes)
    torch.export.save(program, path)
