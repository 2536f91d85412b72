"""The HTTP interface, fuzzed from its own OpenAPI document over a real service without Ray."""

from pathlib import Path

import pytest
import schemathesis
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import positive_data_acceptance

from serve.config import ServeSettings
from serve.equipment import Equipment
from serve.gateway import gateway_app
from serve.metrics import Metrics
from serve.service import Service
from serve.shared import Shared
from tests.toy_bundle import TASKS, ToyBundle

EXAMPLES = 40
OPERATIONS = (
    ("POST", "/v1/recommendations"),
    ("POST", "/v1/events"),
    ("PUT", "/v1/items/{item_id}"),
    ("DELETE", "/v1/items/{item_id}"),
    ("GET", "/v1/health"),
    ("GET", "/v1/versions"),
    ("GET", "/metrics"),
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> ServeSettings:
    root: Path = tmp_path_factory.mktemp("served")
    return ServeSettings.model_validate(
        {
            "recommender": "toy",
            "storage": {"root": str(root)},
            "dataset": {"format": "synthetic"},
            "tasks": [task.model_dump() for task in TASKS],
            "serve": {"budget": "60s"},
        }
    )


@pytest.fixture(scope="module")
def interface(bundle: ToyBundle, served: ServeSettings) -> schemathesis.BaseSchema:
    equipment = Equipment(served, bundle, Shared(served))
    app = gateway_app(Service(equipment, equipment.local(), Metrics()))
    config = schemathesis.Config.from_dict({"seed": 1})
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config)


def test_every_operation_of_the_document_is_fuzzed(interface: schemathesis.BaseSchema) -> None:
    documented = [operation.ok() for operation in interface.get_all_operations()]
    assert {(one.method.upper(), one.path) for one in documented} == set(OPERATIONS)


@pytest.mark.parametrize(
    ("method", "path", "mode"),
    [
        *((*operation, GenerationMode.POSITIVE) for operation in OPERATIONS),
        # The others take nothing that could be wrong.
        *((*operation, GenerationMode.NEGATIVE) for operation in OPERATIONS[:4]),
    ],
)
@settings(max_examples=EXAMPLES, derandomize=True)
@given(data=st.data())
def test_no_request_fails_and_answers_are_as_documented(
    interface: schemathesis.BaseSchema,
    method: str,
    path: str,
    mode: GenerationMode,
    data: st.DataObject,
) -> None:
    case = data.draw(interface[path][method].as_strategy(generation_mode=mode))
    # Which tasks and columns there are depends on the bundle; the document cannot tell.
    case.call_and_validate(excluded_checks=[positive_data_acceptance])
