"""`python -m serve CONFIG [--port 8000]`: the HTTP service, until interrupted."""

import sys
from pathlib import Path

from cluster import command
from serve.config import ServeSettings
from serve.launch import launch

if __name__ == "__main__":
    parser = command.parser("serve", "Serve recommendations over HTTP, until interrupted.")
    parser.add_argument("--port", type=int, default=8000, help="default 8000")
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 is every address"
    )
    parser.add_argument(
        "--write-serve-config",
        type=Path,
        metavar="FILE",
        help="write what `serve deploy` takes, and start nothing",
    )
    sys.exit(command.run(parser, ServeSettings, launch))
