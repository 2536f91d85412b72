"""Which deployment holds which stages."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from serve.config import ServeConfig
from serve.topology import PLACED, share_of


def layout(**serve: Any) -> dict[str, tuple[str, ...]]:
    config = ServeConfig.model_validate(serve)
    return {deployment.name: deployment.stages for deployment in config.layout}


def deployments(**stages: list[str]) -> dict[str, Any]:
    return {"deployments": [{"name": n, "stages": s} for n, s in stages.items()]}


def test_fused_is_one_deployment_with_every_stage() -> None:
    assert layout() == {"gateway": PLACED}


def test_split_gives_each_model_a_deployment() -> None:
    assert layout(topology="split") == {
        "gateway": (),
        "retriever": ("hydrate", "retrieve"),
        "ranker": ("rank",),
        "reranker": ("rerank",),
    }


def test_the_gateway_may_hold_stages_of_a_custom_layout() -> None:
    grouped = deployments(gateway=["hydrate"], models=["retrieve", "rank"], rules=["rerank"])
    assert layout(**grouped) == {
        "gateway": ("hydrate",),
        "models": ("retrieve", "rank"),
        "rules": ("rerank",),
    }


def test_the_gateway_may_hold_what_is_around_a_stage_that_lies_elsewhere() -> None:
    grouped = deployments(gateway=["hydrate", "retrieve", "rerank"], ranker=["rank"])
    assert layout(**grouped)["ranker"] == ("rank",)


def test_a_gateway_without_stages_is_added_where_none_is_named() -> None:
    assert layout(**deployments(everything=list(PLACED))) == {
        "gateway": (),
        "everything": PLACED,
    }


def test_every_stage_has_the_same_share_of_the_time() -> None:
    assert sum(share_of(stages) for stages in layout(topology="split").values()) == 1.0
    assert share_of(("hydrate", "retrieve")) == 0.5


def test_answers_are_to_keep_the_objective_or_else_the_budget() -> None:
    assert ServeConfig(budget=200).objective == 200
    assert ServeConfig.model_validate({"overload": {"objective": "80ms"}}).objective == 80


def test_each_deployment_has_its_own_size() -> None:
    model = {"name": "all", "stages": list(PLACED), "max_replicas": 4, "num_gpus": 1}
    _, placed = ServeConfig.model_validate({"deployments": [model]}).layout
    assert placed.is_autoscaled
    assert placed.num_gpus == 1


def test_scaling_sizes_the_two_short_forms() -> None:
    config = ServeConfig.model_validate(
        {"topology": "split", "scaling": {"ranker": {"min_replicas": 3, "max_replicas": 3}}}
    )
    sizes = {deployment.name: deployment.min_replicas for deployment in config.layout}
    assert sizes == {"gateway": 1, "retriever": 1, "ranker": 3, "reranker": 1}


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (deployments(a=["hydrate"], b=["retrieve", "rank"]), "stage 'rerank' is in 0 deployments"),
        (deployments(a=["rank"], b=["hydrate", "retrieve", "rerank"]), "'b' has hydrate, retrieve"),
        (deployments(a=["retrieve", "hydrate"], b=["rank", "rerank"]), "the order is hydrate, re"),
        (deployments(a=list(PLACED), b=["rank"]), "stage 'rank' is in 2 deployments"),
        (deployments(a=[], b=list(PLACED)), "deployment 'a' has no stages"),
        (deployments(a=["filter"]), "Input should be 'hydrate', 'retrieve', 'rank' or 'rerank'"),
        (deployments(**{"A b": list(PLACED)}), "should match pattern"),
        (deployments(versions=list(PLACED)), "'versions', which has a meaning of its own"),
        ({"deployments": [{"name": "a", "stages": PLACED}] * 2}, "two deployments are called 'a'"),
        ({**deployments(a=list(PLACED)), "topology": "split"}, "topology: [[serve.deployments]]"),
        ({**deployments(a=list(PLACED)), "scaling": {}}, "scaling: [[serve.deployments]]"),
    ],
)
def test_what_is_no_layout_is_refused(wrong: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(complaint)):
        ServeConfig.model_validate(wrong)
