"""The two towers: unit vectors, the same in training as when serving, and as exported programs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from features.assembly import Assembler
from features.encoding import Encoded
from features.examples import Examples
from models.config import TwoTowerConfig
from models.two_tower import (
    ITEM_TOWER_INPUTS,
    USER_TOWER_INPUTS,
    ItemTower,
    TwoTower,
    UserTower,
)
from models.two_tower_export import export_two_tower
from models.two_tower_loss import TwoTowerLoss
from tests.toy_retrieval import (
    FEATURES,
    HISTORY,
    ITEMS,
    Event,
    random_timelines,
    toy_examples,
    toy_schema,
)
from train.config import RetrievalTraining
from train.retrieval_batches import RetrievalBatches
from train.window_events import WindowEvents

Tensors = dict[str, torch.Tensor]
CONFIG = TwoTowerConfig(dim=8, heads=2, attribute_dim=4)


def two_tower(examples: Examples, config: TwoTowerConfig = CONFIG) -> TwoTower:
    torch.manual_seed(3)
    model = TwoTower(examples.schema, config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def toy(folder: Path, **schema: object) -> Examples:
    timelines = random_timelines(np.random.default_rng(2))
    return toy_examples(folder, timelines, schema=toy_schema(**schema))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    return toy(tmp_path_factory.mktemp("toy"))


def requests(examples: Examples, n: int, lengths: list[int]) -> Tensors:
    """Return user inputs of n requests whose histories take the given lengths in turn."""
    random = np.random.default_rng(n)
    sizes = np.resize(lengths, n)
    is_real = np.arange(HISTORY) < sizes[:, None]
    history = np.where(is_real, random.integers(1, ITEMS + 1, (n, HISTORY)), 0)
    history_ms = np.where(is_real, np.sort(random.integers(0, 10**7, (n, HISTORY))), 0)
    contexts = len(examples.schema.select("context", "categorical"))
    numbers = len(examples.schema.select("context", "numeric"))
    context = Encoded(
        np.ones((n, contexts), np.int32),
        np.zeros((n, 0, examples.schema.max_values), np.int32),
        random.normal(size=(n, numbers)).astype(np.float32),
    )
    inputs = examples.assembler.user_inputs(
        examples.users.take(np.arange(n) % 10),
        context,
        timestamps_ms=np.full(n, 2 * 10**7),
        history=history,
        history_ms=history_ms,
        counts=np.zeros((n, 0, 2), np.float32),
    )
    return tensors({name: inputs[name] for name in USER_TOWER_INPUTS})


def catalogue_items(examples: Examples, n: int) -> Tensors:
    rows = np.arange(n) % (ITEMS + 1)
    return tensors(Assembler.static_item_inputs(examples.catalogue.encoded.take(rows)))


def tensors(arrays: dict[str, np.ndarray]) -> Tensors:
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def test_the_towers_take_what_the_assembler_gives(examples: Examples) -> None:
    given = examples.assembler.user_inputs(
        examples.users.take(np.zeros(1, np.int64)),
        Encoded.open(examples.folder / "users").take(np.zeros(1, np.int64)),
        timestamps_ms=np.zeros(1, np.int64),
        history=np.zeros((1, HISTORY), np.int32),
        history_ms=np.zeros((1, HISTORY), np.int64),
        counts=np.zeros((1, 0, 2), np.float32),
    )
    assert tuple(name for name in given if name != "user_rates") == USER_TOWER_INPUTS
    assert tuple(catalogue_items(examples, 1)) == ITEM_TOWER_INPUTS


def test_vectors_have_unit_norm(examples: Examples) -> None:
    model = two_tower(examples)
    users = UserTower(model)(requests(examples, 9, [0, 3, HISTORY]))
    items = ItemTower(model)(catalogue_items(examples, ITEMS + 1))
    assert users.shape == (9, CONFIG.dim)
    assert items.shape == (ITEMS + 1, CONFIG.dim)
    for vectors in (users, items):
        torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(len(vectors)))


@pytest.mark.parametrize("encoder", ["mean", "transformer", "hstu"])
@pytest.mark.parametrize("has_time", [True, False])
def test_one_pass_over_a_timeline_gives_what_each_request_gets(
    tmp_path: Path, encoder: str, has_time: bool
) -> None:
    """The planted ties count: an event must not see another one of its own instant."""
    examples = toy(tmp_path, has_time=has_time)
    model = two_tower(examples, CONFIG.model_copy(update={"encoder": encoder}))
    batches = RetrievalBatches(examples, RetrievalTraining(batch_size=8), exclude_seen=False)
    batch = tensors(batches.batch(batches.windows, np.random.default_rng(0)))
    with torch.inference_mode():
        encoded = model.items(batch["item_codes"], batch["item_multi"], batch["item_numbers"])
        states = model.states(encoded[batch["history"]], batch["history_steps"])
        trained = model.user_vectors(
            states[batch["target_rows"], batch["target_states"]],
            model.embed_users(batch)[batch["target_rows"]],
            model.embed_contexts(batch),
        )
        served = UserTower(model)(tensors(same_requests(examples, batches)))
    torch.testing.assert_close(trained, served, rtol=1e-5, atol=1e-6)


def same_requests(examples: Examples, batches: RetrievalBatches) -> dict[str, np.ndarray]:
    """Assemble each target's request as serving does: the window's events strictly before it."""
    events = WindowEvents.gather(batches.windows, batches.partitions)
    rows, columns = np.nonzero(events.is_target)
    history = np.zeros((len(rows), HISTORY), np.int32)
    history_ms = np.zeros((len(rows), HISTORY), np.int64)
    now = events.timestamps[rows, columns]
    for k, (row, instant) in enumerate(zip(rows, now, strict=True)):
        earlier = events.is_real[row] & (events.timestamps[row] < instant)
        history[k, : earlier.sum()] = events.items[row, earlier]
        history_ms[k, : earlier.sum()] = events.timestamps[row, earlier]
    no_multi = np.zeros((len(rows), 0, examples.schema.max_values), np.int32)
    inputs = examples.assembler.user_inputs(
        examples.users.take(events.users[rows]),
        Encoded(
            events.context_codes[rows, columns], no_multi, events.context_numbers[rows, columns]
        ),
        timestamps_ms=now,
        history=history,
        history_ms=history_ms,
        counts=np.zeros((len(rows), 0, 2), np.float32),
    )
    return {name: inputs[name] for name in USER_TOWER_INPUTS}


BARE = FEATURES[1:2]
NAMELESS = (FEATURES[0], *FEATURES[2:])


@pytest.mark.parametrize("features", [FEATURES, BARE, NAMELESS], ids=["all", "bare", "no item_id"])
def test_exported_towers_equal_the_modules(tmp_path: Path, features: tuple[object, ...]) -> None:
    examples = toy(tmp_path / "toy", features=features)
    model = two_tower(examples)
    example = {**requests(examples, 2, [3]), **catalogue_items(examples, 2)}
    export_two_tower(model, example, tmp_path)
    for tower, inputs in (
        (UserTower(model), [requests(examples, n, [0, 3, HISTORY]) for n in (1, 7)]),
        (UserTower(model), [requests(examples, 1, [size]) for size in (0, 1, HISTORY)]),
        (ItemTower(model), [catalogue_items(examples, n) for n in (1, 7, ITEMS + 1)]),
    ):
        name = "user_tower" if isinstance(tower, UserTower) else "item_tower"
        program = torch.export.load(tmp_path / f"{name}.pt2").module()
        for batch in inputs:
            torch.testing.assert_close(program(batch), tower(batch), rtol=1e-5, atol=1e-6)


def test_exported_towers_are_aten_only_and_load_without_our_code(
    tmp_path: Path, examples: Examples
) -> None:
    example = {**requests(examples, 2, [3]), **catalogue_items(examples, 2)}
    export_two_tower(two_tower(examples), example, tmp_path)
    for name in ("user_tower", "item_tower"):
        graph = torch.export.load(tmp_path / f"{name}.pt2").graph
        operators = {str(n.target) for n in graph.nodes if n.op == "call_function"}
        assert all(op.startswith(("aten.", "<built-in")) for op in operators), operators
    code = (
        "import sys, torch\n"
        "torch.export.load(sys.argv[1] + '/user_tower.pt2').module()\n"
        "assert not {'models', 'train', 'features'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=tmp_path, check=True)


def test_a_hidden_id_leaves_what_the_attributes_say(examples: Examples) -> None:
    model = two_tower(examples, CONFIG.model_copy(update={"id_dropout": 0.999}))
    items = catalogue_items(examples, ITEMS + 1)
    unknown = {**items, "item_codes": items["item_codes"].clone()}
    unknown["item_codes"][:, 1] = 0
    without_ids = ItemTower(model)(unknown)
    assert not torch.allclose(ItemTower(model)(items), without_ids)
    torch.testing.assert_close(ItemTower(model.train())(items)[:5], without_ids[:5])


VARIANTS = (
    {"encoder": "mean"},
    {"encoder": "transformer"},
    {"encoder": "hstu"},
    {"item_attributes": False},
    {"time_gaps": False},
)


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_parameter_takes_part_in_a_step(tmp_path: Path, variant: dict[str, object]) -> None:
    examples = toy(tmp_path)
    model = TwoTowerLoss(two_tower(examples, CONFIG.model_copy(update=variant)))
    batches = RetrievalBatches(examples, RetrievalTraining(batch_size=8), exclude_seen=True)
    loss, parts = model(next(batches.epoch(0, 0, 1)))
    loss.backward()
    assert loss.ndim == 0
    assert not parts["temperature"].requires_grad
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("without", "input_name"),
    [({"item_attributes": False}, "history_multi"), ({"time_gaps": False}, "history_steps")],
)
def test_what_is_left_out_changes_no_vector(
    tmp_path: Path, without: dict[str, object], input_name: str
) -> None:
    examples = toy(tmp_path)
    asked = requests(examples, 4, [3])
    changed = {**asked, input_name: asked[input_name].flip(1)}
    for variant, is_used in (({}, True), (without, False)):
        tower = UserTower(two_tower(examples, CONFIG.model_copy(update=variant)))
        assert torch.equal(tower(asked), tower(changed)) != is_used


def test_a_step_does_not_see_what_follows_the_target(tmp_path: Path) -> None:
    """Plant a leak: change the future of one target and compare its vector."""
    past = [Event(3, 10), Event(5, 20), Event(7, 30)]
    futures = [[Event(9, 40), Event(2, 50)], [Event(11, 30), Event(4, 31)]]
    vectors = []
    for number, future in enumerate(futures):
        examples = toy_examples(tmp_path / str(number), [[*past, *future]], partitions=1)
        model = two_tower(examples)
        batches = RetrievalBatches(examples, RetrievalTraining(batch_size=8), exclude_seen=False)
        batch = tensors(batches.batch(batches.windows, np.random.default_rng(0)))
        with torch.inference_mode():
            encoded = model.items(batch["item_codes"], batch["item_multi"], batch["item_numbers"])
            states = model.states(encoded[batch["history"]], batch["history_steps"])
            third = int(batch["target_states"][2])
        vectors.append(states[0, third])
    torch.testing.assert_close(*vectors)
