"""The ranker's training: batches of impressions, validation, test figures and export."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from features.assembly import Inputs
from features.examples import Examples
from models.export import export_ranker
from models.ranker import Ranker
from models.task_loss import NUM_KNOWN, RankerLoss
from train.batch_size import sized
from train.config import TrainSettings
from train.impressions import Impressions
from train.objective import Batch
from train.ranking_metrics import auc, xauc
from train.ranking_report import ranking_report, write_predictions

PREDICTION_BATCH = 4096
FITTED_ROWS = 500_000
EMBEDDING_SUFFIX = "table.weight"


class RankingTrainee:
    """Trains the ranker on the impressions of the training split.

    Args:
        settings: shape, tasks and training.
        examples: the prepared data.
    """

    def __init__(self, settings: TrainSettings, examples: Examples) -> None:
        self.training = sized(settings, examples).train.ranking
        self.schema = examples.schema
        self.examples = examples
        self.ranker = Ranker(settings.models.ranker, self.schema)
        self.impressions = Impressions(examples, "train")
        if "watch_time" in {task.kind for task in self.schema.tasks}:
            self._fit_heads()
        weighting = self.training.loss_weighting
        weights = [task.weight for task in settings.tasks]
        self.model: torch.nn.Module = RankerLoss(
            self.ranker, self.schema, weighting, weights=weights
        )
        self.validation = Impressions(examples, "validation")
        has_binary = any(task.kind == "binary" for task in self.schema.tasks)
        self.monitor = "auc" if has_binary else "xauc"

    def optimizer(self) -> torch.optim.Optimizer:
        """Build AdamW over what asks for gradients; tables and matrices have own decays."""
        groups: dict[float, list[torch.nn.Parameter]] = {}
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self._decay(name, parameter), []).append(parameter)
        return torch.optim.AdamW(
            [{"params": parameters, "weight_decay": decay} for decay, parameters in groups.items()],
            lr=self.training.learning_rate,
        )

    def num_steps(self, num_workers: int) -> int:
        """Return the full batches of an epoch; at least one."""
        return max(1, len(self.impressions) // (self._batch_size * num_workers))

    def batches(self, epoch: int, rank: int, num_workers: int) -> Iterator[Batch]:
        """Yield one worker's batches of the shuffled impressions."""
        size, steps = self._batch_size, self.num_steps(num_workers)
        order = self.impressions.shuffled((self.training.seed, epoch))
        order = np.resize(order, (steps, num_workers, size))
        for index in order:
            batch = self.impressions.batch(index[rank])
            if num_workers > 1:
                known = self.impressions.num_known(index.reshape(-1)) / num_workers
                batch[NUM_KNOWN] = known.clip(min=1 / num_workers).astype(np.float32)
            yield tensors(batch)

    def validate(self) -> dict[str, float]:
        """Return the figures of every task and the means that early stopping may watch."""
        predicted = self.predict(self.validation, self.training.validation_rows)
        labels = self.validation.labels[self.validation.spaced(self.training.validation_rows)]
        figures: dict[str, float] = {}
        for k, task in enumerate(self.schema.tasks):
            known = ~np.isnan(labels[:, k])
            figure = auc if task.kind == "binary" else xauc
            name = f"{figure.__name__}_{task.name}"
            figures[name] = figure(predicted[known, k], labels[known, k])
        for name in ("auc", "xauc"):
            values = [value for key, value in figures.items() if key.startswith(f"{name}_")]
            if np.isfinite(values).any():
                figures[name] = float(np.nanmean(values))
        return figures

    def predict(
        self, impressions: Impressions, limit: int | None = None
    ) -> npt.NDArray[np.float32]:
        """Return predictions (n, tasks) in running order."""
        device = next(self.ranker.parameters()).device
        was_training = self.ranker.training
        self.ranker.eval()
        with torch.inference_mode():
            parts = [
                self.ranker.predict(tensors(inputs, device)).float().cpu().numpy()
                for inputs in impressions.in_order(PREDICTION_BATCH, limit)
            ]
        self.ranker.train(was_training)
        return np.concatenate(parts)

    def finish(self) -> None:
        """Let the probabilities mean what the validation split, the latest that is known, says."""
        limit = self.training.validation_rows
        if self.training.calibrate and len(self.validation):
            predicted = torch.from_numpy(self.predict(self.validation, limit))
            labels = torch.from_numpy(self.validation.labels[self.validation.spaced(limit)])
            heads = self.ranker.heads
            device = heads.bias.device
            heads.calibrate(predicted.to(device), labels.to(device))

    def evaluate(self, predictions_path: Path) -> dict[str, Any]:
        """Compute the report's "ranking", "ranking_floor" and "slices" on the test split."""
        test = Impressions(self.examples, "test")
        predicted = self.predict(test)
        write_predictions(predictions_path, test, predicted)
        return ranking_report(test, predicted)

    def export(self, folder: Path) -> None:
        """Write the ranker's programs."""
        example = self.impressions.batch(np.arange(min(len(self.impressions), 2)))
        export_ranker(self.ranker, tensors(example), folder)

    @property
    def _batch_size(self) -> int:
        size = self.training.batch_size
        assert size is not None, "the training split gave it"
        return size

    def _fit_heads(self) -> None:
        """Show the heads evenly spaced impressions of the training split."""
        every = -(-len(self.impressions) // FITTED_ROWS) or 1
        shards = self.impressions.shards
        labels = np.concatenate([shard.labels[::every] for shard in shards])
        items = np.concatenate([shard.item[::every] for shard in shards])
        numbers = torch.from_numpy(self.examples.catalogue.encoded.numbers[items])
        self.ranker.heads.fit(torch.from_numpy(labels), self.ranker.lengths(numbers))

    def _decay(self, name: str, parameter: torch.nn.Parameter) -> float:
        if name.endswith(EMBEDDING_SUFFIX):
            return self.training.embedding_weight_decay
        return self.training.weight_decay if parameter.ndim > 1 else 0.0


def tensors(inputs: Inputs, device: torch.device | str = "cpu") -> Batch:
    """Turn arrays into tensors on a device, without a copy on the CPU."""
    return {name: torch.from_numpy(array).to(device) for name, array in inputs.items()}
