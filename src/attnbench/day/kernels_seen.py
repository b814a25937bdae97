"""Kernels in Triton as they were predicted, against what Triton says of those that ran on the day."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnbench.day.comparison import KernelCompared
from attnbench.day.floors import TimedOnGpu
from attnbench.errors import ResultsError
from attnbench.workers.protocol import Reply
from attnbench.workers.session import Session

SECONDS = 60.0  # for one call, with the start of its process
COMPARED = ("variant", "grid", "registers", "shared_bytes")
LAUNCH = ("kernel", *COMPARED, "spill_bytes")
HOW_TO = "attnbench precheck triton/flash triton/decode --launches --roofline H100 --json > .gpu/predictions.json"


def read_predictions(file: Path) -> list[Mapping[str, Any]]:
    """The launches that a document of ``attnbench precheck --json`` has of kernels that were compiled.

    Raises ``ResultsError``.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        rows = [_row_of(row) for row in document["parts"] if row["part"] == "grids" and row["detail"]]
    except FileNotFoundError as error:
        msg = f"no predictions were carried ({file} is not there); they are made before the day: {HOW_TO}"
        raise ResultsError(msg) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        msg = f"{file} holds no predictions ({type(error).__name__}: {error}); they are made before the day: {HOW_TO}"
        raise ResultsError(msg) from error
    compiled = [row for row in rows if row["cases"]]
    if not compiled:
        msg = f"{file} has no launches of kernels that were compiled; they are made before the day: {HOW_TO}"
        raise ResultsError(msg)
    return compiled


def _row_of(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is compared of a row; ``KeyError`` or ``TypeError`` where it is not as it was written."""
    cases = [
        {
            "case_id": str(case["case_id"]),
            "label": str(case["label"]),
            "launches": [{name: launch[name] for name in LAUNCH} for launch in case["launches"] if launch["registers"]],
        }
        for case in row["detail"]["cases"]
    ]
    kept = [case for case in cases if case["launches"]]
    return {"impl": str(row["impl"]), "arch": str(row["detail"]["arch"]), "cases": kept}


def compared(
    predictions: Sequence[Mapping[str, Any]], seen: TimedOnGpu, device: str, until: float
) -> Iterator[tuple[list[KernelCompared], str | None]]:
    """For each predicted case that was measured its kernels, each variant once, and a note where there is none."""
    variants: set[tuple[str, str, str | None]] = set()
    for prediction in predictions:
        impl = prediction["impl"]
        cases = {cell.case_id: cell.case for _, cell in seen.cells if cell.impl == impl and cell.case}
        wanted = [case for case in prediction["cases"] if case["case_id"] in cases]
        if not wanted:
            yield [], f"{impl}: none of the cases that were predicted was measured here"
            continue
        with Session(impl.partition("/")[0], SECONDS) as session:
            for number, case in enumerate(wanted):
                new = {(impl, each["kernel"], each["variant"]) for each in case["launches"]} - variants
                if not new:
                    continue
                if time.monotonic() > until:
                    yield [], f"{impl}: no time was left for {len(wanted) - number} of {len(wanted)} cases"
                    break
                variants |= new
                reply = session.ask("precheck_seen", impl=impl, files=[], case=cases[case["case_id"]], device=device)
                yield _of_case(impl, case, reply, {variant for *_, variant in new})


def _of_case(
    impl: str, case: Mapping[str, Any], reply: Reply, new: set[str | None]
) -> tuple[list[KernelCompared], str | None]:
    """The kernels of one case that no case before had."""
    if not reply.ok:
        return [], f"{impl} {case['label']}: {reply.reason}"
    launches: list[Mapping[str, Any]] = list(reply.value["launches"])
    if not launches:
        return [], f"{impl} {case['label']}: nothing was compiled here (Triton interprets where there is no GPU)"
    rows = []
    for predicted in case["launches"]:
        of_name = next((launch for launch in launches if launch["kernel"] == predicted["kernel"]), None)
        if of_name is not None:
            launches.remove(of_name)
        if predicted["variant"] in new:
            rows.append(_row(impl, case["label"], predicted, of_name))
    more = ", ".join(dict.fromkeys(launch["kernel"] for launch in launches))
    return rows, f"{impl} {case['label']}: launched besides, and not predicted: {more}" if more else None


def _row(impl: str, label: str, predicted: Mapping[str, Any], seen: Mapping[str, Any] | None) -> KernelCompared:
    kernel = predicted["kernel"]
    if seen is None:
        return KernelCompared(impl, kernel, label, predicted, None, reason="it was not launched")
    differs = [name for name in COMPARED if seen[name] is not None and seen[name] != predicted[name]]
    spills = (predicted["spill_bytes"], seen["spill_bytes"])
    if None not in spills and bool(spills[0]) != bool(spills[1]):  # what is seen counts arrays of a thread too
        differs.append("spill_bytes")
    return KernelCompared(impl, kernel, label, predicted, seen, tuple(differs))
