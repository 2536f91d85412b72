"""Feature embeddings: every value has its own row, unknown ones share theirs."""

import torch

from models.embedding import EmbeddingTable, FeatureEmbedding
from tests.toy_ranking import ITEMS, toy_schema

DIM = 4


def item_embedding(value_dropout: float = 0.0) -> FeatureEmbedding:
    torch.manual_seed(0)
    return FeatureEmbedding(toy_schema(), "item", DIM, value_dropout=value_dropout)


def embed(model: FeatureEmbedding, codes: list[int], tags: list[int]) -> torch.Tensor:
    """Embed one item with id and author, tags and duration 0.5."""
    arguments = torch.tensor([codes]), torch.tensor([[tags]]), torch.tensor([[0.5]])
    vector: torch.Tensor = model(*arguments)[0]
    return vector


def test_numbers_then_codes_then_pooled_values_of_one_table() -> None:
    model = item_embedding()
    assert model.width == 1 + 3 * DIM
    weight = model.table.weight
    assert len(weight) == (ITEMS + 1) + 5 + 7
    vector = embed(model, [3, 2], [1, 6, 0])
    author, tags = ITEMS + 1, ITEMS + 1 + 5
    expected = [
        torch.tensor([0.5]),
        weight[3],
        weight[author + 2],
        (weight[tags + 1] + weight[tags + 6]) / 2,
    ]
    torch.testing.assert_close(vector, torch.cat(expected))


def test_no_values_pool_to_zero() -> None:
    assert not embed(item_embedding(), [1, 1], [0, 0, 0])[-DIM:].any()


def test_an_owner_without_features_has_an_empty_vector() -> None:
    model = FeatureEmbedding(toy_schema(features=()), "user", DIM)
    assert (model.width, model.table) == (0, None)
    vector = model(torch.zeros(2, 0, dtype=torch.int64), None, torch.zeros(2, 0))
    assert vector.shape == (2, 0)


def test_value_dropout_trains_the_unknown_rows_and_spares_predictions() -> None:
    model = item_embedding(value_dropout=0.5)
    codes = torch.ones(2000, 2, dtype=torch.int64)
    tags, numbers = torch.zeros(2000, 1, 3, dtype=torch.int64), torch.zeros(2000, 1)
    unknown = model.table.weight[0]
    is_unknown = (model.train()(codes, tags, numbers)[:, 1 : 1 + DIM] == unknown).all(1)
    assert 0.45 < float(is_unknown.float().mean()) < 0.55
    assert not (model.eval()(codes, tags, numbers)[:, 1 : 1 + DIM] == unknown).any()


def test_pooling_is_the_mean_over_the_mask() -> None:
    table = EmbeddingTable(3, 2)
    ids, mask = torch.tensor([[0, 2, 1]]), torch.tensor([[True, False, True]])
    torch.testing.assert_close(table.pooled(ids, mask)[0], table.weight[:2].mean(0))
