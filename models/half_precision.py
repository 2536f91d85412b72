"""Exported programs with their matrix products in bfloat16."""

from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Graph, Node
from torch.fx.node import map_arg

PRODUCTS = (
    torch.ops.aten.linear.default,
    torch.ops.aten.matmul.default,
    torch.ops.aten.mm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.einsum.default,
)


def halve_products(program: ExportedProgram) -> int:
    """Let an exported program's matrix products take and give bfloat16; return their number.

    Everything between them, and what goes in and comes out, stays in float32. Weights stay as
    they are and are cast where they are used, which costs nothing beside the products.
    """
    graph = program.graph
    casts: dict[Node, Node] = {}
    products = [node for node in graph.nodes if node.target in PRODUCTS]
    for node in products:
        node.args = map_arg(node.args, lambda operand: _halved(graph, operand, casts))
        exact = _give_float32(graph, node)
        program.graph_signature.replace_all_uses(node.name, exact.name)
    program.graph_module.recompile()
    graph.lint()
    return len(products)


def _halved(graph: Graph, operand: Node, casts: dict[Node, Node]) -> Node:
    """Return the node that casts an operand, one for all its uses; others stay as they are."""
    if operand.meta["val"].dtype != torch.float32:
        return operand
    if operand not in casts:
        casts[operand] = _cast(graph, operand, torch.bfloat16)
    return casts[operand]


def _give_float32(graph: Graph, node: Node) -> Node:
    exact = node.meta["val"]
    node.meta["val"] = exact.to(torch.bfloat16)
    cast = _cast(graph, node, torch.float32)
    node.replace_all_uses_with(cast, delete_user_cb=lambda user: user is not cast)
    return cast


def _cast(graph: Graph, node: Node, dtype: torch.dtype) -> Node:
    """Insert a cast after a node; inputs are all read before the first computation."""
    value: Any = node.meta["val"]
    before = node.next
    while before.op == "placeholder":
        before = before.next
    with graph.inserting_before(before):
        cast = graph.call_function(torch.ops.aten.to.dtype, (node, dtype))
    cast.meta["val"] = value.to(dtype)
    return cast
