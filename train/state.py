"""The state of a training: a nested dict, told apart into its tensors and everything else."""

import io
from typing import Any

import torch

State = dict[str, Any]
Tensors = dict[str, torch.Tensor]
Keys = tuple[str | int, ...]

SEPARATOR = "/"
TENSOR = "<tensor>"
"""Among the facts, holds the place of a tensor, so that the order of keys is kept."""


def parted(state: State) -> tuple[Tensors, dict[Keys, Any]]:
    """Part a state into its tensors, by name, and everything else, by path."""
    tensors: Tensors = {}
    facts: dict[Keys, Any] = {}
    for path, value in _leaves(state):
        if isinstance(value, torch.Tensor):
            tensors[tensor_name(path)] = value
            facts[path] = TENSOR
        else:
            facts[path] = value
    return tensors, facts


def joined(tensors: Tensors, facts: dict[Keys, Any]) -> State:
    """Undo `parted`."""
    state: State = {}
    for path, fact in facts.items():
        inner: dict[Any, Any] = state
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        is_tensor = isinstance(fact, str) and fact == TENSOR
        inner[path[-1]] = tensors[tensor_name(path)] if is_tensor else fact
    return state


def tensor_name(path: Keys) -> str:
    """Return the name of the tensor at a path: its keys, joined."""
    return SEPARATOR.join(map(str, path))


def facts_name(rank: int) -> str:
    """Return the name of the file with one worker's facts."""
    return f"facts-{rank}.pt"


def saved_facts(facts: dict[Keys, Any]) -> bytes:
    """Return facts as the content of a file."""
    stream = io.BytesIO()
    torch.save(facts, stream)
    return stream.getvalue()


def loaded_facts(content: bytes) -> dict[Keys, Any]:
    """Undo `saved_facts`."""
    facts: dict[Keys, Any] = torch.load(io.BytesIO(content), weights_only=True)
    return facts


def _leaves(value: State, path: Keys = ()) -> list[tuple[Keys, Any]]:
    leaves: list[tuple[Keys, Any]] = []
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            leaves += _leaves(inner, (*path, key))
        else:
            leaves.append(((*path, key), inner))
    return leaves
