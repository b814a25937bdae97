"""``torch/varlen``: ``torch.nn.attention.varlen.varlen_attn``, FlashAttention over sequences of their own lengths.

Sequences stand one behind the other, without padding. Where each begins is settled once, when the arrays are bound, as
a batch comes with its lengths, and again where lengths were written to since. Taking the tokens of q, k and v out of
(B, H, T, D), and putting the output's back, is part of each call. Legend of the shapes in ``attnbench.attention.spec``.

The kernel is for a GPU, and nothing here has run on one yet (``docs/gpu.md``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from attnbench.api import Capabilities, Limit, UnsupportedError, implementation
from attnbench.impls.torch_backend.allowed import sees_the_end
from attnbench.impls.torch_backend.sdpa import GPU_PRECISION, HALF, positively_scaled

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Float, Int

    from attnbench.api import Call

NO_MASK = "varlen_attn takes lengths and a window, and no mask"
NOT_ADDED = "varlen_attn computes the logits inside, and adds nothing"
OWN_ENDS = "its kernel has the last query of each sequence stand at the last key"
WIDE = "its kernels have head sizes up to 256"
MULTIPLE = 8  # the kernel takes head sizes that are multiples of it

CAN = Capabilities(
    dtypes=HALF,
    devices=("cuda",),
    causal=True,
    gqa=True,
    window=True,
    lengths=True,
    batch_offset=True,
    gradients=True,
    alignments=("bottom_right",),
    precision=GPU_PRECISION,
    limits=(Limit("D", WIDE, at_most=256), Limit("Dv", WIDE, at_most=256)),
    lacks={
        **dict.fromkeys(("float64", "float32"), "its kernels take 16-bit inputs"),
        **dict.fromkeys(("bias", "slopes", "softcap", "sinks"), NOT_ADDED),
        **dict.fromkeys(("top_left", "offset"), OWN_ENDS),
        "cpu": "PyTorch has its kernel for CUDA alone",
        "mask": NO_MASK,
        "segments": f"{NO_MASK}; sequences that stand in one row are given as batch entries with lengths",
        "dropout": "varlen_attn has none",
        "stages": "varlen_attn returns the output and the lse only",
        "lse": "its backward pass takes no gradient of the lse",
        "head_scale": "it would have to be multiplied into q, which rounds q once more",
        "log_n": "it would have to be multiplied into q, which rounds q once more",
        "nan_isolation": "0 · NaN is NaN in its products",
    },
)


@dataclass(frozen=True)
class Tokens:
    """The tokens that are packed, by their places in B · T; where each sequence ends; the longest."""

    places: Int[Tensor, " tokens"] | None
    ends: Int[Tensor, " sequences+1"]
    longest: int

    @classmethod
    def between(cls, spans: list[tuple[int, int, int]], batch: int, length: int, device: torch.device) -> Tokens:
        """Of spans (batch entry, first token, behind the last), in this order; ``places`` is ``None`` if all are."""
        counts = [stop - start for _, start, stop in spans]
        ends = torch.tensor([0, *counts], device=device).cumsum(0).to(torch.int32)
        whole = sum(counts) == batch * length
        ranges = [torch.arange(b * length + start, b * length + stop, device=device) for b, start, stop in spans]
        places = None if whole else torch.cat([torch.arange(0, device=device), *ranges])
        return cls(places, ends, max(counts, default=0))

    def taken(self, x: Float[Tensor, "B H T D"], width: int) -> Float[Tensor, "tokens H width"]:
        """The tokens one behind the other, as the kernel wants them."""
        rows = x.transpose(1, 2).flatten(0, 1)
        return padded_rows(rows if self.places is None else rows.index_select(0, self.places), width)

    def put_back(self, rows: Float[Tensor, "tokens H Dv"], batch: int, length: int) -> Float[Tensor, "B H T Dv"]:
        """The same in (B, H, T, Dv), with zeros for the tokens that were not taken."""
        if self.places is not None:
            rows = rows.new_zeros(batch * length, *rows.shape[1:]).index_copy(0, self.places, rows)
        unpacked: Tensor = rows.unflatten(0, (batch, length))
        return unpacked.transpose(1, 2)


def padded_rows(rows: Float[Tensor, "tokens H n"], width: int) -> Float[Tensor, "tokens H width"]:
    """With zeros up to a head size of ``width``, and side by side."""
    return (rows if rows.shape[2] == width else pad(rows, (0, width - rows.shape[2]))).contiguous()


def window_of(call: Call) -> tuple[int | None, int | None]:
    """How far a query sees to the left and to the right; ``None`` is without end."""
    left, right = call.spec.window or (None, None)
    if call.spec.causal and not sees_the_end(call):
        right = 0 if right is None else min(right, 0)
    return left, right


def numbers(lengths: Int[Tensor, " B"] | None, whole: int, batch: int) -> list[int]:
    """Lengths as Python's numbers, which waits for the device."""
    return [whole] * batch if lengths is None else [int(n) for n in lengths.tolist()]


