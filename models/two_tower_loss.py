"""The two-tower model's training step: from a batch of windows to the softmax loss."""

import torch
from torch import Tensor, nn

from models.gathering import gathered
from models.losses import softmax_loss
from models.softmax_rows import Barred, SoftmaxRows
from models.tables.workers import Workers
from models.two_tower import TwoTower


class TwoTowerLoss(nn.Module):
    """Encodes the step's items once, reads all windows in one pass, and ranks the candidates.

    A batch holds, with k targets, w windows of t events, c candidates and n other items:
    `targets` (k,) item numbers below c, `weights` (k,), `target_rows` (k,) windows,
    `target_states` (k,) events read before the target, `context_codes`, `context_numbers`
    (k, columns), `history` (w, t) item numbers below c + n, `history_steps` (w, t), `user_codes`,
    `user_multi`, `user_numbers` (w, ...), `offsets` (c,), `item_codes`, `item_multi`,
    `item_numbers` (s + n, ...), `shares` (workers, 0). Where answers leave out what a user had,
    `barred` (w, t) are the history's numbers, -1 for no candidate.

    All workers of a step have the same candidates. Each encodes its share of s of them, in their
    order (the last ones may be padding), and all rank their targets among all.
    """

    def __init__(self, model: TwoTower) -> None:
        super().__init__()
        self.model = model
        self._workers: Workers | None = None

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss and the temperature for the log."""
        model = self.model
        encoded = self._encoded(batch)
        states = model.states(encoded[batch["history"]], batch["history_steps"])
        users = model.user_vectors(
            states[batch["target_rows"], batch["target_states"]],
            model.embed_users(batch)[batch["target_rows"]],
            model.embed_contexts(batch),
        )
        items = model.item_vectors(encoded[: len(batch["offsets"])])
        rows = SoftmaxRows(
            batch["targets"], batch["weights"], batch["offsets"], barred=_barred(batch)
        )
        loss = softmax_loss(users, items, scale=model.scale, rows=rows)
        return loss, {"temperature": 1.0 / model.scale.detach()}

    def _encoded(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the encoded candidates and other items (c + n, dim)."""
        items = batch["item_codes"], batch["item_multi"], batch["item_numbers"]
        encoded: Tensor = self.model.items(*items)
        num_workers, num_candidates = len(batch["shares"]), len(batch["offsets"])
        if num_workers == 1:
            return encoded
        self._workers = self._workers or Workers.connected()
        share = -(-num_candidates // num_workers)
        candidates = gathered(encoded[:share], self._workers)[:num_candidates]
        return torch.cat([candidates, encoded[share:]])


def _barred(batch: dict[str, Tensor]) -> Barred | None:
    if "barred" not in batch:
        return None
    return Barred(batch["barred"], batch["target_rows"], batch["target_states"])
