"""Batches on their way to the device: each is copied while the step before it runs."""

from collections import deque
from collections.abc import Iterator
from typing import TypeVar

import torch

from train.objective import Batch

T = TypeVar("T")


def on_device(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield the batches on the device.

    To a GPU they go from pinned memory on a stream of their own, one batch ahead: the host gathers
    and copies the next one while the device is busy with the current one.
    """
    if device.type != "cuda":
        return ({name: t.to(device) for name, t in batch.items()} for batch in batches)
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    copies = one_ahead(Copy(batch, device, stream) for batch in batches)
    return (copy.arrived() for copy in copies)


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """Yield the items, each after the one that follows it has been made."""
    waiting: deque[T] = deque()
    for item in items:
        if waiting:
            yield waiting.popleft()
        waiting.append(item)
    yield from waiting


class Copy:
    """A batch's copy to a GPU, beside what the GPU computes.

    Args:
        batch: in the host's memory.
        device: the GPU.
        stream: for copies alone.
    """

    def __init__(self, batch: Batch, device: torch.device, stream: torch.cuda.Stream) -> None:
        self.device = device
        self.event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream):
            self.batch = {
                name: tensor.pin_memory().to(device, non_blocking=True)
                for name, tensor in batch.items()
            }
            self.event.record(stream)

    def arrived(self) -> Batch:
        """Return the batch; what is computed from here on waits for it."""
        current = torch.cuda.current_stream(self.device)
        current.wait_event(self.event)
        for tensor in self.batch.values():
            tensor.record_stream(current)
        return self.batch
