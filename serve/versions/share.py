"""Which users a canary answers."""

from hashlib import blake2b

from features.vocabulary import canonical

DIGEST_BYTES = 4


class UserShare:
    """A share of a recommender's users, the same in every process and for every challenger.

    Args:
        recommender: whose; two recommenders draw different users.
        share: of the users.
    """

    def __init__(self, recommender: str, share: float) -> None:
        self._seed = blake2b(recommender.encode(), digest_size=DIGEST_BYTES)
        self._bound = share * (1 << 8 * DIGEST_BYTES)

    def __contains__(self, user_id: int | str) -> bool:
        digest = self._seed.copy()
        digest.update(canonical(user_id).encode())
        return int.from_bytes(digest.digest()) < self._bound
