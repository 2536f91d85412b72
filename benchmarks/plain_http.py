"""The gateway and the stages in one uvicorn process: what Ray Serve is measured against.

.venv/bin/python -m benchmarks.plain_http CONFIG PORT METRICS_FOLDER [--set section.key=value ...]
"""

import argparse
import sys
from pathlib import Path

import torch
import uvicorn

from cluster.command import parser, run
from cluster.storage import Storage
from retrieval.registry import champion
from serve.config import ServeSettings
from serve.equipment import Equipment
from serve.gateway import gateway_app
from serve.metrics import Metrics
from serve.service import Service
from serve.topology import PLACED
from serve.warming import warm


def main(settings: ServeSettings, options: argparse.Namespace) -> None:
    """Open what a fused replica opens and serve it until interrupted."""
    torch.set_num_threads(1)
    storage = Storage(settings.storage.root, settings.recommender)
    equipment = Equipment.open(settings, champion(storage))
    warm(equipment, PLACED)
    service = Service(equipment, equipment.local(), Metrics(options.metrics_folder))
    app = gateway_app(service)
    uvicorn.run(app, host="127.0.0.1", port=options.port, access_log=False, log_level="warning")


if __name__ == "__main__":
    command = parser("benchmarks.plain_http", "Serve without Ray.")
    command.add_argument("port", type=int)
    command.add_argument("metrics_folder", type=Path)
    sys.exit(run(command, ServeSettings, main))
