"""When the synthetic users open the feed: sessions, and the requests in them."""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from features.worlds.period import DAY_MS, END_MS, HOUR_MS, START_MS
from features.worlds.users import DEVICES, UTC_OFFSET_HOURS, Users

SURFACES = ("feed", "search", "related")
SURFACE_SHARES = (0.62, 0.14, 0.24)
MIN_SLATE = 4
MAX_SLATE = 12
MEAN_SLATE = (MIN_SLATE + MAX_SLATE) / 2
REQUESTS_PER_SESSION = 3.0
OWN_DEVICE_SHARE = 0.85
# Share of sessions by local hour, from midnight.
HOURS = np.asarray(
    [3, 2, 1, 1, 1, 1, 2, 4, 5, 5, 4, 4, 5, 5, 4, 4, 5, 6, 7, 8, 9, 9, 7, 5], np.float64
)


@dataclass(frozen=True)
class Requests:
    """Requests of a chunk of users, by user and then by time.

    Shapes: (r,) each; `user` is the row in the chunk, `session` counts up from 0, `start_ms` is
    the beginning of the session, `size` the number of items asked for.
    """

    user: npt.NDArray[np.int64]
    session: npt.NDArray[np.int64]
    start_ms: npt.NDArray[np.int64]
    surface: npt.NDArray[np.int64]
    device: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.user)

    def take(self, rows: npt.NDArray[np.int64]) -> "Requests":
        """Return some of the requests."""
        return Requests(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})


def draw_requests(
    rng: np.random.Generator, users: Users, expected: npt.NDArray[np.float64]
) -> Requests:
    """Draw about `expected` (n,) requests of each user, three or so in a session."""
    count = np.floor(expected + rng.random(len(users))).astype(np.int64)
    user = np.repeat(np.arange(len(users)), count)
    opens_session = rng.random(len(user)) < 1 / REQUESTS_PER_SESSION
    opens_session[np.flatnonzero(np.diff(user, prepend=-1))] = True
    session = np.cumsum(opens_session) - 1
    starts, device = _sessions(rng, users, user[opens_session])
    return Requests(
        user=user,
        session=session,
        start_ms=starts[session],
        surface=rng.choice(len(SURFACES), len(user), p=SURFACE_SHARES),
        device=device[session],
        size=rng.integers(MIN_SLATE, MAX_SLATE + 1, len(user)),
    )


def _sessions(
    rng: np.random.Generator, users: Users, owner: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Draw each session's start, in order within its owner (s,), and its device."""
    signup = users.activity.signup_ms[owner]
    begin = np.maximum(signup, START_MS)
    day = (begin + rng.random(len(owner)) * (END_MS - begin)).astype(np.int64) // DAY_MS * DAY_MS
    hour = rng.choice(len(HOURS), len(owner), p=HOURS / HOURS.sum())
    local_ms = hour * HOUR_MS + rng.integers(0, HOUR_MS, len(owner))
    offset_ms = UTC_OFFSET_HOURS[users.country[owner]] * HOUR_MS
    starts = np.maximum(day + (local_ms - offset_ms) % DAY_MS, begin)
    own = users.device[owner]
    other = rng.integers(0, len(DEVICES), len(owner))
    device = np.where(rng.random(len(owner)) < OWN_DEVICE_SHARE, own, other)
    return starts[np.lexsort((starts, owner))], device
