"""What the ranker needs of a way to predict watch times."""

from typing import Protocol

from torch import Tensor


class WatchTimeObjective(Protocol):
    """Some outputs per impression, what they should be, and the seconds that they mean.

    Lengths are the items' durations on any rising scale (the standardised logarithm that the
    models see), 0 where unknown. All outputs get the summed rates added, which are differences of
    log1p of seconds: a larger output means a longer time.
    """

    num_outputs: int

    def fit(self, seconds: Tensor, lengths: Tensor) -> None:
        """Take what has to be known of the training split's watched seconds and lengths (n,)."""
        ...

    def initial(self) -> Tensor:
        """Return the outputs (num_outputs,) that mean what is typical."""
        ...

    def errors(self, outputs: Tensor, seconds: Tensor, lengths: Tensor) -> Tensor:
        """Return losses (...) of outputs (..., num_outputs), about 1 before training."""
        ...

    def seconds(self, outputs: Tensor, lengths: Tensor) -> Tensor:
        """Return the predicted seconds (...) of outputs (..., num_outputs)."""
        ...
