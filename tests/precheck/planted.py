"""A small flash kernel in Triton as somebody brings it in a file, and the same with a fault planted into it."""

from dataclasses import dataclass
from pathlib import Path

NAME = "torch/planted"

GOOD = """
import torch
import triton
import triton.language as tl

from attnbench.api import AttentionOutput, Capabilities, Precision, implementation


@triton.jit
def forward(Q, K, V, Out, Lse, scale, Hq, group, T, S, offset, sqh, sqt, skh, skt, svh, svt, soh, sot,
            CAUSAL: tl.constexpr, D: tl.constexpr, BD: tl.constexpr, DV: tl.constexpr, BV: tl.constexpr,
            M: tl.constexpr, N: tl.constexpr):
    rows = tl.program_id(0) * M + tl.arange(0, M)
    bh = tl.program_id(1)
    kv = (bh // Hq) * (Hq // group) + (bh % Hq) // group
    bh, kv = bh.to(tl.int64), kv.to(tl.int64)
    d, e = tl.arange(0, BD), tl.arange(0, BV)
    q = tl.load(Q + bh * sqh + rows[:, None] * sqt + d[None, :], mask=(rows[:, None] < T) & (d[None, :] < D), other=0.0)
    top = tl.full((M,), float("-inf"), tl.float32)
    total = tl.zeros((M,), tl.float32)
    acc = tl.zeros((M, BV), tl.float32)
    for start in range(0, S, N):
        cols = start + tl.arange(0, N)
        k = tl.load(K + kv * skh + cols[None, :] * skt + d[:, None],
                    mask=(cols[None, :] < S) & (d[:, None] < D), other=0.0)
        s = tl.dot(q, k, input_precision="ieee") * scale
        keep = cols[None, :] < S
        if CAUSAL:
            keep = keep & (cols[None, :] <= rows[:, None] + offset)
        s = tl.where(keep, s, float("-inf"))
        new = tl.maximum(top, tl.max(s, 1))
        safe = tl.where(new == float("-inf"), 0.0, new)
        p = tl.exp(s - safe[:, None])
        shrink = tl.exp(top - safe)
        total = total * shrink + tl.sum(p, 1)
        v = tl.load(V + kv * svh + cols[:, None] * svt + e[None, :],
                    mask=(cols[:, None] < S) & (e[None, :] < DV), other=0.0)
        acc = acc * shrink[:, None] + tl.dot(p.to(v.dtype), v, input_precision="ieee")
        top = new
    out = acc / tl.where(total == 0, 1.0, total)[:, None]
    tl.store(Out + bh * soh + rows[:, None] * sot + e[None, :], out.to(Out.dtype.element_ty),
             mask=(rows[:, None] < T) & (e[None, :] < DV))
    tl.store(Lse + bh * T + rows, tl.where(total == 0, float("-inf"), top + tl.log(total)), mask=rows < T)


PRECISION = {name: Precision(p_cast=name) for name in ("float16", "bfloat16")}
CAN = Capabilities(dtypes=("float16", "bfloat16", "float32"), devices=("cuda",), causal=True, gqa=True, lse=True,
                   precision=PRECISION)


@implementation("torch/planted", CAN)
def attend(q, k, v, call):
    q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
    (B, Hq, T, D), Hkv, (S, DV) = q.shape, k.shape[1], v.shape[2:]
    out = torch.empty((B, Hq, T, DV), dtype=q.dtype, device=q.device)
    lse = torch.empty((B, Hq, T), dtype=torch.float32, device=q.device)
    M, N, num_stages = (32 if q.dtype == torch.float32 else 64), 32, 2
    num_warps = 4 if max(D, DV) <= 64 else 8
    forward[(triton.cdiv(T, M), B * Hq)](
        q, k, v, out, lse, call.scale, Hq, Hq // Hkv, T, S, call.offset, q.stride(1), q.stride(2),
        k.stride(1), k.stride(2), v.stride(1), v.stride(2), out.stride(1), out.stride(2),
        CAUSAL=call.spec.causal, D=D, BD=max(16, triton.next_power_of_2(D)),
        DV=DV, BV=max(16, triton.next_power_of_2(DV)), M=M, N=N, num_warps=num_warps, num_stages=num_stages,
    )
    return AttentionOutput(out, lse=lse if call.wants("lse") else None)
"""


@dataclass(frozen=True)
class Planted:
    """A fault: what is replaced by what, the case that shows it, and words by which it is named."""

    before: str
    after: str
    named: tuple[str, ...]
    case: str = ""

    def text(self) -> str:
        """The file with the fault."""
        assert GOOD.count(self.before) == 1, self.before
        return GOOD.replace(self.before, self.after)


