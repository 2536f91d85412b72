"""Watch times by plain regression of their logarithm."""

import torch
from torch import Tensor, nn

MAX_LOG_SECONDS = 12.0


class LogSeconds(nn.Module):
    """One output, log1p of the seconds; half its squared error is the loss.

    The seconds are the typical time, whose absolute error is small: log times are far less skewed
    than times. Their mean is larger by a factor that hardly depends on the pair.

    Args:
        base: mean log1p of the training split's seconds.
    """

    num_outputs = 1

    def __init__(self, base: float) -> None:
        super().__init__()
        self.base = base

    def fit(self, seconds: Tensor, lengths: Tensor) -> None:
        """Need nothing."""

    def initial(self) -> Tensor:
        """Return the mean."""
        return torch.tensor([self.base])

    def errors(self, outputs: Tensor, seconds: Tensor, lengths: Tensor) -> Tensor:
        """Return half the squared errors of the logarithm."""
        return (outputs.squeeze(-1) - torch.log1p(seconds.clamp(min=0))).square() / 2

    def seconds(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Undo the logarithm."""
        return torch.expm1(outputs.squeeze(-1).clamp(0.0, MAX_LOG_SECONDS))
