"""Mixtures of experts: what several tasks share, and how much of it each one takes."""

import math
from typing import Literal

import torch
from torch import Tensor, nn

Mixture = Literal["shared", "mmoe", "ple"]


class ExpertMixture(nn.Module):
    """Feed-forward experts, weighted per task.

    "shared": every task takes the mean of all experts. "mmoe": a gate per task weighs all experts
    (Ma et al., MMoE, 2018). "ple": each task also has as many experts of its own, which the other
    tasks' gates do not see (Tang et al., PLE, 2020; one level).

    Args:
        width: of the input.
        dims: layer widths of every expert.
        experts: shared ones.
        tasks: their number.
        kind: see above.
        dropout: after every layer.
    """

    mask: Tensor

    def __init__(
        self,
        width: int,
        dims: tuple[int, ...],
        *,
        experts: int,
        tasks: int,
        kind: Mixture,
        dropout: float,
    ) -> None:
        super().__init__()
        mask = _gate_mask(experts, tasks, kind)
        self.tasks, self.experts = mask.shape
        widths = [width, *dims]
        self.layers = nn.ModuleList(
            ExpertLayer(self.experts, *pair) for pair in zip(widths, widths[1:], strict=False)
        )
        self.gates = nn.Linear(width, mask.numel()) if kind != "shared" else None
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Mix the experts of inputs (..., width) for every task: (..., tasks, dims[-1])."""
        hidden = inputs.unsqueeze(-2)
        for layer in self.layers:
            hidden = self.dropout(torch.relu(layer(hidden)))
        if self.gates is None:
            mean = hidden.mean(-2, keepdim=True)
            return mean.expand(*mean.shape[:-2], self.tasks, mean.shape[-1])
        scores = self.gates(inputs)
        scores = scores.view(*scores.shape[:-1], self.tasks, self.experts)
        mixed: Tensor = torch.softmax(scores + self.mask, dim=-1) @ hidden
        return mixed


class ExpertLayer(nn.Module):
    """One linear layer of every expert, as one product.

    Args:
        experts: their number.
        width: of the input.
        out: of the output.
    """

    def __init__(self, experts: int, width: int, out: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(width)
        self.weight = nn.Parameter(torch.empty(experts, width, out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(experts, out))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (..., experts or 1, width) to (..., experts, out)."""
        if inputs.shape[-2] == 1:
            flat = self.weight.transpose(0, 1).flatten(1)  # (width, experts * out)
            outputs = inputs.squeeze(-2) @ flat
            outputs = outputs.view(*outputs.shape[:-1], *self.bias.shape)
        else:
            outputs = torch.einsum("...ei,eio->...eo", inputs, self.weight)
        return outputs + self.bias


def _gate_mask(experts: int, tasks: int, kind: Mixture) -> Tensor:
    """Return what is added to the gates' scores (tasks, all experts): -inf for others' experts."""
    if kind != "ple":
        return torch.zeros(tasks, experts)
    owner = torch.arange(tasks).repeat_interleave(experts)
    is_own = owner == torch.arange(tasks).unsqueeze(1)
    own = torch.zeros(is_own.shape).masked_fill(~is_own, -math.inf)
    return torch.cat([torch.zeros(tasks, experts), own], dim=1)
