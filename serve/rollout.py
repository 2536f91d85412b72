"""`python -m serve.rollout CONFIG status|promote|rollback|stop`: which bundle is to answer.

It changes the registry, which a running service follows within seconds.
"""

import argparse
import http.client
import json
import sys
from collections.abc import Iterator
from typing import Any

from cluster import command
from cluster.errors import InputError
from cluster.storage import Storage
from retrieval.registry import Registry, existing
from serve.client import Client
from serve.config import ServeSettings

OK = 200
BY_HAND = "rolled back by hand"


def main(settings: ServeSettings, options: argparse.Namespace) -> None:
    """Do what was asked, then say how things stand.

    Raises:
        InputError: nothing was published, or there is no such bundle.
    """
    storage = Storage(settings.storage.root, settings.recommender)
    registry = existing(storage)
    ACTIONS[options.action](registry, options.bundle)
    lines = [*_registry(registry), *_service(Client(options.port, options.host))]
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def _status(_registry: Registry, _bundle: str | None) -> None:
    """Change nothing."""


def _promote(registry: Registry, bundle: str | None) -> None:
    """Make a bundle the champion: the challenger unless another one is named."""
    chosen = bundle or registry.standing().challenger
    if chosen is None:
        raise InputError(f"{registry.name}: no challenger to promote; name a bundle with --bundle")
    registry.promote(registry.version_of(chosen))


def _roll_back(registry: Registry, _bundle: str | None) -> None:
    """Make the champion before this one the champion."""
    registry.roll_back(BY_HAND)


def _stop(registry: Registry, _bundle: str | None) -> None:
    """Have no challenger."""
    if registry.standing().challenger is None:
        raise InputError(f"{registry.name}: no challenger to stop")
    registry.dismiss()


ACTIONS = {"status": _status, "promote": _promote, "rollback": _roll_back, "stop": _stop}


def _registry(registry: Registry) -> Iterator[str]:
    standing, numbers = registry.standing(), registry.versions()
    versions = {bundle_id: number for number, bundle_id in numbers.items()}
    yield f"{registry.name}, in the registry:"
    roles = (("champion", standing.champion), ("challenger", standing.challenger))
    for role, bundle_id in roles:
        if bundle_id is not None:
            yield f"  {role:<11}{bundle_id}, version {versions[bundle_id]}"
    for bundle_id in standing.champions:
        if bundle_id != standing.champion:
            yield f"  {'earlier':<11}{bundle_id}, version {versions[bundle_id]}"
    for bundle_id, reason in standing.refused.items():
        yield f"  {'refused':<11}{bundle_id}, version {versions[bundle_id]}: {reason}"


def _service(client: Client) -> Iterator[str]:
    """Yield what the service says, which need not run."""
    try:
        status, body = client.get("/v1/versions")
        told: dict[str, Any] = json.loads(body) if status == OK else {}
    except (OSError, http.client.HTTPException, ValueError):
        told = {}
    yield f"{client.url}:" if told else f"{client.url}: no answer"
    for name, value in told.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {part}" for key, part in value.items())
        yield f"  {name:<11}{'none' if value in (None, '') else value}"


if __name__ == "__main__":
    parser = command.parser("serve.rollout", "Which bundle is to answer.")
    parser.add_argument(
        "action",
        choices=tuple(ACTIONS),
        help="status: say how things stand; promote: the challenger, or --bundle, becomes the "
        "champion; rollback: the champion before this one comes back; stop: no challenger",
    )
    parser.add_argument("--bundle", metavar="ID", help="with promote: any published bundle")
    parser.add_argument("--port", type=int, default=8000, help="of the service; default 8000")
    parser.add_argument("--host", default="127.0.0.1", help="of the service")
    sys.exit(command.run(parser, ServeSettings, main))
