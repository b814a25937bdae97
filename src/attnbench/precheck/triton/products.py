"""Matrix products of a compiled kernel, one by one: which of them are done without tensor cores.

``tl.dot`` is an operation of Triton's own language between Python and machine code, which it prints twice: as it was
written (TTIR), and as it is laid out over the threads of a block (TTGIR). There a product on tensor cores has a layout
of their kind, or is another operation altogether; one whose layout is ``#ttg.blocked`` is made of plain
multiply-adds. The two are matched by the lines of Python that they come from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

NARROW = ("f16", "bf16", "f8")
DOT = re.compile(
    r"tt\.dot(?:_scaled)? (%[\w#]+), (%[\w#]+)(.*?) : tensor<[\dx]*x(\w+)[^*]*\* tensor<.*?(?:loc\((#\w+)\))?$",
    re.MULTILINE,
)
CARRIED = re.compile(r"(%[\w#]+) = (?:tt\.trans|tt\.reshape|ttg\.convert_layout|tt\.broadcast) (%[\w#]+)")
WIDENED = re.compile(r"(%[\w#]+) = arith\.extf (%[\w#]+) .*?: tensor<[\dx]*x(\w+)")
PLAIN_LAYOUT = re.compile(r"^(#\w+) = #ttg\.blocked<", re.MULTILINE)
LAID_OUT = re.compile(
    r"tt\.dot %.*? : tensor<[\dx]*x(\w+), #ttg\.dot_op<\{[^}]*parent = (#\w+).*?(?:loc\((#\w+)\))?$", re.MULTILINE
)
NAMED = re.compile(r"^(#loc\w*) = loc\((.*)\)$", re.MULTILINE)
PLACE = re.compile(r'(#loc\w*)|("[^"]*":\d+:\d+)')
TF32 = "TF32"
WIDENS = "it widens 16-bit matrices to float32 before it multiplies them, and so has no tensor cores there"
WIDENS_TO_TF32 = "it widens 16-bit matrices to float32 before it multiplies them: TF32 has half their rate, or less"
LINES = 2  # of Python, that a fault names


@dataclass(frozen=True)
class Product:
    """One product: the dtype that it multiplies in, how exactly, whether both factors were 16 bits wide, and where.

    ``places`` are lines of Python, the innermost first.
    """

    dtype: str
    exact: bool
    widened: bool
    places: tuple[str, ...] = ()

    @property
    def wants_tensor_cores(self) -> str | None:
        """In what it is expected to be done there; nothing of exact products of float32."""
        if self.dtype.startswith(NARROW):
            return self.dtype
        return TF32 if self.dtype == "f32" and not self.exact else None


def products(ttir: str) -> list[Product]:
    """The products as they were written."""
    carried = dict(CARRIED.findall(ttir))
    widened = {name for name, _, dtype in WIDENED.findall(ttir) if dtype.startswith(NARROW)}
    named = dict(NAMED.findall(ttir))

    def narrow(name: str) -> bool:
        while name in carried:
            name = carried[name]
        return name in widened

    return [
        Product(
            dtype, "tf32" not in rest and "bf16x" not in rest, narrow(left) and narrow(right), _places(named, location)
        )
        for left, right, rest, dtype, location in DOT.findall(ttir)
    ]


def without_tensor_cores(ttir: str, ttgir: str, instructions: Sequence[str]) -> list[str]:
    """Where tensor cores were to be expected and are not used; ``instructions`` of theirs are those of the PTX."""
    written = products(ttir)
    if widened := [product for product in written if product.widened]:
        return [WIDENS if any(product.exact for product in widened) else WIDENS_TO_TF32]
    expected = [product for product in written if product.wants_tensor_cores]
    plain, places = _plain(ttgir)
    left = [product for product in expected if not instructions or (product.places and product.places in places)]
    kinds = sorted({*(str(product.wants_tensor_cores) for product in left), *plain})
    if not kinds:
        return []
    where = list(dict.fromkeys(product.places[0] for product in left if product.places))
    lines = f" ({', '.join(where[:LINES])})" if where and instructions else ""
    return [f"it multiplies matrices of {', '.join(kinds)} without tensor cores{lines}"]


def _plain(ttgir: str) -> tuple[set[str], set[tuple[str, ...]]]:
    """Of the products made of plain multiply-adds the narrow dtypes, and the lines of Python that they come from."""
    layouts, named = set(PLAIN_LAYOUT.findall(ttgir)), dict(NAMED.findall(ttgir))
    dtypes, places = set(), set()
    for dtype, layout, location in LAID_OUT.findall(ttgir):
        if layout in layouts:
            places.add(_places(named, location))
            dtypes |= {dtype} if dtype.startswith(NARROW) else set()
    return dtypes, places


def _places(named: dict[str, str], location: str) -> tuple[str, ...]:
    """The lines of Python behind a location, which may be one of another: ``file.py:12:8``."""
    lines: list[str] = []
    for name, place in PLACE.findall(named.get(location, "")):
        lines += _places(named, name) if name else [place.rpartition("/")[2].replace('"', "")]
    return tuple(lines)
