"""MLflow tracking of a command's trainings; what fails here never costs a training."""

import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cluster.storage import Storage
from cluster.tracking import prepare_mlflow, tracking_uri
from train.figures import flat
from train.progress import Progress

if TYPE_CHECKING:
    from mlflow import MlflowClient

MAX_VALUE = 500
BATCH = 100
KEY_TAG = "millrace.key"


class Tracking:
    """One MLflow run in the experiment of a recommender, with a run inside it for each model.

    Args:
        storage: names the experiment and holds the database.
        params: of the command, flat.
        name: of the run.
        key: with one, runs of a command that was killed are found by it and go on.

    Everything happens on one thread beside the training: importing MLflow alone takes seconds.
    """

    def __init__(
        self,
        storage: Storage,
        params: Mapping[str, str],
        *,
        name: str = "train",
        key: str | None = None,
    ) -> None:
        self.storage = storage
        self.name = name
        self.key = key
        self.is_failed = False
        self._queue = ThreadPoolExecutor(1, thread_name_prefix="tracking")
        self._client: MlflowClient | None = None
        self._runs: dict[str, str] = {}
        self._do(self._connect, dict(params))

    def __enter__(self) -> "Tracking":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._do(self._terminate, "FINISHED" if kind is None else "FAILED")
        self._queue.shutdown()

    def start(self, model: str, params: Mapping[str, str]) -> "ModelTracking":
        """Open a model's run."""
        self._do(self._open, model, dict(params))
        return ModelTracking(self, model)

    def log(self, model: str, metrics: Mapping[str, float], step: int) -> None:
        """Add points to a model's curves."""
        self._do(self._log, model, dict(metrics), step, int(time.time() * 1000))

    def end(self, model: str, status: str) -> None:
        """Close a model's run before the command ends; `status` is one of MLflow's words."""
        self._do(self._end, model, status)

    def _do(self, action: Callable[..., None], *arguments: Any) -> None:
        future = self._queue.submit(self._unless_failed, action, *arguments)
        future.add_done_callback(self._notice)

    def _unless_failed(self, action: Callable[..., None], *arguments: Any) -> None:
        if not self.is_failed:
            action(*arguments)

    def _notice(self, future: "Future[None]") -> None:
        """Say the first failure, whatever it is, and do nothing more."""
        error = future.exception()
        if error is not None:
            self.is_failed = True
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            sys.stderr.write(f"training goes on without MLflow tracking: {reason}\n")

    def _connect(self, params: dict[str, str]) -> None:
        prepare_mlflow()
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=tracking_uri(self.storage))
        self._open("", params)

    def _open(self, model: str, params: dict[str, str]) -> None:
        from mlflow.entities import Param

        assert self._client is not None
        tags = {"mlflow.runName": model or self.name}
        if model:
            tags["mlflow.parentRunId"] = self._runs[""]
        if self.key is not None:
            tags[KEY_TAG] = f"{self.key}/{model}"
            if self._found(tags[KEY_TAG], model):
                return
        run = self._client.create_run(self._experiment(), tags=tags)
        self._runs[model] = run.info.run_id
        entities = [Param(_name(key), value[:MAX_VALUE]) for key, value in params.items()]
        for begin in range(0, len(entities), BATCH):
            self._client.log_batch(run.info.run_id, params=entities[begin : begin + BATCH])

    def _found(self, key: str, model: str) -> bool:
        """Go on with the run that has the key; tell whether there is one."""
        assert self._client is not None
        runs = self._client.search_runs(
            [self._experiment()], f"tags.`{KEY_TAG}` = '{key}'", max_results=1
        )
        for run in runs:
            self._client.update_run(run.info.run_id, status="RUNNING")
            self._runs[model] = run.info.run_id
        return bool(runs)

    def _experiment(self) -> str:
        assert self._client is not None
        name = self.storage.recommender
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        local = f"{self.storage.root}/mlflow-artifacts" if self.storage.remote is None else None
        return str(self._client.create_experiment(name, artifact_location=local))

    def _log(self, model: str, metrics: dict[str, float], step: int, now_ms: int) -> None:
        from mlflow.entities import Metric

        assert self._client is not None
        points = [Metric(_name(key), value, now_ms, step) for key, value in metrics.items()]
        for begin in range(0, len(points), BATCH):
            self._client.log_batch(self._runs[model], metrics=points[begin : begin + BATCH])

    def _terminate(self, status: str) -> None:
        assert self._client is not None
        for model in reversed(list(self._runs)):
            self._end(model, status)

    def _end(self, model: str, status: str) -> None:
        assert self._client is not None
        self._client.set_terminated(self._runs.pop(model), status)


class ModelTracking:
    """A listener that draws one model's curves.

    Args:
        tracking: of the command.
        model: whose run it is.
    """

    def __init__(self, tracking: Tracking, model: str) -> None:
        self.tracking = tracking
        self.model = model

    def tell(self, progress: Progress) -> None:
        """Add the figures, by step within epochs and by epoch at their ends."""
        if progress.phase != "training":
            return
        kind, step = ("epoch", progress.epoch) if progress.is_epoch else ("step", 0)
        step = step or progress.total_steps
        metrics = {f"{kind}/{name}": value for name, value in progress.figures.items()}
        self.tracking.log(self.model, metrics, step)

    def finish(self, metrics: Mapping[str, Any]) -> None:
        """Add the figures on the test split, nested as in the report."""
        self.tracking.log(self.model, flat(metrics, "test/", "/"), 0)


def _name(key: str) -> str:
    """Spell a key with the characters that MLflow takes."""
    return key.replace("@", "_at_")
