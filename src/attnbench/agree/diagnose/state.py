"""Faults of form and state: shape, dtype and layout, earlier results, rows never written, noise."""

from __future__ import annotations

import numpy as np

from attnbench.agree.diagnose.doctor import OTHER_SEEDS, Diagnosis, Doctor, Seen
from attnbench.agree.judge.array import dtype_text
from attnbench.agree.rules.facts import answer, bounds_of, distance, facts_of, within
from attnbench.attention.arrays import Array
from attnbench.attention.precision import numpy_dtype


def of_form(seen: Seen) -> Diagnosis | None:
    """The shape and the dtype of the output."""
    got, right = seen.got, seen.right.output
    shape = getattr(got, "shape", None)
    if shape != right.shape:
        for axes, name in (((0, 2, 1, 3), "(B, T, H, D)"), ((0, 1, 3, 2), "(B, H, D, T)")):
            if shape == right.transpose(axes).shape and _same(got, right.transpose(axes)):
                return Diagnosis("layout", f"the output is laid out as {name} instead of (B, H, T, D)")
        return Diagnosis("shape", f"the output has shape {shape}, not {right.shape}")
    if got.dtype != numpy_dtype(seen.call.dtype):
        return Diagnosis("dtype", f"the output has dtype {dtype_text(got.dtype)}, not {seen.call.dtype}")
    s = seen.call.sizes
    turned = got.reshape(s.B, s.Tq, s.Hq, s.Dv).transpose(0, 2, 1, 3)
    if s.Hq > 1 and s.Tq > 1 and _same(turned, right) and not _same(got, right):
        return Diagnosis("layout", "the output's memory is (B, T, H, D) and was only reshaped to (B, H, T, D)")
    return None


def _same(got: Array, expected: Array) -> bool:
    """Equal for all purposes of layout: within a hundredth."""
    scale = np.sqrt(np.nanmean(expected.astype(np.float64) ** 2))
    return bool(np.isfinite(scale) and distance(got, expected) <= 0.01 * scale * np.sqrt(got.size))


NAMED = {"nan_query": "q", "nan_key": "k", "nan_value": "v"}


def of_nan(doctor: Doctor, seen: Seen) -> Diagnosis | None:
    """What became of a NaN that some rows reach and others do not."""
    name = next((NAMED[kind] for kind in seen.case.problem.operands if kind in NAMED), None)
    values, right = seen.got.astype(np.float64), seen.right.output
    if name is None or np.array_equal(np.isnan(values), np.isnan(right)):
        return None
    reached = np.isnan(right)
    if np.isnan(values).all() and reached.any():
        return Diagnosis("nan", f"a NaN in {name} that some rows reach makes the whole output NaN")
    given = dict(zip("qkv", seen.qkv, strict=True))
    given[name] = np.where(np.isnan(given[name]), 0, given[name]).astype(seen.got.dtype)
    cleaned = answer(facts_of(given["q"], given["k"], given["v"], seen.call))
    if within(seen.got, cleaned.output, bounds_of(cleaned, doctor.units(seen.call))).all():
        return Diagnosis("nan", f"a NaN in {name} is read as 0")
    if reached.any() and np.all((values == 0)[reached]):
        return Diagnosis("nan", f"0 is returned where a NaN in {name} is reached")
    return _of_a_leak(doctor, seen, name, given)


def _of_a_leak(doctor: Doctor, seen: Seen, name: str, cleaned: dict[str, Array]) -> Diagnosis | None:
    """Rows that are NaN because of a NaN that they do not read: without it none is."""
    leaked = np.isnan(seen.got.astype(np.float64)) & ~np.isnan(seen.right.output)
    if not leaked.any():
        return None
    without = doctor.box.forward(cleaned["q"], cleaned["k"], cleaned["v"], seen.call).output
    if np.isnan(without.astype(np.float64)).any():
        return None
    b, h, t = (int(i) for i in np.argwhere(leaked.any(-1))[0])
    count = int(leaked.any(-1).sum())
    rows = "a row that does not read it" if count == 1 else f"{count} rows that do not read it"
    too = " as well" if np.isnan(seen.right.output).any() else ""
    return Diagnosis("nan", f"a NaN in {name} makes {rows} NaN{too}: batch entry {b}, head {h}, query {t}")


def of_state(doctor: Doctor, seen: Seen) -> Diagnosis | None:
    """Whether the answer is that of another call, differs from run to run, or is partly not written."""
    again = doctor.other(seen)
    others = [other for seed in OTHER_SEEDS if (other := doctor.other(seen, seed=seed)) is not None]
    return (
        _earlier_result(others)
        or _unwritten(seen, others)
        or _differing(seen, again)
        or _factor_of_noise(doctor, seen, others)
    )


