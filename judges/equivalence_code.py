"""Two Python programs that differ only in names, comments, annotations, layout or folded constants.

Nothing is run. Programs with equal normal forms do the same; for others nothing is known, because two programs can
do the same in different ways.
"""

from __future__ import annotations

import ast
import re
from fractions import Fraction

MAX_CODE = 20_000
MAX_BITS = 4096  # constants beyond this are left unfolded

_FENCE = re.compile(r"^```[\w+-]*\n(.*?)\n?```\s*$", re.DOTALL)
_LOOKS_LIKE_CODE = re.compile(
    r"^\s*(?:def |class |for .+:|while .+:|if .+:|import |from \S+ import |return\b|print\()"
    r"|\blambda\b.*:|[\w\]\)] [-+*/]?= .*\n",
    re.MULTILINE,
)
_FOLDABLE = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%"}


def strip_fence(text: str) -> str:
    """The code inside one Markdown fence, or the text itself."""
    match = _FENCE.match(text.strip())
    return match.group(1) if match else text


def looks_like_code(text: str) -> bool:
    """True for text with the shape of a program; ``x = 5`` alone is an equation."""
    return len(text) <= MAX_CODE and bool(_LOOKS_LIKE_CODE.search(strip_fence(text)))


def normal_form(code: str) -> str | None:
    """A text that is equal for programs that differ in nothing that matters; None for text that is no Python."""
    code = strip_fence(code)
    if len(code) > MAX_CODE:
        return None
    try:
        tree = ast.parse(code)
        return ast.dump(_Normaliser().visit(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


class _Normaliser(ast.NodeTransformer):
    """Drops docstrings and annotations, renames parameters and locals in order of appearance, folds constants."""

    def __init__(self) -> None:
        self._scopes: list[dict[str, str]] = []
        self._names = 0

    # -- names -------------------------------------------------------------------------------------------------------

    def _enter(self, node: ast.AST, arguments: ast.arguments | None) -> dict[str, str]:
        names: dict[str, str] = {}
        free = {n for child in ast.walk(node) if isinstance(child, (ast.Global, ast.Nonlocal)) for n in child.names}
        bound: list[str] = []
        if arguments is not None:
            every = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
            bound += [argument.arg for argument in every if argument is not None]
        for child in ast.walk(node):
            if isinstance(child, ast.Name) and isinstance(child.ctx, ast.Store):
                bound.append(child.id)
        for name in bound:
            if name not in names and name not in free:
                names[name] = f"v{self._names}"
                self._names += 1
        return names

    def _renamed(self, name: str) -> str:
        return next((scope[name] for scope in reversed(self._scopes) if name in scope), name)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self._renamed(node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self._renamed(node.arg), None)

    def _scoped(self, node: ast.AST, arguments: ast.arguments | None) -> ast.AST:
        self._scopes.append(self._enter(node, arguments))
        try:
            return self.generic_visit(node)
        finally:
            self._scopes.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        node.body = _without_docstring(node.body)
        return self._scoped(node, node.args)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        node.body = _without_docstring(node.body)
        return self._scoped(node, node.args)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        return self._scoped(node, node.args)

    def visit_ListComp(self, node: ast.ListComp) -> ast.AST:
        return self._scoped(node, None)

    visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_ListComp  # type: ignore[assignment]

    # -- text that does not matter -----------------------------------------------------------------------------------

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        node.body = _without_docstring(node.body)
        return self.generic_visit(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        node.body = _without_docstring(node.body)
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return ast.Pass()
        return self.visit(ast.Assign([node.target], node.value))

    # -- constants ---------------------------------------------------------------------------------------------------

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        folded = _fold(node)
        return node if folded is None else ast.Constant(folded)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant) and _number(node.operand.value):
            return ast.Constant(-node.operand.value)  # type: ignore[operator]
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return ast.Constant(node.value)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0] if body else None
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        return body[1:] or [ast.Pass()]
    return body


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _fold(node: ast.BinOp) -> int | float | None:
    """The value of an operation on two whole numbers, computed exactly; None for anything else."""
    operator = _FOLDABLE.get(type(node.op))
    if operator is None or not (isinstance(node.left, ast.Constant) and isinstance(node.right, ast.Constant)):
        return None
    left, right = node.left.value, node.right.value
    if not (type(left) is int and type(right) is int) or left.bit_length() + right.bit_length() > MAX_BITS:
        return None
    if operator in ("/", "//", "%"):
        if right == 0:
            return None
        return float(Fraction(left, right)) if operator == "/" else left // right if operator == "//" else left % right
    return left + right if operator == "+" else left - right if operator == "-" else left * right
