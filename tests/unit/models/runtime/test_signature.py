"""What compiled code is tried out with: every size that may differ, differs."""

import torch

from models.runtime.signature import Signature, Slot, probes


def test_probes_vary_every_free_size_alike_in_all_inputs() -> None:
    users = Slot(path=(0, "codes"), dtype="torch.int64", shape=(None, 2))
    items = Slot(path=(1, "numbers"), dtype="torch.float32", shape=(None, None, 4))
    fixed = Slot(path=(2,), dtype="torch.float32", shape=(5,))
    signature = Signature(slots=(users, items, fixed), returns_tuple=False)
    examples = (torch.tensor([[1, 2], [3, 4]]), torch.rand(2, 3, 4), torch.rand(5))
    for size in (1, 2, 37):
        drawn = probes(signature, examples, size)
        assert [tuple(tensor.shape) for tensor in drawn] == [(size, 2), (size, size + 1, 4), (5,)]
        assert all(tensor.is_contiguous() for tensor in drawn)
        assert {tuple(row) for row in drawn[0].tolist()} <= {(1, 2), (3, 4)}
        assert signature.flat([{"codes": drawn[0]}, {"numbers": drawn[1]}, drawn[2]])
