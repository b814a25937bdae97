"""Data types and precision: names, unit roundoffs and what an implementation declares of its arithmetic.

Feature 24 of the spec. float64, float32, TF32, bfloat16 and float16 are different levels; TF32 is never silent.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from attnbench.errors import SpecError, not_one_of
from attnbench.keywords import explained
from attnbench.versions import parse_all

if TYPE_CHECKING:
    import numpy as np

DTYPES = ("float64", "float32", "bfloat16", "float16")
LEVELS = (*DTYPES, "tf32")

# In unit roundoffs. A declaration widens the bound; without a limit it could make the check pass anything.
MOST_ULP = 64.0

# Unit roundoff u (half the spacing of 1.0) of each level.
UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "tf32": 2.0**-11, "float16": 2.0**-11, "bfloat16": 2.0**-8}
SMALLEST_NORMAL = {
    "float64": 2.0**-1022,
    "float32": 2.0**-126,
    "tf32": 2.0**-126,
    "float16": 2.0**-14,
    "bfloat16": 2.0**-126,
}
SMALLEST_SUBNORMAL = {
    "float64": 2.0**-1074,
    "float32": 2.0**-149,
    "tf32": 2.0**-136,
    "float16": 2.0**-24,
    "bfloat16": 2.0**-133,
}
LARGEST = {
    "float64": sys.float_info.max,
    "float32": (2 - 2.0**-23) * 2.0**127,
    "tf32": (2 - 2.0**-23) * 2.0**127,
    "float16": 65504.0,
    "bfloat16": 3.3895313892515355e38,
}


def numpy_dtype(name: str) -> np.dtype[Any]:
    """The NumPy dtype of a name; bfloat16 comes from ``ml_dtypes``."""
    import numpy as np

    if name == "bfloat16":
        import ml_dtypes

        bfloat16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return bfloat16
    if name not in DTYPES:
        raise SpecError(not_one_of("dtype", name, DTYPES))
    return np.dtype(name)


def dtype_name(dtype: Any) -> str:
    """The spec's name of a NumPy dtype; ``SpecError`` if attention is not defined in it."""
    import numpy as np

    name: str = np.dtype(dtype).name
    if name not in DTYPES:
        msg = f"attention is defined for {', '.join(DTYPES)}; got dtype {name}"
        raise SpecError(msg)
    return name


def wide(name: str) -> str:
    """The dtype in which ``lse`` and stages are returned: float64 for float64 inputs, else float32."""
    return "float64" if name == "float64" else "float32"


@explained
@dataclass(frozen=True)
class Precision:
    """What an implementation declares of its arithmetic, for inputs of one dtype. Each field is one of ``LEVELS``.

    ``accumulate`` QK and PV sums; ``logits`` the format in which the logits are stored between two passes, ``None``
    if they stay in the accumulator; ``softmax`` the exponentials and their sum; ``p_cast`` the format to which P is
    rounded before PV, ``None`` if it is not. ``chain`` is the longest chain of any sum (over keys, and over D, Dv and
    query rows), ``None`` for all terms. ``exp_ulp`` and ``tanh_ulp`` are the relative errors of these functions in
    unit roundoffs u (a unit in the last place is 1 to 2 u), ``flush`` says that subnormals become zero.
    ``stored_output`` is the format of the O that a backward pass reads again (``None``: not read). ``stored_sums``: so
    many terms of the gradient of q, k or v (keys, or query rows) are added before the sum is stored in the dtype of
    its operand and read again; ``None`` where it is stored once.

    ``seen`` is the range of versions that this was seen with, such as ``jax>=0.9,<0.13`` (of several packages:
    ``keras>=3.15,<3.16; jax>=0.10,<0.11``); empty: it holds for all, as where a kernel says each step itself. With
    other versions the arithmetic is probed (``agree.judge.arithmetic``).
    """

    accumulate: str = "float32"
    logits: str | None = None
    softmax: str = "float32"
    p_cast: str | None = None
    chain: int | None = None
    exp_ulp: float = 1.0
    tanh_ulp: float = 2.0
    flush: bool = False
    stored_output: str | None = None
    stored_sums: int | None = None
    seen: str = ""

    def __post_init__(self) -> None:
        for name in (self.accumulate, self.logits, self.softmax, self.p_cast, self.stored_output):
            if name is not None and name not in LEVELS:
                raise SpecError(not_one_of("precision", name, LEVELS))
        for name in ("exp_ulp", "tanh_ulp"):
            if not 0 < (error := getattr(self, name)) <= MOST_ULP:
                most = f"above 0 and at most {MOST_ULP:g} unit roundoffs"
                msg = f"{name} is the error of that function, {most}; got {error!r}"
                raise SpecError(msg)
        if self.chain is not None and self.chain < 1:
            msg = f"chain is the longest chain of any sum, at least 1, or None for all terms; got {self.chain!r}"
            raise SpecError(msg)
        if self.stored_sums is not None and self.stored_sums < 1:
            msg = "stored_sums is how many terms are added before a sum is stored, at least 1, or None if it is stored"
            raise SpecError(f"{msg} once; got {self.stored_sums!r}")
        if self.seen:
            parse_all(self.seen)

    def beyond(self, other: Precision) -> dict[str, Any]:
        """What is declared otherwise than in ``other``, by field; with which versions it was seen is no arithmetic."""
        return {name: got for name in ARITHMETIC if (got := getattr(self, name)) != getattr(other, name)}

    def beyond_default(self, dtype: str) -> dict[str, Any]:
        """What is declared otherwise than ``default_precision`` has it: by this the bound is another one."""
        return self.beyond(default_precision(dtype))


ARITHMETIC = tuple(f.name for f in fields(Precision) if f.name != "seen")


def default_precision(dtype: str) -> Precision:
    """What is assumed where nothing is declared: float32 throughout for 16 bits, else the input's own dtype."""
    level = wide(dtype)
    return Precision(accumulate=level, softmax=level)
