"""Holds the code in src/holdfast to the sizes of CONTRIBUTING.md: prints each place above a limit and what to do.

Lines of a function run from ``def`` to its last line without the docstring; lines of a module are all its lines.
Nesting counts block statements (if, for, while, with, try, match) inside each other; ``elif`` does not nest, and a
function inside a function starts again at nought. Parameters do not count ``self`` and ``cls``. Overloads and
property setters of one name are one public method.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

MODULE_LINES = 500
CONTRACT_LINES = 300
FUNCTION_LINES = 50
NESTING = 3
PARAMETERS = 7
PUBLIC_METHODS = 15

Function = ast.FunctionDef | ast.AsyncFunctionDef
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)


class Finding(NamedTuple):
    """One place above a limit."""

    line: int
    text: str


def findings(source: str, *, contract: bool = False) -> list[Finding]:
    """Return every place of one module's source that is above a limit, in the order of lines."""
    tree = ast.parse(source)
    found = list(_module(source, CONTRACT_LINES if contract else MODULE_LINES))
    for node in ast.walk(tree):
        if isinstance(node, _FUNCTIONS):
            found += _function(node)
        elif isinstance(node, ast.ClassDef):
            found += _class(node)
    return sorted(found)


def _module(source: str, limit: int) -> Iterator[Finding]:
    lines = len(source.splitlines())
    if lines > limit:
        yield Finding(limit + 1, f"the module has {lines} lines, the limit is {limit}: split it by subject")


def _function(node: Function) -> Iterator[Finding]:
    lines = _function_lines(node)
    if lines > FUNCTION_LINES:
        yield Finding(
            node.lineno,
            f"{node.name} has {lines} lines without its docstring, the limit is {FUNCTION_LINES}: "
            "move a step into a function of its own",
        )
    if deepest := _too_deep(node.body, 0):
        yield Finding(
            deepest, f"{node.name} nests deeper than {NESTING} blocks: return early, or move the inner block out"
        )
    parameters = _parameters(node)
    if parameters > PARAMETERS:
        yield Finding(
            node.lineno, f"{node.name} has {parameters} parameters, the limit is {PARAMETERS}: make an options class"
        )


def _class(node: ast.ClassDef) -> Iterator[Finding]:
    methods = {item.name for item in node.body if isinstance(item, _FUNCTIONS) and not item.name.startswith("_")}
    if len(methods) > PUBLIC_METHODS:
        yield Finding(
            node.lineno,
            f"{node.name} has {len(methods)} public methods, the limit is {PUBLIC_METHODS}: "
            "it has more than one subject, divide it",
        )


def _function_lines(node: Function) -> int:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if ast.get_docstring(node, clean=False) is None:
        return lines
    docstring = node.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def _parameters(node: Function) -> int:
    arguments = node.args
    named = [*arguments.posonlyargs, *arguments.args]
    if named and named[0].arg in {"self", "cls"}:
        del named[0]
    return len(named) + len(arguments.kwonlyargs) + (arguments.vararg is not None) + (arguments.kwarg is not None)


def _too_deep(body: list[ast.stmt], depth: int) -> int:
    """Return the line of the first block deeper than the limit, 0 when there is none."""
    for statement in body:
        if not isinstance(statement, _BLOCKS):
            continue
        if depth == NESTING:
            return statement.lineno
        for inner, step in _inner_bodies(statement):
            if line := _too_deep(inner, depth + step):
                return line
    return 0


def _inner_bodies(block: ast.stmt) -> Iterator[tuple[list[ast.stmt], int]]:
    """Return each body of a block with how much deeper it is: 1, but 0 for an ``elif``."""
    for name in ("body", "orelse", "finalbody"):
        inner = getattr(block, name, [])
        yield inner, 0 if name == "orelse" and _is_elif(block, inner) else 1
    for part in [*getattr(block, "handlers", []), *getattr(block, "cases", [])]:
        yield part.body, 1


def _is_elif(block: ast.stmt, orelse: list[ast.stmt]) -> bool:
    # The tree is the same for `elif` and for `else:` with an `if` in it; only the column tells them apart.
    return (
        isinstance(block, ast.If)
        and len(orelse) == 1
        and isinstance(orelse[0], ast.If)
        and orelse[0].col_offset == block.col_offset
    )


def main(root: Path) -> int:
    """Check every module of the package; the number returned is the exit code."""
    modules = sorted((root / "src" / "holdfast").rglob("*.py"))
    failed = False
    for path in modules:
        contract = path.name == "contract.py"
        for line, text in findings(path.read_text(encoding="utf-8"), contract=contract):
            print(f"{path.relative_to(root)}:{line}: {text}")
            failed = True
    if not failed:
        print(f"Sizes: {len(modules)} modules within their limits.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
