"""The two-tower model's training step: from a batch of windows to the softmax loss."""

from torch import Tensor, nn

from models.losses import Barred, SoftmaxRows, softmax_loss
from models.two_tower import TwoTower


class TwoTowerLoss(nn.Module):
    """Encodes the step's items once, reads all windows in one pass, and ranks the candidates.

    A batch holds, with k targets, w windows of t events and n items of which the first c are the
    candidates: `targets` (k,) item numbers below c, `weights` (k,), `target_rows` (k,) windows,
    `target_states` (k,) events read before the target, `context_codes`, `context_numbers`
    (k, columns), `history`, `history_steps` (w, t), `user_codes`, `user_multi`, `user_numbers`
    (w, ...), `offsets` (c,), `item_codes`, `item_multi`, `item_numbers` (n, ...). Where answers
    leave out what a user had, `barred` (w, t) are the history's numbers, -1 for no candidate.
    """

    def __init__(self, model: TwoTower) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the weighted loss and the temperature for the log."""
        model = self.model
        encoded = model.items(batch["item_codes"], batch["item_multi"], batch["item_numbers"])
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


def _barred(batch: dict[str, Tensor]) -> Barred | None:
    if "barred" not in batch:
        return None
    return Barred(batch["barred"], batch["target_rows"], batch["target_states"])
