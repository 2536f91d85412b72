"""`python -m retrieval CONFIG`: item vectors, index, recall check, published bundle."""

import argparse
import sys

from cluster.command import parser, run
from cluster.errors import InputError
from cluster.storage import Storage
from models.bundle import Bundle
from retrieval.config import RetrievalSettings
from retrieval.installation import check_faiss
from retrieval.publish import is_up_to_date, publish
from retrieval.registry import CHALLENGER, CHAMPION, champion

STEPS = {
    "vectors": "item vectors",
    "index": "building the index",
    "recall": "checking recall",
    "files": "writing the bundle",
    "precision": "judging the ranker in bf16",
    "seal": "sealing it",
    "register": "registering the version",
}


def main(settings: RetrievalSettings, options: argparse.Namespace) -> None:
    """Publish a bundle, unless the champion is the one that would be made."""
    check_faiss()
    storage = Storage(settings.storage.root, settings.recommender)
    current = None if options.force else _champion(storage)
    if current is not None and is_up_to_date(settings, storage, current):
        print(f"retrieval: up to date, bundle {current.id}")
        return
    published = publish(settings, storage, _announce, alias=options.alias)
    facts = published.manifest
    print(
        f"published {settings.recommender} version {published.version} as {options.alias}, "
        f"bundle {published.bundle}: "
        f"{facts['num_items']} items, {facts['index']} index, "
        f"recall@{facts['recall_at']} {facts['recall']:.4f}, {facts['seconds']} s"
    )


def _champion(storage: Storage) -> Bundle | None:
    """Open what serves; None where nothing does or it is damaged."""
    try:
        return Bundle(champion(storage))
    except InputError:
        return None


def _announce(step: str) -> None:
    if step in STEPS:
        sys.stderr.write(f"retrieval: {STEPS[step]}\n")


if __name__ == "__main__":
    command = parser("retrieval", "Item vectors, index, recall check, published bundle.")
    command.add_argument("--force", action="store_true", help="publish even if nothing changed")
    command.add_argument(
        "--as",
        dest="alias",
        choices=(CHAMPION, CHALLENGER),
        default=CHAMPION,
        help="what the bundle is to be: a challenger is compared with the champion, see "
        "`python -m serve.rollout`",
    )
    sys.exit(run(command, RetrievalSettings, main))
