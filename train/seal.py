"""The seal of a checkpoint: what proves that it is whole, and whose it is."""

import hashlib
import json
from dataclasses import asdict, dataclass

from train.proven_files import Proof

NAME = "checkpoint.json"


@dataclass(frozen=True)
class Seal:
    """Written last, by rank 0.

    Attributes:
        identity: what the training is made from, flat.
        num_workers: that wrote their shares.
        best_epoch: the epoch whose weights were the best so far.
        files: the proof of every other file, by its name.
    """

    identity: dict[str, str]
    num_workers: int
    best_epoch: int
    files: dict[str, Proof]

    def dump(self) -> bytes:
        """Return the seal as a file's content, with a hash over itself."""
        facts = asdict(self)
        return json.dumps({**facts, "sha256": _hash(facts)}, indent=1).encode()

    @classmethod
    def parse(cls, content: bytes) -> "Seal | None":
        """Read what `dump` returned; None where it is damaged."""
        try:
            facts = json.loads(content)
        except (json.JSONDecodeError, UnicodeDecodeError):
            return None
        if not isinstance(facts, dict) or facts.pop("sha256", None) != _hash(facts):
            return None
        return cls(**facts)


def _hash(facts: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
