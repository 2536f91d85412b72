"""What a model makes of a user, kept for when the same user asks again."""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from models.runtime.programs import Program, Programs
from serve.caches.cache import Cache

TENSOR_BYTES = 200
"""What a tensor takes beside its numbers."""

Inputs = Mapping[str, torch.Tensor]


class CachedProgram:
    """A program of one user's inputs that is run once for equal inputs.

    Its inputs hold the time since each event of the history, in steps that double, and the hour:
    they stay equal for minutes where the last events are hours old, and for seconds where they are
    seconds old. So it saves the work when a user asks for the next page, for another filter or
    twice, and not when they come back.

    Args:
        program: maps tensors by name to tensors.
        digest: of the program's file: another bundle's is another program.
        cache: holds what it gave, which nobody may write to.
    """

    def __init__(self, program: Program, digest: str, cache: Cache[Any]) -> None:
        self.program = program
        self.cache = cache
        self._digest = digest.encode()

    def __call__(self, inputs: Inputs) -> Any:
        """Return what the program gives for these inputs."""
        key = self._key(inputs)
        found = self.cache.get(key)
        if found is None:
            found = self.program(inputs)
            self.cache.put(key, found, sum(t.nbytes + TENSOR_BYTES for t in _tensors(found)))
        return found

    def _key(self, inputs: Inputs) -> bytes:
        digest = hashlib.blake2b(self._digest, digest_size=16)
        for name in sorted(inputs):
            tensor = inputs[name]
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().data)
        return digest.digest()


class CachedPrograms:
    """Opens programs, of which those in `caches` by name remember what they gave.

    Args:
        programs: open them.
        caches: by the program's name.
    """

    def __init__(self, programs: Programs, caches: Mapping[str, Cache[Any]]) -> None:
        self.programs = programs
        self.caches = caches

    def open(self, source: Path, digest: str) -> Program:
        """Return the program of an exported file."""
        program = self.programs.open(source, digest)
        cache = self.caches.get(source.stem)
        return program if cache is None else CachedProgram(program, digest, cache)


def _tensors(found: Any) -> Iterator[torch.Tensor]:
    """Yield the tensors of a nest of tuples, lists and dicts."""
    if isinstance(found, torch.Tensor):
        yield found
        return
    for part in found.values() if isinstance(found, Mapping) else found:
        yield from _tensors(part)