SQUARE = "B=2 Hq=2 Tq=40 S=70 D=16 dtype=float16"
CAUSAL = f"causal align=bottom_right {SQUARE}"
GQA = "B=2 Hq=4 Hkv=2 Tq=40 S=70 D=16 dtype=float16"
STORE = "tl.store(Lse"
# In the interpreter.
NUMBERS = {
    "a mask that is one key too narrow": Planted(
        "<= rows[:, None] + offset", "< rows[:, None] + offset", ("output",), CAUSAL
    ),
    "the wrong head of a group": Planted("(bh % Hq) // group", "(bh % Hq) % (Hq // group)", ("output",), GQA),
    "a sum that forgets a tile": Planted("total * shrink + tl.sum", "total + tl.sum", ("output",), SQUARE),
    "an lse of another base": Planted("tl.log(total)", "tl.log2(total)", ("lse",), f"{SQUARE} outputs=lse"),
}
MEMORY = {
    "a load that reads one key too many": Planted(
        "mask=(cols[None, :] < S) & (d[:, None] < D)",
        "mask=(cols[None, :] <= S) & (d[:, None] < D)",
        ("out of bounds read", "reads K", "behind its last one"),
        SQUARE,
    ),
    "a load that has no mask for the last tile": Planted(
        "mask=(cols[:, None] < S) & (e[None, :] < DV)",
        "mask=e[None, :] < DV",
        ("out of bounds read", "reads V"),
        SQUARE,
    ),
    "a load before the tensor": Planted(
        "K + kv * skh + cols[None, :] * skt", "K + kv * skh + (cols[None, :] - 1) * skt", ("before its first",), SQUARE
    ),
    "a store that has no mask for the last tile": Planted(
        "mask=(rows[:, None] < T) & (e[None, :] < DV))\n    tl",
        "mask=e[None, :] < DV)\n    tl",
        ("writes Out",),
        SQUARE,
    ),
    "two programs on one output tile": Planted(
        "Out + bh * soh", "Out + (bh // 2) * soh", ("race", "Out of shape"), SQUARE
    ),
    "tiles that overlap": Planted(
        "rows = tl.program_id(0) * M",
        "rows = tl.program_id(0) * (M // 2)",
        ("race", "Out of shape"),
        "Tq=100 D=16 dtype=float16",
    ),
    "strides in the wrong order": Planted("sqh, sqt, skh", "sqt, sqh, skh", ("out of bounds", "reads Q"), SQUARE),
    "an accumulator that nobody set": Planted(
        "    out = acc /",
        "    acc += tl.load(Out + bh * soh + rows[:, None] * sot + e[None, :],\n"
        "                   mask=(rows[:, None] < T) & (e[None, :] < DV), other=0.0)\n    out = acc /",
        ("uninitialised", "reads Out", "nobody wrote"),
        SQUARE,
    ),
    "atomic sums into memory that nobody set": Planted(
        "    tl.store(Lse + bh * T + rows, tl",
        "    tl.atomic_add(Lse + bh * T + rows, tl",
        ("uninitialised", "Lse"),
        SQUARE,
    ),
    "a neighbour's result that is read": Planted(
        "    tl.store(Lse",
        "    near = tl.load(Lse + (bh ^ 1) * T + rows, mask=rows < T, other=0.0)\n"
        "    total += tl.where(near == near, 0.0, 0.0)\n    tl.store(Lse",
        ("race", "Lse of shape"),
        SQUARE,
    ),
    "a store of two values to one place": Planted(
        "Lse + bh * T + rows", "Lse + bh * T + rows // 2", ("race", "two values at once"), SQUARE
    ),
    "an input that is written to": Planted(
        "    tl.store(Lse",
        "    tl.store(V + kv * svh + e, 0.0 * e, mask=e < DV)\n    tl.store(Lse",
        ("wrote to its input v",),
        SQUARE,
    ),
    "a tensor that is reached from another one": Planted("K + kv * skh", "Q + kv * skh", ("reads Q",), SQUARE),
}
OVERFLOW = Planted("    bh, kv = bh.to(tl.int64), kv.to(tl.int64)\n", "", ("reads Q", "32 bits overflows"))
# As machine code.
MACHINE = {
    "more registers than it may have": Planted(
        "num_stages=num_stages,", "num_stages=num_stages, maxnreg=72,", ("spills registers",)
    ),
    "more shared memory than there is": Planted(
        "), 32, 2\n", "), 256, 2\n", ("bytes of shared memory", "cannot be launched")
    ),
    "more stages than shared memory has room for": Planted("), 32, 2\n", "), 64, 8\n", ("bytes of shared memory",)),
    "16-bit matrices widened before they are multiplied": Planted(
        "tl.dot(q, k, input", "tl.dot(q.to(tl.float32), k.to(tl.float32), input", ("widens 16-bit matrices",)
    ),
    "a tile that is no power of two": Planted("), 32, 2\n", "), 48, 2\n", ("does not compile", "power of 2")),
}


def write(folder: Path, text: str) -> str:
    """The path of a file with this text."""
    file = folder / f"planted_{len(list(folder.iterdir()))}.py"  # a process reads a file once
    file.write_text(text, "utf-8")
    return str(file)
