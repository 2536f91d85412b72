"""MLflow tracking, and that its failure costs no training."""

from pathlib import Path

import pytest

from cluster.storage import Storage
from cluster.tracking import DATABASE, tracking_uri
from train.progress import Progress
from train.tracking import Tracking

pytestmark = [
    pytest.mark.integration,
    # MLflow's models use what SQLAlchemy 2.1 deprecates.
    pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning"),
]


def track(storage: Storage) -> None:
    with Tracking(storage, {"features.history_length": "20"}) as tracking:
        run = tracking.start("retrieval", {"train.retrieval.epochs": "3"})
        for epoch in (1, 2):
            figures = {"loss": 3.0 - epoch, "ndcg@10": epoch / 10}
            run.tell(Progress(total_steps=5 * epoch, figures={"loss": 0.5}))
            run.tell(Progress(epoch=epoch, figures=figures, is_epoch=True))
        run.tell(Progress(phase="evaluation"))
        run.finish({"retrieval": {"two_tower": {"hit_rate@10": 0.3}}, "slices": {"n": None}})


def test_parameters_curves_and_figures_are_tracked(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path), "toy")
    track(storage)
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri(storage))
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
    parent, child = runs["train"], runs["retrieval"]
    assert parent.data.params == {"features.history_length": "20"}
    assert child.data.params == {"train.retrieval.epochs": "3"}
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    assert child.data.metrics["test/retrieval/two_tower/hit_rate_at_10"] == 0.3
    curve = client.get_metric_history(child.info.run_id, "epoch/ndcg_at_10")
    assert [(point.step, point.value) for point in curve] == [(1, 0.1), (2, 0.2)]
    steps = client.get_metric_history(child.info.run_id, "step/loss")
    assert [point.step for point in steps] == [5, 10]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


def test_a_broken_database_is_said_once_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / DATABASE).write_text("not a database" * 1000)
    track(Storage(str(tmp_path), "toy"))
    said = capsys.readouterr().err
    assert said.count("training goes on without MLflow tracking") == 1


def test_a_remote_root_without_a_server_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    track(Storage("memory://root", "toy"))
    assert "MLFLOW_TRACKING_URI" in capsys.readouterr().err


def test_a_command_that_was_killed_goes_on_in_its_runs(tmp_path: Path) -> None:
    storage = Storage(str(tmp_path), "toy")
    first = Tracking(storage, {"a": "1"}, name="tune", key="sweep")
    first.start("trial 1", {"rate": "0.1"})
    first.start("trial 2", {"rate": "0.2"})
    first.end("trial 1", "KILLED")
    first._queue.shutdown()  # killed: nothing is closed
    with Tracking(storage, {"a": "1"}, name="tune", key="sweep") as second:
        second.start("trial 2", {"rate": "0.2"})
        second.start("trial 3", {"rate": "0.3"})
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=tracking_uri(storage))
    experiment = client.get_experiment_by_name("toy")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    statuses = sorted((run.info.run_name, run.info.status) for run in runs)
    assert statuses == [
        ("trial 1", "KILLED"),
        ("trial 2", "FINISHED"),
        ("trial 3", "FINISHED"),
        ("tune", "FINISHED"),
    ]
