"""From what workers compiled to rows: one for each kernel and architecture, with the worst of its variants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attnbench.precheck.rows import KernelRow, PartRow, PrecheckRow
from attnbench.workers.protocol import Reply

NARROW = ("f16", "bf16", "f8")
Variant = dict[str, Any]


def machine_rows(impl: str, answers: Sequence[tuple[str, str, Reply]]) -> list[PrecheckRow]:
    """Rows of machine code in the order of the architectures, then the grids, then what could not be seen."""
    variants: dict[tuple[str, str], list[Variant]] = {}
    for arch, dtype, reply in answers:
        for variant in _chosen(reply.value.get("variants", [])):
            variants.setdefault((variant["kernel"], arch), []).append({**variant, "dtype": dtype})
    rows: list[PrecheckRow] = [_row(impl, kernel, arch, each) for (kernel, arch), each in variants.items()]
    rows.sort(key=lambda row: list(dict.fromkeys(kernel for kernel, _ in variants)).index(row.kernel))  # type: ignore[union-attr,arg-type]
    return [*rows, *_launches(impl, variants), *_unseen(impl, answers)]


def _chosen(variants: Sequence[Variant]) -> Iterator[Variant]:
    """Without the configurations that the autotuner may leave out because another of the same launch has no fault."""
    good = {(variant["kernel"], variant["choice"]) for variant in variants if not variant["faults"]}
    for variant in variants:
        if variant["choice"] == 0 or not variant["faults"] or (variant["kernel"], variant["choice"]) not in good:
            yield variant


def _row(impl: str, kernel: str, arch: str, variants: Sequence[Variant]) -> KernelRow:
    worst = min(variants, key=lambda variant: (not variant["faults"], variant["occupancy"] or 0.0))
    faults = tuple(_faults(variants))
    untold = next((variant["untold"] for variant in variants if variant["untold"]), None)
    multiplying = [variant for variant in variants if _in_16_bits(variant)]
    return KernelRow(
        impl,
        kernel,
        arch,
        "wrong" if faults else "unknown" if untold else "ok",
        compiled=all(variant["compiled"] for variant in variants),
        reason=faults[0] if faults else untold,
        registers=None if untold else _largest(variants, "registers"),
        spill_bytes=None if untold else _largest(variants, "spill_bytes"),
        shared_bytes=_largest(variants, "shared_bytes"),
        tensor_core=bool(multiplying) and all(variant["tensor_core"] for variant in multiplying),
        instructions=tuple(dict.fromkeys(name for variant in variants for name in variant["instructions"])),
        occupancy=worst["occupancy"],
        limited_by=worst["limited_by"],
        num_warps=worst["num_warps"],
        num_stages=worst["num_stages"],
        variants=len(variants),
        variant=f"{worst['dtype']}: {worst['variant']}",
        faults=faults,
    )


def _in_16_bits(variant: Variant) -> bool:
    return any(dtype.startswith(NARROW) for dtype in variant["multiplies"])


def _largest(variants: Sequence[Variant], name: str) -> int | None:
    return max((variant[name] for variant in variants if variant[name] is not None), default=None)


def _faults(variants: Sequence[Variant]) -> Iterator[str]:
    """Each kind of fault with the first variants that have it."""
    by_kind: dict[str, list[str]] = {}
    for variant in sorted(variants, key=lambda variant: -(variant["spill_bytes"] or 0)):
        for fault in variant["faults"]:
            kind = fault.partition(":")[0].partition(" of ")[0].split(" bytes")[0]
            by_kind.setdefault(kind, []).append(f"{fault} ({variant['dtype']}: {variant['variant']})")
    for said in by_kind.values():
        more = f"; and {len(said) - 1} more of its {len(variants)} variants" if len(said) > 1 else ""
        yield said[0] + more


def _launches(impl: str, variants: dict[tuple[str, str], list[Variant]]) -> Iterator[PartRow]:
    """The grids of every kernel, as one architecture has them."""
    seen: dict[str, list[Variant]] = {}
    for (kernel, _), each in variants.items():
        seen.setdefault(kernel, each)
    for kernel, each in seen.items():
        names = ("case", "dtype", "grid", "num_warps", "num_stages", "variant")
        grids = [{name: variant[name] for name in names} for variant in each]
        yield PartRow(impl, "launches", "ok", kernel, f"{len(grids)} variants", {"launches": grids})


def _unseen(impl: str, answers: Sequence[tuple[str, str, Reply]]) -> Iterator[PartRow]:
    """Calls that raised before or while they launched, and workers that were lost, each reason once.

    A GPU would raise the same, so that it is wrong; but where the call itself asks for a GPU, nobody can tell here.
    """
    reasons: dict[str, tuple[str, str, str]] = {}
    for arch, dtype, reply in answers:
        if not reply.ok:
            reasons.setdefault(reply.reason or reply.status, ("lost", f"{dtype} {arch}", ""))
        for name, status in (("failed", "wrong"), ("untold", "unknown")):
            for case, why in reply.value.get(name, {}).items():
                reasons.setdefault(why, (status, f"{dtype} {arch}", f" (in the case {case})"))
    for why, (status, subject, where) in reasons.items():
        yield PartRow(impl, "launches", status, subject, f"{why}{where}")  # type: ignore[arg-type]
