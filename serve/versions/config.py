"""`[serve.rollout]`: how another bundle takes over, and what takes it back."""

from typing import Literal

from pydantic import Field

from cluster.config import Duration, Section


class RolloutConfig(Section):
    """`[serve.rollout]`."""

    interval: Duration = Field(default=1_000, ge=100)
    """How often the registry is asked what the champion and the challenger are."""
    sample: int = Field(default=20, ge=0, le=1_000)
    """Latest requests of each gateway that a bundle answers, unseen, before it takes over."""
    watch: Duration = Field(default=300_000, ge=0)
    """How long after a bundle took over an alarm brings the one before it back."""
    mode: Literal["shadow", "canary"] = "shadow"
    """Whether the challenger's answers are only compared, or shown to some users."""
    sampling: float = Field(default=0.1, gt=0, le=1)
    """"shadow": share of the requests that the challenger answers too, while there is room."""
    share: float = Field(default=0.05, gt=0, lt=1)
    """"canary": share of the users whom the challenger answers, always the same ones."""
    min_answers: int = Field(default=200, ge=1)
    """Answers of a bundle before an alarm is believed."""
    max_faults: float = Field(default=0.02, ge=0, le=1)
    """Alarm: share of answers that miss a stage or are empty, beyond the other bundle's."""
    max_slowdown: float = Field(default=3.0, ge=1)
    """Alarm: mean time in the stages, over the other bundle's: a challenger's champion answers at
    the same time, but a new champion's predecessor answered before it, maybe on a quieter host."""
    tail_answers: int = Field(default=1_000, ge=100)
    """Answers without a fault of both bundles before their slowest are compared: one in a hundred
    of fewer is chance."""
    max_tail_slowdown: float = Field(default=4.0, ge=1)
    """Alarm: 99th percentile of the time in the stages, over the other bundle's."""
    max_drift: float = Field(default=0.25, gt=0)
    """Alarm: population stability index of a task's predictions for the items shown, against the
    other bundle's; above 0.25 the distribution is usually said to have shifted."""
