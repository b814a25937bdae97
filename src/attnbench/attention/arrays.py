"""The type of an array, for every file that computes with NumPy, and how a signature says its shape.

``q: Float[Array, "B Hq Tq D"]`` is an array of floats with these axes; the letters are those of docs/spec.md. Within
one signature a letter is one number: k with "B Hkv S D" has as many columns as q. ``#B`` is B or 1, and ``...`` stands
for any axes. A single axis has a space before its name, ``" Hq"``: without it linters take the name for that of a type.

``Float`` goes by the name of a dtype and so takes bfloat16 (of ``ml_dtypes``), which for NumPy is no float; ``Shaped``
takes every dtype, and stands where an array is handed on whatever it holds.

The names come from jaxtyping, which is imported for type checkers alone: importing it takes about as long as NumPy.
tests/impls/test_signatures.py holds what is passed to what is written here; a call of attention checks nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]
