"""Calls written as Python, read without being run; must not know which tools there are. No I/O.

Imported when such a call is met, and not before.
"""

from __future__ import annotations

import ast
import warnings

from relight.wire.tool_json import NoCall, Written
from relight.wire.tool_repair import MOST


def python_calls(text: str) -> list[Written]:
    """`[f(x=1), g(y="a")]`, `f.call(x=1)`, `print(f(x=1))`: literals by name, nothing that would have to be run."""
    if len(text) > MOST:
        raise NoCall
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text.strip())
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise NoCall from error
    nodes = [inner for statement in tree.body for inner in _expressions(statement)]
    if not nodes:
        raise NoCall
    return [_python_call(node) for node in nodes]


def _expressions(statement: ast.stmt) -> list[ast.expr]:
    if not isinstance(statement, ast.Expr):
        raise NoCall
    return statement.value.elts if isinstance(statement.value, ast.List | ast.Tuple) else [statement.value]


def _python_call(node: ast.expr) -> Written:
    if not isinstance(node, ast.Call):
        raise NoCall
    if isinstance(node.func, ast.Name) and node.func.id == "print" and len(node.args) == 1 and not node.keywords:
        return _python_call(node.args[0])
    if node.args:
        raise NoCall  # without names nobody knows what they are
    try:
        name = ast.unparse(node.func).removesuffix(".call")
        return Written(name, {_keyword(one): _plain(ast.literal_eval(one.value)) for one in node.keywords})
    except (ValueError, TypeError, MemoryError, RecursionError) as error:
        raise NoCall from error


def _keyword(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise NoCall
    return keyword.arg


def _plain(value: object) -> object:
    """A value that JSON has words for; raises `TypeError` for another."""
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError("JSON has no words for it")
