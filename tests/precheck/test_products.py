"""Matrix products one by one: one on tensor cores says nothing of another one."""

import pytest

from attnbench.precheck.triton.products import WIDENS, WIDENS_TO_TF32, products, without_tensor_cores

# What Triton 3.9 prints of two products, cut down to what counts: they stand in a function, which a kernel calls.
WRITTEN = """
#loc1 = loc("/home/me/mine.py":20:9)
#loc2 = loc("/home/me/mine.py":31:13)
#loc3 = loc("/home/me/mine.py":44:5)
    %s = tt.dot %q, %k, %zero : tensor<64x64xf16> * tensor<64x32xf16> -> tensor<64x32xf32> loc(#loc8)
    %o = tt.dot %p, %v, %acc, inputPrecision = tf32 : FACTORS -> tensor<64x64xf32> loc(#loc9)
#loc7 = loc("scores"(#loc1))
#loc8 = loc(callsite(#loc7 at #loc3))
#loc9 = loc(callsite(#loc2 at #loc3))
"""
LAID_OUT = """
#blocked = #ttg.blocked<{sizePerThread = [4, 4], threadsPerWarp = [2, 16], warpsPerCTA = [4, 1], order = [1, 0]}>
#mma = #ttg.nvidia_mma<{versionMajor = 2, versionMinor = 0, warpsPerCTA = [4, 1], instrShape = [16, 8]}>
#loc10 = loc("/home/me/mine.py":20:9)
#loc20 = loc("/home/me/mine.py":31:13)
#loc30 = loc("/home/me/mine.py":44:5)
    %s = tt.dot %q, %k, %zero : FIRST -> tensor<64x32xf32, #mma> loc(#loc80)
    %o = tt.dot %p, %v, %acc : SECOND -> tensor<64x64xf32, #LAYOUT> loc(#loc90)
#loc80 = loc(callsite(#loc70 at #loc30))
#loc70 = loc("scores"(#loc10))
#loc90 = loc(callsite(#loc20 at #loc30))
"""


def factors(dtype: str, layout: str = "") -> str:
    """The types of two factors."""
    how = [f", #ttg.dot_op<{{opIdx = {index}, parent = #{layout}}}>" if layout else "" for index in (0, 1)]
    return f"tensor<64x32x{dtype}{how[0]}> * tensor<32x64x{dtype}{how[1]}>"


def faults(kind: str, shown: str, layout: str, *, exact: bool = False) -> list[str]:
    """Of two products, the second of this dtype, laid out so, where the PTX has tensor-core instructions."""
    written = WRITTEN.replace("FACTORS", factors(kind))
    written = written.replace(", inputPrecision = tf32", "") if exact else written
    laid_out = LAID_OUT.replace("FIRST", factors("f16", "mma")).replace("SECOND", factors(shown, layout))
    return without_tensor_cores(written, laid_out.replace("LAYOUT", layout), ["mma.sync"])


@pytest.mark.parametrize(
    ("kind", "shown", "layout", "exact", "named"),
    [
        ("f16", "f16", "mma", True, None),
        ("f16", "f16", "blocked", True, "f16"),
        ("bf16", "f32", "blocked", True, "bf16"),  # widened to float32 by the compiler itself
        ("f32", "f32", "blocked", True, None),  # exact products have none, and that is meant
        ("f32", "f32", "blocked", False, "TF32"),
        ("f32", "f32", "mma", False, None),
    ],
)
def test_a_product_on_plain_units_is_named_beside_one_on_tensor_cores(
    kind: str, shown: str, layout: str, *, exact: bool, named: str | None
) -> None:
    said = faults(kind, shown, layout, exact=exact)
    assert said == (
        [f"it multiplies matrices of {named} without tensor cores (mine.py:31:13)"] if named is not None else []
    )


def test_without_any_instruction_of_tensor_cores_all_products_lack_them() -> None:
    written = WRITTEN.replace("FACTORS", factors("f16"))
    assert without_tensor_cores(written, "", []) == ["it multiplies matrices of f16 without tensor cores"]
    assert without_tensor_cores("", "", []) == []
    assert [product.places for product in products(written)] == [
        ("mine.py:20:9", "mine.py:44:5"),
        ("mine.py:31:13", "mine.py:44:5"),
    ]


def test_both_factors_widened_by_the_kernel_itself() -> None:
    widened = "\n".join(f"%{to} = arith.extf %{of} : tensor<64x64xf16> to tensor<64x64xf32>" for of, to in ("ab", "cd"))
    product = "%s = tt.dot %b, %d, %zero : tensor<64x64xf32> * tensor<64x64xf32> -> tensor<64x64xf32>"
    assert without_tensor_cores(f"{widened}\n{product}", "", ["mma.sync"]) == [WIDENS]
    in_tf32 = product.replace("%zero :", "%zero, inputPrecision = tf32x3 :")
    assert without_tensor_cores(f"{widened}\n{in_tf32}", "", ["mma.sync"]) == [WIDENS_TO_TF32]
