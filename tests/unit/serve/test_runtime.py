"""Where a replica's ranker runs, and for how many requests at a time."""

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from cluster.errors import ConfigError
from cluster.storage import Storage
from models.runtime.compiled import CompiledPrograms
from models.runtime.device import DevicePrograms
from models.runtime.programs import ExportedPrograms
from serve.config import ServeConfig
from serve.runtime import CPU, GPU_BATCH, RuntimeConfig, device_of, open_programs

CUDA = torch.device("cuda")
without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


def test_a_gpu_that_is_not_reserved_is_left_alone() -> None:
    assert device_of(RuntimeConfig(), 0) == CPU
    assert device_of(RuntimeConfig(device="cpu"), 1) == CPU


@without_gpu
def test_a_reserved_gpu_that_torch_does_not_see_is_done_without(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert device_of(RuntimeConfig(), 0.5) == CPU
    assert "reserves 0.5 GPUs, but torch finds none" in caplog.text


@without_gpu
def test_a_gpu_that_has_to_be_there_is_missed() -> None:
    with pytest.raises(ConfigError, match=r"serve\.runtime\.device = 'cuda': torch finds no GPU"):
        device_of(RuntimeConfig(device="cuda"), 1)


@pytest.mark.gpu
def test_a_reserved_gpu_ranks() -> None:
    assert device_of(RuntimeConfig(), 1) == CUDA


def test_requests_are_batched_where_it_pays_or_as_configured() -> None:
    assert RuntimeConfig().batch_on(CPU) == 1
    assert RuntimeConfig().batch_on(CUDA) == GPU_BATCH
    assert RuntimeConfig(max_batch=4).batch_on(CPU) == 4
    assert RuntimeConfig(max_batch=1).batch_on(CUDA) == 1


def test_whoever_ranks_on_a_gpu_reserves_one() -> None:
    serve = {"runtime": {"device": "cuda"}, "topology": "split"}
    with pytest.raises(ValidationError, match="deployment 'ranker' ranks and reserves no GPU"):
        ServeConfig.model_validate({**serve, "scaling": {"gateway": {"num_gpus": 1}}})
    config = ServeConfig.model_validate({**serve, "scaling": {"ranker": {"num_gpus": 0.5}}})
    assert config.size("ranker").num_gpus == 0.5


def test_only_programs_of_the_host_are_compiled(tmp_path: Path) -> None:
    storage, config = Storage(str(tmp_path), "shop"), RuntimeConfig()
    assert isinstance(open_programs(config, storage, 2), CompiledPrograms)
    never = RuntimeConfig(compile="never")
    assert isinstance(open_programs(never, storage, 2), ExportedPrograms)
    moved = open_programs(config, storage, 2, device=CUDA)
    assert isinstance(moved, DevicePrograms)
    assert isinstance(moved.host, CompiledPrograms)
    assert "user_tower" not in moved.names