class PackedCall:
    """One call's sequences, found: ``attend(q, k, v, call)`` without looking at lengths again."""

    def __init__(self, call: Call, device: torch.device) -> None:
        # Importing it imports Triton, as a compiler: so not before it is called.
        from torch.nn.attention.varlen import varlen_attn

        sizes, self._attend = call.sizes, varlen_attn
        self._window = window_of(call)
        queries = numbers(call.q_lengths, sizes.Tq, sizes.B)
        keys = numbers(call.kv_lengths, sizes.S, sizes.B)
        refuse_other_positions(call, self._window, queries, keys)
        right = self._window[1]
        # Without a key a sequence is zeros, and so are queries that stand too far before the first key.
        dead = [0 if right is None else max(0, q - k - right) for q, k in zip(queries, keys, strict=True)]
        live = [b for b in range(sizes.B) if keys[b] and queries[b] > dead[b]]
        self._queries = Tokens.between([(b, dead[b], queries[b]) for b in live], sizes.B, sizes.Tq, device)
        self._keys = Tokens.between([(b, 0, keys[b]) for b in live], sizes.B, sizes.S, device)
        self._written = written(call)

    def is_of(self, call: Call) -> bool:
        """Whether the lengths are what they were."""
        return self._written == written(call)

    def __call__(
        self, q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
    ) -> Float[Tensor, "B Hq Tq Dv"]:
        """Pack, attend, unpack."""
        sizes = call.sizes
        width = -(-max(sizes.D, sizes.Dv) // MULTIPLE) * MULTIPLE
        q, scale = positively_scaled(q, call.scale)
        queries = self._queries.taken(q, width)
        keys, values = (self._keys.taken(x, width) for x in (k, v))
        left, right = self._window
        # A window to the right as long as the longest sequence of keys is none to the kernel, which is wrong where
        # there are more queries than keys. So it is told of as many keys as queries.
        longest = max(self._keys.longest, self._queries.longest) if right else self._keys.longest
        output: Any = queries
        if self._queries.longest:
            output = self._attend(
                queries,
                keys,
                values,
                self._queries.ends,
                self._keys.ends,
                self._queries.longest,
                longest,
                scale=scale,
                window_size=(-1 if left is None else left, -1 if right is None else right),
                enable_gqa=sizes.group > 1,
            )
        return self._queries.put_back(output[..., : sizes.Dv], sizes.B, sizes.Tq)


def refuse_other_positions(
    call: Call, window: tuple[int | None, int | None], queries: list[int], keys: list[int]
) -> None:
    """Raise ``UnsupportedError`` where positions matter and a sequence's last query is not at its last key."""
    if window == (None, None):
        return
    offsets = numbers(None if isinstance(call.offset, int) else call.offset, call.offset, call.sizes.B)
    for b, offset in enumerate(offsets):
        if queries[b] and keys[b] and offset != keys[b] - queries[b]:
            msg = (
                f"batch entry {b} has {queries[b]} queries and {keys[b]} keys at offset {offset}, and {OWN_ENDS} (an "
                f'offset of {keys[b] - queries[b]}): give align="bottom_right", or lengths that agree with the offset'
            )
            raise UnsupportedError(msg)


def written(call: Call) -> tuple[int, ...]:
    """How often lengths and offsets were written to, as PyTorch counts it."""
    arrays = (call.q_lengths, call.kv_lengths, call.offset)
    return tuple(array._version for array in arrays if isinstance(array, Tensor))  # noqa: SLF001  (nothing public)


class VarlenAttention:
    """``attend``; what is bound to a call (``prepared``) finds its sequences once."""

    __name__ = "varlen"

    def __call__(
        self, q: Float[Tensor, "B Hq Tq D"], k: Float[Tensor, "B Hkv S D"], v: Float[Tensor, "B Hkv S Dv"], call: Call
    ) -> Float[Tensor, "B Hq Tq Dv"]:
        """Find the sequences and attend."""
        return PackedCall(call, q.device)(q, k, v, call)

    def prepared(self, call: Call, device: torch.device) -> Callable[[Tensor, Tensor, Tensor, Call], Tensor]:
        """The same for calls with the lengths of this one; others are found again."""
        packed = PackedCall(call, device)

        def attend(q: Tensor, k: Tensor, v: Tensor, call: Call) -> Tensor:
            nonlocal packed
            if not packed.is_of(call):
                packed = PackedCall(call, q.device)
            return packed(q, k, v, call)

        return attend


varlen = implementation("torch/varlen", CAN)(VarlenAttention())