def _earlier_result(others: list[Seen]) -> Diagnosis | None:
    """The same bits for two other inputs whose right answers differ."""
    if len(others) < len(OTHER_SEEDS):
        return None
    first, second = others
    values = first.got.astype(np.float64)
    alike = first.got.tobytes() == second.got.tobytes() and bool(np.isfinite(values).all())
    if not (alike and np.ptp(values) > 0 and distance(first.right.output, second.right.output) > 0):
        return None
    evidence = "an earlier result is returned: other inputs of this shape give the same bits"
    return Diagnosis("state", evidence, history=True)


def _differing(seen: Seen, again: Seen | None) -> Diagnosis | None:
    """Two runs on the same inputs that differ by a good part of the error."""
    if again is None or seen.got.tobytes() == again.got.tobytes():
        return None
    moved, size = distance(seen.got, again.got), distance(seen.right.output, seen.right.output * 0)
    wrong = distance(seen.got, seen.right.output)
    if not (moved > 0.1 * wrong and wrong > 0):
        return None
    return Diagnosis("noise", f"two runs on the same inputs differ, by {moved / max(size, 1e-300):.2g} relative")


def _unwritten(seen: Seen, others: list[Seen]) -> Diagnosis | None:
    """Rows from some row on hold 0, whatever the inputs, and all before are right."""
    first = None
    for run in (seen, *others):
        empty = np.all(run.got.astype(np.float64) == 0, axis=(0, 1, 3))
        alive = np.any(run.right.output != 0, axis=(0, 1, 3))
        if not empty.any() or not alive[empty].any():
            return None
        start = int(np.argmax(empty))
        if not empty[start:].all() or empty.all() or first not in (None, start):
            return None
        first = start
    where = _wrong_rows(seen)
    if first is None or where is None or where.min() < first:
        return None
    return Diagnosis("state", f"rows from {first} on are never written: they are 0")


def _wrong_rows(seen: Seen) -> Array | None:
    far = ~np.isclose(seen.got.astype(np.float64), seen.right.output, rtol=0.05, atol=0.05, equal_nan=True)
    rows = np.flatnonzero(far.any((0, 1, 3)))
    return rows if rows.size else None


def of_factors(doctor: Doctor, seen: Seen, narrow: Seen) -> Diagnosis | None:
    """Elements that are off by factors that do not depend on the inputs, and by the same in ``narrow``, in 16 bits."""
    other = doctor.other(seen, seed=OTHER_SEEDS[0])
    factors = None if other is None else _factors(doctor, seen, [other])
    if factors is None:
        return None
    right = narrow.right
    held = within(narrow.got, right.output * (1 + factors), bounds_of(right, doctor.units(narrow.call)))
    return _noise(factors) if (held | np.isnan(factors)).all() else None


def _factor_of_noise(doctor: Doctor, seen: Seen, others: list[Seen]) -> Diagnosis | None:
    factors = _factors(doctor, seen, others)
    return None if factors is None else _noise(factors)


def _noise(factors: Array) -> Diagnosis:
    size = float(np.sqrt(np.nanmean(factors**2)))
    return Diagnosis("noise", f"every element is off by a factor of its own, {size:.2g} relative, whatever the inputs")


def _factors(doctor: Doctor, seen: Seen, others: list[Seen]) -> Array | None:
    """The relative error of each element where it does not depend on the inputs; NaN where it cannot be seen."""
    if not others or seen.right.output.size < 64:  # noqa: PLR2004  (factors of few elements may agree by chance)
        return None
    factors = []
    for run in (seen, others[0]):
        right = run.right.output
        clear = np.abs(right) > 0.2 * np.abs(right).mean()
        with np.errstate(all="ignore"):
            factors.append(np.where(clear, run.got.astype(np.float64) / right - 1, np.nan))
    both = np.isfinite(factors[0]) & np.isfinite(factors[1])
    a, b = factors[0][both], factors[1][both]
    floor = 64 * doctor.units(seen.call).output
    if a.size < 32 or min(np.std(a), np.std(b)) < floor or np.abs(a).max() > 1:  # noqa: PLR2004
        return None
    if (a == -1).any() or np.mean(np.abs(a) < floor / 64) > 0.1:  # noqa: PLR2004  (0, or right: no factor of its own)
        return None
    if np.corrcoef(a, b)[0, 1] < 0.95 or np.abs(a - b).max() > 0.1 * np.abs(a).max():  # noqa: PLR2004
        return None
    return np.where(both, factors[0], np.nan)
