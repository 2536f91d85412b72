"""When a bundle is taken back: it fails, it is slow, or it predicts something else."""

from serve.versions.config import RolloutConfig
from serve.versions.tally import Tally

FEW = 2
"""One bad answer is chance."""


def alarm(config: RolloutConfig, own: Tally, other: Tally) -> str | None:
    """Return what is wrong with a bundle beside another one; None while nothing is known to be."""
    if own.answers < config.min_answers:
        return None
    reason = _faults(config, own, other)
    if reason is None and other.answers >= config.min_answers:
        reason = _slowdown(config, own, other) or _tail(config, own, other)
        reason = reason or _drift(config, own, other)
    return reason


def unfit(config: RolloutConfig, trial: Tally) -> str | None:
    """Return why a bundle may not take over that was tried on some requests."""
    return _faults(config, trial, Tally())


def _faults(config: RolloutConfig, own: Tally, other: Tally) -> str | None:
    is_more = own.fault_share > other.fault_share + config.max_faults
    if own.faults + own.empties < FEW or not is_more:
        return None
    return (
        f"of {own.answers:.0f} answers {own.faults:.0f} missed a stage and {own.empties:.0f} were "
        f"empty; max_faults is {config.max_faults:g} above the other bundle's "
        f"{other.fault_share:.3g}"
    )


def _slowdown(config: RolloutConfig, own: Tally, other: Tally) -> str | None:
    if not own.mean_ms > config.max_slowdown * other.mean_ms:
        return None
    return (
        f"{own.mean_ms:.1f} ms in the stages, {other.mean_ms:.1f} ms with the other bundle; "
        f"max_slowdown is {config.max_slowdown:g}"
    )


def _tail(config: RolloutConfig, own: Tally, other: Tally) -> str | None:
    """Compare the slowest answers, where there are enough for one in a hundred to be no chance."""
    own_ms, other_ms = own.tail_ms, other.tail_ms
    if min(own.latencies.count, other.latencies.count) < config.tail_answers:
        return None
    assert own_ms is not None, "answers that were counted"
    assert other_ms is not None, "answers that were counted"
    if not own_ms > config.max_tail_slowdown * other_ms:
        return None
    return (
        f"one answer in a hundred takes over {own_ms:.1f} ms in the stages, {other_ms:.1f} ms with "
        f"the other bundle; max_tail_slowdown is {config.max_tail_slowdown:g}"
    )


def _drift(config: RolloutConfig, own: Tally, other: Tally) -> str | None:
    for task, drift in own.drift(other).items():
        if drift > config.max_drift:
            return (
                f"predictions of {task} have a stability index of {drift:.2f} to the other "
                f"bundle's; max_drift is {config.max_drift:g}"
            )
    return None
