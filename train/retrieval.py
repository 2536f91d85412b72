"""The two-tower model's training: batches of timelines, validation, test figures and export."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from features.assembly import Assembler
from features.examples import Examples
from models.embedding import EmbeddingTable
from models.two_tower import ItemTower, TwoTower, UserTower
from models.two_tower_export import export_two_tower
from models.two_tower_loss import TwoTowerLoss
from train.batch_size import sized
from train.config import TrainSettings
from train.muon import Muon
from train.objective import Batch
from train.rankings import chunk_of, rankings
from train.retrieval_batches import RetrievalBatches
from train.retrieval_metrics import exposure, means
from train.retrieval_queries import Queries, Questions
from train.retrieval_report import retrieval_report, write_predictions

ITEM_CHUNK = 8_192
EXAMPLE_QUERIES = 2


class RetrievalTrainee:
    """Trains the two-tower model on users' positives in the training split.

    Args:
        settings: shape, target and training.
        examples: the prepared data.
    """

    def __init__(self, settings: TrainSettings, examples: Examples) -> None:
        self.training = sized(settings, examples).train.retrieval
        self.monitor: str = self.training.monitor
        self.exclude_seen = settings.retrieval.exclude_seen
        self.examples = examples
        self.two_tower = TwoTower(examples.schema, settings.models.two_tower)
        self.model: torch.nn.Module = TwoTowerLoss(self.two_tower)
        self._batches = RetrievalBatches(examples, self.training, exclude_seen=self.exclude_seen)

    def optimizer(self) -> torch.optim.Optimizer:
        """Build AdamW or Muon; only matrices of the layers decay."""
        training = self.training
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        tables = {id(m.weight) for m in self.model.modules() if isinstance(m, EmbeddingTable)}
        turned = self._block_matrices() if training.optimizer == "muon" else []
        apart = tables | {id(p) for p in turned}
        groups = [
            {
                "params": [p for p in parameters if p.ndim > 1 and id(p) not in apart],
                "weight_decay": training.weight_decay,
            },
            {
                "params": [p for p in parameters if p.ndim <= 1 or id(p) in tables],
                "weight_decay": 0.0,
            },
        ]
        if not turned:
            return torch.optim.AdamW(groups, lr=training.learning_rate, fused=True)
        rates = (training.learning_rate, training.matrix_learning_rate)
        return Muon(turned, groups, rate=rates[0], matrix_rate=rates[1])

    def _block_matrices(self) -> list[torch.nn.Parameter]:
        layers = self.two_tower.history.modules()
        return [m.get_parameter("weight") for m in layers if isinstance(m, torch.nn.Linear)]

    def num_steps(self, num_workers: int) -> int:
        """Return the steps of an epoch."""
        return self._batches.num_steps(num_workers)

    def batches(self, epoch: int, rank: int, num_workers: int) -> Iterator[Batch]:
        """Yield one worker's batches."""
        return self._batches.epoch(epoch, rank, num_workers)

    def validate(self) -> dict[str, float]:
        """Rank the catalogue for users of the validation split."""
        questions = Questions(self.examples, "validation", exclude_seen=self.exclude_seen)
        chunks = questions.chunks(chunk_of(self.examples), self.training.validation_users)
        scorer = TwoTowerScorer(self.two_tower, self.examples)
        answers = rankings(scorer, chunks, exclude_seen=self.exclude_seen)
        figures = means(answers.metrics())
        figures |= exposure(answers.ranked, self.examples.catalogue.num_items)
        return {name: value for name, value in figures.items() if value is not None}

    def finish(self) -> None:
        """Leave the towers as they were trained: only the order of their scores counts."""

    def evaluate(self, predictions_path: Path) -> dict[str, Any]:
        """Compute the report's "retrieval" and "slices" on the test split."""
        scorer = TwoTowerScorer(self.two_tower, self.examples)
        report, answers = retrieval_report(scorer, self.examples, exclude_seen=self.exclude_seen)
        write_predictions(predictions_path, answers, self.examples)
        return report

    def export(self, folder: Path) -> None:
        """Write `user_tower.pt2` and `item_tower.pt2`."""
        questions = Questions(self.examples, "test", exclude_seen=self.exclude_seen)
        queries = next(questions.chunks(EXAMPLE_QUERIES))
        items = self.examples.catalogue.encoded.take(np.arange(2))
        example = {**queries.inputs(self.examples), **Assembler.static_item_inputs(items)}
        export_two_tower(self.two_tower, _tensors(example, "cpu"), folder)


class TwoTowerScorer:
    """Scores by the inner product of both towers' vectors; the items' are computed once.

    Runs in float32, as the exported programs do, whatever precision training has.
    """

    def __init__(self, model: TwoTower, examples: Examples) -> None:
        self.examples = examples
        self.device = next(model.parameters()).device
        self.user_tower = UserTower(model).eval()
        self.vectors = self._item_vectors(ItemTower(model).eval())

    def scores(self, queries: Queries) -> npt.NDArray[np.float32]:
        """Return cosines (n, items + 1)."""
        inputs = _tensors(queries.inputs(self.examples), self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            scores = self.user_tower(inputs) @ self.vectors.T
        array: npt.NDArray[np.float32] = scores.cpu().numpy()
        return array

    def _item_vectors(self, item_tower: ItemTower) -> torch.Tensor:
        encoded = self.examples.catalogue.encoded
        parts = []
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=False):
            for begin in range(0, len(encoded.codes), ITEM_CHUNK):
                rows = np.arange(begin, min(begin + ITEM_CHUNK, len(encoded.codes)))
                items = Assembler.static_item_inputs(encoded.take(rows))
                parts.append(item_tower(_tensors(items, self.device)))
        return torch.cat(parts)


def _tensors(inputs: dict[str, npt.NDArray[Any]], device: torch.device | str) -> Batch:
    return {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
