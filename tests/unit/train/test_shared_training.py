"""Both models on several workers: any placement and number of workers follow one process."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from features.config import DatasetConfig
from features.examples import Examples
from models.config import ModelsConfig, RankerConfig, TwoTowerConfig
from models.embedding import deferred_tables
from models.tables.placed import tables_of
from tests import toy_ranking, toy_retrieval
from tests.gloo import run_workers
from tests.linear import Silence
from train.checkpoints import State
from train.config import RankingTraining, RetrievalTraining, TrainConfig, TrainSettings
from train.loop import fit
from train.objective import Trainee
from train.trainees import build_trainee, training_of

WINDOWS, IMPRESSIONS = 12, 48
LOSS_TOLERANCE, WEIGHT_TOLERANCE = 1e-5, 1e-4
MODELS = ModelsConfig(
    two_tower=TwoTowerConfig(
        dim=8, heads=2, layers=1, attribute_dim=4, dropout=0, id_dropout=0, context_dropout=0
    ),
    ranker=RankerConfig(embedding_dim=4, value_dropout=0, dropout=0, width=8, expert_dims=(8,)),
)
PLACEMENTS: dict[str, str | dict[str, str]] = {
    "replicated": "replicated",
    "row_sharded": "row_sharded",
    "by table": {"default": "replicated", "items.ids": "row_sharded", "item": "row_sharded"},
}
CASES = [
    (model, placement, optimizer)
    for model in ("full softmax", "sampled softmax", "ranking")
    for placement in ("replicated", "row_sharded")
    for optimizer in ("adamw", "rowwise_adagrad")
] + [("sampled softmax", "by table", "rowwise_adagrad"), ("ranking", "by table", "adamw")]

Case = tuple[str, str, str]
Outcome = tuple[list[float], dict[str, torch.Tensor]]


class GlooRuntime:
    """One of the connected processes, or a process alone; it keeps weights in memory."""

    def __init__(self) -> None:
        self.rank = dist.get_rank() if dist.is_initialized() else 0
        self.num_workers = dist.get_world_size() if dist.is_initialized() else 1
        self.device = torch.device("cpu")
        self.listener = Silence()
        self.kept: dict[int, State] = {}

    def restore(self, state: State) -> State | None:
        """Begin anew."""
        return None

    def report(self, figures: dict[str, float], state: State) -> None:
        """Keep a copy of the weights."""
        weights = {name: tensor.clone() for name, tensor in state["model"].items()}
        self.kept[state["position"]["epoch"]] = weights

    def settle(self) -> None:
        """Have nothing to wait for."""

    def recall(self, epoch: int, state: State) -> None:
        """Copy an epoch's weights."""
        for name, tensor in state["model"].items():
            tensor.copy_(self.kept[epoch][name])

    def agree(self, value: float) -> float:
        """Return rank 0's value."""
        return self._all(value)[0]

    def mean(self, value: float) -> float:
        """Return the workers' mean."""
        return sum(self._all(value)) / self.num_workers

    def _all(self, value: float) -> list[float]:
        values = [torch.zeros(1, dtype=torch.float64) for _ in range(self.num_workers)]
        if self.num_workers == 1:
            return [value]
        dist.all_gather(values, torch.tensor([value], dtype=torch.float64))
        return [float(other) for other in values]


def settings_of(case: Case, num_workers: int) -> TrainSettings:
    model, placement, optimizer = case
    shared = {
        "epochs": 2,
        "patience": 9,
        "learning_rate": 0.003,
        "embedding_optimizer": optimizer,
        "embedding_learning_rate": 0.01,
    }
    retrieval = RetrievalTraining(
        batch_size=WINDOWS // num_workers,
        full_softmax_items=0 if model == "sampled softmax" else 1000,
        num_negatives=8,
        **shared,
    )
    ranking = RankingTraining(batch_size=IMPRESSIONS // num_workers, **shared)
    return TrainSettings.model_validate(
        {
            "recommender": "toy",
            "dataset": DatasetConfig(format="synthetic"),
            "tasks": toy_ranking.TASKS if model == "ranking" else toy_ranking.TASKS[:1],
            "models": MODELS,
            "train": TrainConfig(
                num_workers=num_workers,
                embedding_placement=PLACEMENTS[placement] if num_workers > 1 else "local",
                retrieval=retrieval,
                ranking=ranking,
            ),
        }
    )


def trained(case: Case, folder: Path) -> Outcome:
    """Train one of the models here; return its loss by epoch and its plain tables."""
    runtime = GlooRuntime()
    name = "ranking" if case[0] == "ranking" else "retrieval"
    settings = settings_of(case, runtime.num_workers)
    with deferred_tables():
        trainee: Trainee = build_trainee(settings, name, Examples(folder / name))
    training = training_of(settings, name)
    position = fit(trainee, training, runtime, settings.train.embedding_placement)
    tables = {key: table.weight.detach() for key, table in tables_of(trainee.model).items()}
    return [figures["loss"] for figures in position.curves], tables


def trained_all(folder: Path) -> dict[Case, Outcome]:
    return {case: trained(case, folder) for case in CASES}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toys")
    toy_ranking.toy_examples(folder / "ranking", rows=100)
    timelines = toy_retrieval.random_timelines(toy_retrieval.np.random.default_rng(4), num_users=20)
    toy_retrieval.toy_examples(folder / "retrieval", timelines)
    return folder


@pytest.fixture(scope="module", params=[2, 3])
def outcomes(
    request: pytest.FixtureRequest, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[Case, Outcome]:
    folder = tmp_path_factory.mktemp("workers") / "run"
    first: dict[Case, Outcome] = run_workers(trained_all, request.param, folder, data)[0]
    return first


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_workers_follow_one_process(outcomes: dict[Case, Outcome], data: Path, case: Case) -> None:
    losses, tables = trained(case, data)
    our_losses, our_tables = outcomes[case]
    assert our_losses == pytest.approx(losses, rel=LOSS_TOLERANCE)
    assert our_tables.keys() == tables.keys()
    for name, table in tables.items():
        torch.testing.assert_close(
            our_tables[name], table, rtol=WEIGHT_TOLERANCE, atol=WEIGHT_TOLERANCE
        )
