"""Calibration: what predicted probabilities turn out to mean."""

import torch
from torch import Tensor, nn

PRIOR_ROWS = 4.0
"""Rows that speak for leaving the probabilities as they are."""
MIN_SCALE = 0.1
STEPS = 25


class Calibration(nn.Module):
    """Scales and shifts the logits of binary tasks (Platt, 1999); keeps their order.

    A network that fits its training split closely is too sure of itself on later days.

    Args:
        num_tasks: all of them; others than binary ones stay as they are.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, num_tasks: int) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(num_tasks))
        self.register_buffer("shift", torch.zeros(num_tasks))

    def forward(self, logits: Tensor, task: int) -> Tensor:
        """Return the probabilities (...) of one task's logits (...)."""
        return torch.sigmoid(self.scale[task] * logits + self.shift[task])

    def fit(self, logits: Tensor, labels: Tensor, task: int) -> None:
        """Find scale and shift of logits (n,) by the likelihood of labels (n,), 0 or 1.

        By Newton's method, with a weak prior for leaving them as they are.
        """
        inputs = torch.stack([logits.double(), torch.ones_like(logits, dtype=torch.float64)], 1)
        start = torch.tensor([1.0, 0.0]).to(inputs)
        found = start.clone()
        for _ in range(STEPS):
            chances = torch.sigmoid(inputs @ found)
            gradient = inputs.T @ (chances - labels.double()) + PRIOR_ROWS * (found - start)
            weighted = inputs * (chances * (1 - chances)).unsqueeze(1)
            curvature = inputs.T @ weighted + PRIOR_ROWS * torch.eye(2).to(inputs)
            step = torch.linalg.solve(curvature, gradient).clamp(-1, 1)
            if found[0] - step[0] < MIN_SCALE:  # the shift alone, at the least scale
                step = torch.stack([found[0] - MIN_SCALE, gradient[1] / curvature[1, 1]])
            found = found - step
        if found.isfinite().all():
            self.scale[task] = float(found[0])
            self.shift[task] = float(found[1])
