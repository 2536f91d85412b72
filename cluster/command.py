"""The frame of every command: arguments, settings, one-line errors, exit codes 0, 1 and 2."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from cluster.config import Settings, load
from cluster.errors import ConfigError, InputError, input_error_in

S = TypeVar("S", bound=Settings)


def parser(name: str, description: str) -> argparse.ArgumentParser:
    """Build the parser that every command shares: CONFIG and repeatable --set."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=description)
    parser.add_argument("config", type=Path, metavar="CONFIG", help="a TOML file, see configs/")
    parser.add_argument(
        "--set",
        dest="overrides",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override one value of the config (repeatable)",
    )
    return parser


def run(
    parser: argparse.ArgumentParser,
    settings: type[S],
    main: Callable[[S, argparse.Namespace], None],
    arguments: Sequence[str] | None = None,
) -> int:
    """Parse, load the settings, call `main` and return the exit code."""
    options = parser.parse_args(arguments)
    try:
        main(load(settings, options.config, options.overrides), options)
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        known = input_error_in(error)
        if known is None:
            raise
        return _complain(known)
    return 0


def _complain(error: InputError) -> int:
    message = " ".join(str(error).split())
    sys.stderr.write(f"error: {message}\n")
    return 2 if isinstance(error, ConfigError) else 1
