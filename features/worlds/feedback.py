"""What synthetic users do with what they see: click, watch, like, by a hidden preference."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.worlds.items import Items
from features.worlds.users import Users

BASE = -2.9
AFFINITY = 5.0
QUALITY = 0.45
FRESHNESS = 0.5
FRESH_LIFETIME_DAYS = 5.0
# Per surface (feed, search, related), per device (phone, tablet, tv, desktop).
SURFACE_PULL = np.asarray([0.0, 0.7, 0.25])
DEVICE_PULL = np.asarray([0.0, 0.1, -0.2, -0.1])
DEVICE_STAMINA = np.asarray([-0.15, 0.0, 0.35, 0.1])
TYPICAL_LOG_DURATION = 4.3
POSITION_DECAY = 0.15
WATCH_SLOPE = 0.45
WATCH_NOISE = 0.7
WATCH_SHARE = 0.8
GLANCE_S = 1.2
LIKE_BASE = -3.2
LIKE_SLOPE = 0.8
DAY_S = 86_400.0


@dataclass(frozen=True)
class Scene:
    """Impressions as their users see them: (n,) each, rows and codes."""

    user: npt.NDArray[np.int64]
    item: npt.NDArray[np.int64]
    timestamp_ms: npt.NDArray[np.int64]
    surface: npt.NDArray[np.int64]
    device: npt.NDArray[np.int64]
    position: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Feedback:
    """What followed: (n,) each."""

    click: npt.NDArray[np.bool_]
    like: npt.NDArray[np.bool_]
    watch_time_s: npt.NDArray[np.float64]


def utility(
    users: Users,
    items: Items,
    user: npt.NDArray[np.int64],
    item: npt.NDArray[np.int64],
    timestamp_ms: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Return the hidden preference in log-odds, without surface, device and position: (n,)."""
    tastes = users.tastes(user, timestamp_ms)
    affinity = np.einsum("nd,nd->n", tastes, items.vector[item]).astype(np.float64)
    age_days = np.maximum(timestamp_ms - items.published_ms[item], 0) / (1000 * DAY_S)
    length = np.log(items.duration_s[item]) - TYPICAL_LOG_DURATION
    return np.asarray(
        BASE
        + users.patience[user]
        + AFFINITY * affinity
        + QUALITY * items.quality[item]
        + FRESHNESS * np.exp(-age_days / FRESH_LIFETIME_DAYS)
        + users.stamina[user] * length
    )


def examination(position: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Return the probability that a user looks at a position, 1 for the first."""
    return np.asarray(1.0 / (1.0 + POSITION_DECAY * (position - 1)))


def draw_feedback(
    rng: np.random.Generator,
    items: Items,
    scene: Scene,
    preference: npt.NDArray[np.float64],
) -> Feedback:
    """Draw what users do, given their `utility` (n,) for what they see."""
    n = len(scene.user)
    length = np.log(items.duration_s[scene.item]) - TYPICAL_LOG_DURATION
    pull = SURFACE_PULL[scene.surface] + DEVICE_PULL[scene.device]
    logit = preference + pull + DEVICE_STAMINA[scene.device] * length
    click = rng.random(n) < examination(scene.position) * _sigmoid(logit)
    like = click & (rng.random(n) < _sigmoid(LIKE_BASE + LIKE_SLOPE * (preference - BASE)))
    return Feedback(click, like, _watch_time(rng, items.duration_s[scene.item], click, preference))


def _watch_time(
    rng: np.random.Generator,
    duration_s: npt.NDArray[np.float64],
    click: npt.NDArray[np.bool_],
    preference: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """A clicked video is watched the longer the more it is liked, at most to its end."""
    noise = WATCH_NOISE * rng.standard_normal(len(click))
    share = WATCH_SHARE * np.exp(WATCH_SLOPE * (preference - BASE - 2.0) + noise)
    glance = rng.exponential(GLANCE_S, len(click))
    wanted = np.where(click, share * duration_s, glance)
    return np.asarray(np.round(np.minimum(wanted, duration_s), 1))


def _sigmoid(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-logits)))
