"""Whole answers, repeated while nothing that they depend on has changed."""

import hashlib
import math
from collections.abc import Callable

from features.stores.store import Store
from features.vocabulary import canonical
from serve.caches.cache import Cache
from serve.messages import Answer, Request


class AnswerCache:
    """Keeps answers by all that decides them.

    That is the bundle, the request without its user's id, the content of the user's record, and
    what is withdrawn: an event, an erased or refilled user, another bundle and a withdrawal make
    another key, in every replica at once, as the store is read for each. Users without a record,
    or with equal ones, share their answers. What the clock decides (how fresh items are, time
    since the last event, counts of the interval that has just ended) is late by the answers'
    maximal age, which is therefore short.

    An identical request would be answered alike a moment later even without a cache, as nothing
    in the stages is drawn at random; a feed that is to change from visit to visit tells what it
    has shown, by events or `exclude`, and so asks something else.

    Explained answers are not kept, as they are about the computation, nor are degraded ones.

    Args:
        bundle_id: what answers.
        store: tells what has changed.
        generation: tells that something was withdrawn or restored.
        cache: holds answers as JSON.
    """

    def __init__(
        self,
        bundle_id: str,
        store: Store,
        generation: Callable[[], str],
        cache: Cache[bytes],
    ) -> None:
        self.bundle_id = bundle_id
        self.store = store
        self.generation = generation
        self.cache = cache

    def key(self, request: Request) -> bytes | None:
        """Return what a request's answer is kept under; None where it is not to be kept."""
        if request.explain:
            return None
        parts = (
            self.bundle_id.encode(),
            self.store.version(canonical(request.user_id)),
            self.generation().encode(),
            request.model_dump_json(exclude={"user_id"}).encode(),
        )
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            digest.update(len(part).to_bytes(8, "little") + part)
        return digest.digest()

    def find(self, key: bytes) -> Answer | None:
        """Return the answer to an identical request, with that one's id and timings."""
        kept = self.cache.get(key)
        return None if kept is None else Answer.model_validate_json(kept)

    def keep(self, key: bytes, answer: Answer, *, is_current: bool) -> None:
        """Keep an answer of full quality.

        Args:
            key: taken before the answer was made.
            answer: to the request that the key is of.
            is_current: whether the key is the same still. If not, the answer may know what came
                after its key, and must not be given to anyone when that has been taken back.
        """
        is_finite = all(math.isfinite(item.score) for item in answer.items)  # else JSON lacks it
        if answer.degraded is None and is_current and is_finite:
            packed = answer.model_dump_json().encode()
            self.cache.put(key, packed, len(packed))
