"""Small faults put into a function's source one at a time, to see whether a check notices each.

A mutant differs from the original in one place: a whole number one larger or smaller, a comparison or an operator
exchanged for its neighbour, or a statement left out.
"""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, cast

NEIGHBOURS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """A module with one fault in it."""

    line: int
    change: str
    names: dict[str, Any]


def mutants(module: ModuleType, functions: set[str], uncompiled: bool = False) -> Iterator[Mutant]:
    """The module run again with each fault in the functions, after it has been run once without any.

    uncompiled: leave out what decorates functions, so that numba does not compile each mutant for seconds.
    """
    tree = _parsed(module, uncompiled)
    places = [
        (function, node, variant)
        for function, top in enumerate(tree.body)
        if isinstance(top, ast.FunctionDef) and top.name in functions
        for node, found in enumerate(ast.walk(top))
        for variant in range(len(_variants(found)))
    ]
    assert {top.name for top in tree.body if isinstance(top, ast.FunctionDef)} >= functions
    for function, node, variant in places:
        changed = copy.deepcopy(tree)
        target = list(ast.walk(changed.body[function]))[node]
        line, text = _variants(target)[variant](target)
        yield Mutant(line, text, _run(changed, module))


def original(module: ModuleType, uncompiled: bool = False) -> dict[str, Any]:
    """The module run again as it is."""
    return _run(_parsed(module, uncompiled), module)


def _parsed(module: ModuleType, uncompiled: bool) -> ast.Module:
    assert module.__file__
    with open(module.__file__, encoding="utf-8") as file:  # noqa: PTH123
        tree = ast.parse(file.read())
    for top in tree.body:
        if uncompiled and isinstance(top, ast.FunctionDef):
            top.decorator_list = []
    return tree


def _run(tree: ast.Module, module: ModuleType) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(ast.fix_missing_locations(tree), str(module.__file__), "exec"), names)
    return names


Change = Callable[[Any], tuple[int, str]]


def _variants(node: ast.AST) -> list[Change]:
    """What can be done to a node: functions that change it in place, and say in which line and what they did."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return [partial(_renumber, step=1), partial(_renumber, step=-1)]
    if isinstance(node, ast.BinOp) and type(node.op) in NEIGHBOURS:
        return [_exchange_operator]
    if isinstance(node, ast.AugAssign) and type(node.op) in NEIGHBOURS:
        return [_exchange_operator]
    if isinstance(node, ast.Compare):
        return [partial(_exchange_comparison, i=i) for i, op in enumerate(node.ops) if type(op) in NEIGHBOURS]
    return [
        partial(_leave_out, block=block, i=i)
        for block in ("body", "orelse")
        for i, statement in enumerate(getattr(node, block, None) or [] if isinstance(node, ast.stmt) else [])
        if isinstance(statement, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Continue)
    ]


def _renumber(node: ast.Constant, step: int) -> tuple[int, str]:
    old = cast("int", node.value)
    node.value = old + step
    return node.lineno, f"{old} becomes {node.value}"


def _exchange_operator(node: ast.BinOp | ast.AugAssign) -> tuple[int, str]:
    old = type(node.op)
    node.op = cast("ast.operator", NEIGHBOURS[old]())
    return node.lineno, f"{old.__name__} becomes {type(node.op).__name__}"


def _exchange_comparison(node: ast.Compare, i: int) -> tuple[int, str]:
    old = type(node.ops[i])
    node.ops[i] = cast("ast.cmpop", NEIGHBOURS[old]())
    return node.lineno, f"{old.__name__} becomes {type(node.ops[i]).__name__}"


def _leave_out(node: ast.AST, block: str, i: int) -> tuple[int, str]:
    line = getattr(node, block)[i].lineno
    getattr(node, block)[i] = ast.Pass()
    return line, "is left out"
