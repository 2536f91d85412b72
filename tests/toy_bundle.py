"""A toy bundle that serves at once: real files, and models of a few lines for programs."""

from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import nn

from features.catalogue import Catalogue
from features.config import TaskConfig
from features.encoding import DAY_MS, Encoded, Encoder
from features.schema import Feature, RateEntity, Schema
from features.vocabulary import Vocabularies, Vocabulary
from models.bundle import Bundle, seal
from models.runtime.programs import Program
from retrieval.exact import ExactIndex
from retrieval.indexes import save_index
from retrieval.popularity import ranked_lists

ITEMS = 60
DIM = 8
DATA_END_MS = 30 * DAY_MS
CREATORS = ("ada", "bo", "cy", "di")
TAGS = ("music", "sport", "news")
VOCABULARIES = {
    "item.item_id": tuple(str(100 + i) for i in range(ITEMS)),
    "item.creator": CREATORS,
    "item.tags": TAGS,
    "user.country": ("KE", "SE"),
    "context.surface": ("feed", "search"),
    "context.hour": tuple(map(str, range(24))),
    "context.weekday": tuple(map(str, range(7))),
}
TASKS = (
    TaskConfig(name="click", column="is_click"),
    TaskConfig(name="like", column="is_like"),
    TaskConfig(name="watch_time", column="watch_time_s", kind="watch_time"),
)


class ToyBundle(Bundle):
    """A `Bundle` whose programs are modules of this file."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        vectors = torch.from_numpy(np.array(self.array("item_vectors")))
        self.programs: dict[str, Program] = {
            "user_tower": ToyTower(vectors),
            "ranker_user": ToyUserSide(),
            "ranker_items": ToyItemSide(),
            "ranker_batch": ToyBothSides(),
        }

    def program(self, name: str) -> Program:
        """Return a toy module."""
        return self.programs[name]


class ToyTower(nn.Module):
    """The mean of the history's vectors; the first item's without a history."""

    def __init__(self, vectors: torch.Tensor) -> None:
        super().__init__()
        self.vectors = vectors

    def forward(self, user: dict[str, torch.Tensor]) -> torch.Tensor:
        """Encode users: (batch, DIM)."""
        codes = user["history_codes"][..., 0]
        first = torch.ones_like(codes[:, :1]) * (codes.sum(1, keepdim=True) == 0)
        pooled = self.vectors[torch.cat([codes, first], dim=1)].sum(1)
        return nn.functional.normalize(pooled, dim=-1)


class ToyUserSide(nn.Module):
    """The length of the history as state."""

    def forward(self, user: dict[str, torch.Tensor]) -> tuple[torch.Tensor]:
        """Return the state."""
        return ((user["history_gaps"] > 0).sum(1).float(),)


class ToyItemSide(nn.Module):
    """Clicks rise with the item's number, likes fall with it, everybody watches 10 s."""

    def forward(self, state: tuple[torch.Tensor], items: dict[str, torch.Tensor]) -> torch.Tensor:
        """Predict (n, 3)."""
        share = items["item_codes"][:, 0].float() / (ITEMS + 1)
        return torch.stack([share, 1 - share, torch.full_like(share, 10.0)], dim=1)


class ToyBothSides(nn.Module):
    """The same for several requests."""

    def forward(
        self, users: dict[str, torch.Tensor], items: dict[str, torch.Tensor]
    ) -> torch.Tensor:
        """Predict (requests, n, 3)."""
        user_side, item_side = ToyUserSide(), ToyItemSide()
        found = []
        for row in range(len(items["item_codes"])):
            state = user_side({name: part[row : row + 1] for name, part in users.items()})
            found.append(item_side(state, {name: part[row] for name, part in items.items()}))
        return torch.stack(found)


def toy_schema(*, has_time: bool = True) -> Schema:
    """Return the toy schema."""
    owners = {name: name.split(".")[0] for name in VOCABULARIES}
    kinds = {name: "multi" if name == "item.tags" else "categorical" for name in VOCABULARIES}
    coded = [
        {"name": name.split(".")[1], "owner": owners[name], "kind": kinds[name], "rows": 1 + len(v)}
        for name, v in VOCABULARIES.items()
    ]
    numbers = [{"name": "duration_s", "owner": "item", "kind": "numeric"}]
    entities = (
        RateEntity(name="user", owner="user"),
        RateEntity(name="item", owner="item"),
        RateEntity(name="item.creator", owner="item", feature="creator"),
        RateEntity(name="context.surface", owner="context", feature="surface"),
    )
    return Schema(
        recommender="toy",
        features=tuple(Feature.model_validate(f) for f in coded + numbers),
        entities=entities if has_time else (),
        tasks=TASKS,
        base_rates=(0.3, 0.1, 2.0),
        positive="click",
        history_length=5,
        max_values=2,
        interval_ms=DAY_MS,
        utc_offset_ms=0,
        smoothing=20.0,
        has_time=has_time,
        vocabularies="toy",
    )


def toy_bundle(folder: Path, *, has_ranker: bool = True, has_time: bool = True) -> ToyBundle:
    """Write and open a toy bundle."""
    random = np.random.default_rng(0)
    schema = toy_schema(has_time=has_time)
    vocabularies = Vocabularies((name, Vocabulary(v)) for name, v in VOCABULARIES.items())
    schema.save(folder)
    vocabularies.save(folder / "vocabularies")
    _catalogue(Encoder(schema, vocabularies)).save(folder / "catalogue")
    vectors = random.normal(size=(ITEMS + 1, DIM)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0
    np.save(folder / "item_vectors.npy", vectors)
    save_index(ExactIndex.build(vectors), folder / "index")
    popularity = np.zeros((1, ITEMS + 1))
    popularity[0, 1:] = np.arange(ITEMS, 0, -1)
    ranked_lists(popularity, -1).save(folder / "popular")
    width = 1 + len(TASKS)
    num_entities = len(schema.entities_of("item"))
    np.save(folder / "item_counts.npy", np.ones((ITEMS + 1, num_entities, width), np.float32))
    (folder / "context_counts").mkdir()
    for entity in schema.entities_of("context"):
        np.save(folder / "context_counts" / f"{entity.name}.npy", np.ones((3, width), np.float32))
    if has_ranker:
        for name in ("ranker_items", "ranker_batch"):
            (folder / f"{name}.pt2").touch()
    seal(folder, {"fingerprint": schema.fingerprint, "data_end_ms": DATA_END_MS})
    return ToyBundle(folder)


def _catalogue(encoder: Encoder) -> Catalogue:
    numbers = range(ITEMS)
    table = pl.DataFrame(
        {
            "item_id": [100 + i for i in numbers],
            "title": [f"Item {100 + i}" for i in numbers],
            "creator": [CREATORS[i % 4] if i % 10 else None for i in numbers],
            "tags": [[TAGS[i % 3], TAGS[(i + 1) % 3]] if i % 7 else [] for i in numbers],
            "duration_s": [float(i) for i in numbers],
        }
    )
    encoded = encoder.table("item", table)
    arrays = (encoded.codes, encoded.multi, encoded.numbers)
    return Catalogue(
        table,
        Encoded(*(np.concatenate([np.zeros_like(a[:1]), a]) for a in arrays)),
        np.arange(-1, ITEMS, dtype=np.int64) * (DATA_END_MS // ITEMS),
        np.ones(ITEMS + 1, np.int32),
    )
