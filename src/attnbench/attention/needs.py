"""What a call asks of an implementation, as data: features, sizes, and where its queries stand among its keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from attnbench.attention.spec import STAGES, AttentionSpec, Needs

if TYPE_CHECKING:
    from attnbench.attention.call import Call, Sizes

# Ways to draw operands that ask for more than the shapes and dtypes of their arrays show. With these a NaN stands where
# nobody may attend to it, and must have no effect:
ISOLATED = ("nan", "nan_last_key", "nan_cotangent")
# With these a NaN stands where some rows attend to it. Where the call has one of the features in HIDING, other rows may
# not attend to it, and must stay free of it.
SEEN, HIDING = ("nan_query", "nan_key", "nan_value"), ("causal", "window", "mask", "lengths", "segments")
LAYOUT = "layout_"


def needs_of_call(call: Call, device: str = "cpu", *, gradients: bool = False) -> Needs:
    """Features by their names in ``Capabilities``, and those that a restriction excludes."""
    spec = call.spec
    present = {
        "causal": spec.causal,
        "gqa": call.sizes.Hq != call.sizes.Hkv,
        "mask": call.mask is not None,
        "bias": call.bias is not None,
        "window": spec.window is not None,
        "lengths": call.q_lengths is not None or call.kv_lengths is not None,
        "segments": call.q_segments is not None,
        "softcap": spec.softcap is not None,
        "sinks": call.sinks is not None,
        "dropout": call.keep is not None,
        "slopes": call.slopes is not None,
        "head_scale": hasattr(call.scale, "dtype"),
        "log_n": spec.scale == "log_n",
        "batch_offset": hasattr(call.offset, "dtype"),
        "lse": "lse" in call.outputs,
        "stages": any(name in STAGES for name in call.outputs),
        "gradients": gradients,
        "q_lengths": call.q_lengths is not None,
        "own_scale": _own_scale(call),
    }
    features = frozenset(name for name, is_there in present.items() if is_there)
    return Needs(call.dtype, spec.score, features, call.sizes.as_dict(), device, _positions(call))


def with_operands(needs: Needs, operands: Iterable[str]) -> Needs:
    """The same with what the operands of a problem ask for beyond their arrays."""
    kinds = tuple(operands)
    hidden = not needs.features.isdisjoint(HIDING) or "bias_minus_inf" in kinds
    poisons = (*ISOLATED, *SEEN) if hidden else ISOLATED
    isolated = ("nan_isolation",) if set(poisons) & set(kinds) else ()
    strided = ("strided",) if any(kind.startswith(LAYOUT) for kind in kinds) else ()
    return needs.with_features(*isolated, *strided)


def _own_scale(call: Call) -> bool:
    """Whether the scale is one number and another one than the score's default."""
    if hasattr(call.scale, "dtype") or call.spec.scale == "log_n":
        return False
    return bool(call.scale != AttentionSpec(call.spec.score).scale_factor(call.sizes.D))


def _positions(call: Call) -> frozenset[str]:
    """Every name of where the queries stand; by its value an offset can be a corner as well."""
    if not (call.spec.causal or call.spec.window is not None or call.slopes is not None):
        return frozenset()
    corners = _corners(call.offset, call.sizes)
    if call.spec.align == "bottom_right":  # with lengths an offset for each batch entry
        corners.add("bottom_right")
    return frozenset(corners | {"offset"})


def _corners(offset: Any, sizes: Sizes) -> set[str]:
    if hasattr(offset, "dtype"):
        return set()
    places = {"top_left": 0, "bottom_right": sizes.S - sizes.Tq}
    return {name for name, place in places.items() if offset == place}
