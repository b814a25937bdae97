"""The schema of what a run leaves behind: one row per planned cell, raw samples, the machine, and the run itself.

Everything is frozen and versioned. The status of a cell decides which of its fields exist, so that a failed cell can
be neither averaged in nor taken for a fast one. ``schema.json`` beside this file is the published JSON Schema.
Units stand in the names: ``_s`` seconds, ``bytes`` bytes, ``flop_rate`` operations per second.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Literal, NoReturn, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from attnbench.attention.problem import Case
from attnbench.attention.spec import SPEC_VERSION, stable_id

# Raised whenever a column or a field comes, goes or changes; attnbench.results.migrate says how older files read.
SCHEMA_VERSION = 3
SCHEMA_FILE = Path(__file__).with_name("schema.json")

Status = Literal["ok", "wrong", "unsupported", "oom", "timeout", "crashed", "not-run"]
FAILURES = ("wrong", "oom", "timeout", "crashed")
Cache = Literal["hot", "cold", "graph", "none"]
Scalar = bool | int | float | str | None

# What only a cell that was timed to the end has.
TIME_FIELDS = (
    "n_samples",
    "n_bursts",
    "n_replicates",
    "time_median_s",
    "time_low_s",
    "time_high_s",
    "time_hot_median_s",
    "time_graph_median_s",
    "cpu_time_s",
    "flop_rate",
    "roofline_fraction",
    "roofline_limit",
    "anchor_median_s",
    "anchor_ratio",
)


class Record(BaseModel):
    """Base of all records: frozen, unknown fields refused, NaN and infinity kept as words in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def _reject(message: str) -> NoReturn:
    raise ValueError(message)


class CellResult(Record):
    """The one row of a planned cell, whatever became of it.

    ``kind`` is ``timed`` or ``observed`` (an ablation's numbers in ``metrics``). ``point`` holds the levels of the
    suite's axes. ``cache`` names the state in which the main times were taken; on an accelerator they are cold, and
    ``time_hot_median_s`` and, replayed as a CUDA graph, ``time_graph_median_s`` stand beside them. ``exponentials``
    counts evaluations of exp and tanh; ``roofline_limit`` names the ceiling that binds (product, copy or exp).
    ``peak_bytes`` is the high-water mark during the call less the level
    just before it; ``memory`` says how it was read. ``time_low_s`` and ``time_high_s`` are absent where there are
    too few bursts for an interval. Validation: an ``ok`` row has what was measured, every other one has a ``reason``.
    ``anchor`` is the fixed work that was measured beside the block, and its version; ``anchor_library`` what computed
    it, ``anchor_reason`` why bursts have none, or too few do. ``anchor_ratio`` is the median of this cell's time over
    the anchor's just after, burst by burst.
    ``imported`` names the tool whose file a row was read from: attnbench did not measure it, and without an
    ``error_ratio`` nobody checked it.
    """

    run_id: str
    suite: str
    cell_id: str
    case_id: str
    block_id: str
    case_label: str
    kind: Literal["timed", "observed"] = "timed"
    impl: str
    backend: str
    variant: str
    device: str = "cpu"
    threads: int = Field(default=1, ge=1)

    phase: str | None = None
    dtype: str | None = None
    B: int | None = None
    Hq: int | None = None
    Hkv: int | None = None
    Tq: int | None = None
    S: int | None = None
    D: int | None = None
    Dv: int | None = None
    score: str | None = None
    scale: str | None = None
    softcap: float | None = None
    mask_kinds: str | None = None
    case: dict[str, Any] | None = None
    point: dict[str, Any] = Field(default_factory=dict)

    status: Status
    reason: str | None = None
    error_ratio: float | None = None
    metrics: dict[str, float] = Field(default_factory=dict)

    n_samples: int | None = None
    n_bursts: int | None = None
    n_replicates: int | None = None
    time_median_s: float | None = None
    time_low_s: float | None = None
    time_high_s: float | None = None
    time_hot_median_s: float | None = None
    time_graph_median_s: float | None = None
    cache: Cache | None = None
    cpu_time_s: float | None = None
    import_s: float | None = None
    trace_s: float | None = None
    compile_s: float | None = None
    first_call_s: float | None = None
    peak_bytes: int | None = Field(default=None, ge=0)
    memory: dict[str, Scalar] = Field(default_factory=dict)
    flops: float | None = None
    min_bytes: float | None = None
    exponentials: float | None = None
    flop_rate: float | None = None
    roofline_fraction: float | None = None
    roofline_limit: Literal["product", "copy", "exp"] | None = None
    disturbed_bursts: int = Field(default=0, ge=0)
    anchor: str | None = None
    anchor_library: str | None = None
    anchor_reason: str | None = None
    anchor_median_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    anchor_ratio: float | None = Field(default=None, gt=0, allow_inf_nan=False)

    machine_id: str = ""
    spec_version: str = SPEC_VERSION
    code_version: str = ""
    imported: str | None = None

    @model_validator(mode="after")
    def _fields_follow_status(self) -> Self:
        if self.status != "ok":
            self._check_not_ok()
        elif self.kind == "observed":
            if not self.metrics:
                _reject(f"cell {self.cell_id}: an observed cell that is ok has metrics")
        else:
            self._check_timed()
        return self

    def _check_not_ok(self) -> None:
        if not self.reason:
            _reject(f"cell {self.cell_id}: status {self.status} needs a reason")
        present = [name for name in (*TIME_FIELDS, "peak_bytes") if getattr(self, name) is not None]
        if present:
            _reject(f"cell {self.cell_id}: status {self.status} cannot have {', '.join(present)}")

    def _check_timed(self) -> None:
        agreed = () if self.imported else ("error_ratio",)
        needed = ("n_samples", "n_bursts", "time_median_s", *agreed)
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            _reject(f"cell {self.cell_id}: a timed cell that is ok needs {', '.join(missing)}")
        median, low, high = self.time_median_s or 0.0, self.time_low_s, self.time_high_s
        if not math.isfinite(median) or median <= 0:
            _reject(f"cell {self.cell_id}: time_median_s is a time above 0, not {self.time_median_s}")
        if not self.n_samples or not self.n_bursts:
            _reject(f"cell {self.cell_id}: ok without a sample")
        if (low is None) != (high is None) or (low is not None and high is not None and not low <= median <= high):
            _reject(f"cell {self.cell_id}: the interval [{low}, {high}] does not hold the median {median}")
        if not 0 <= (self.error_ratio or 0.0) <= 1:  # NaN fails too
            _reject(f"cell {self.cell_id}: error_ratio {self.error_ratio} is beyond the bound; its status is wrong")


class Sample(Record):
    """One observation: ``calls`` calls timed together; ``wall_s`` and ``cpu_s`` are seconds per call.

    ``replicate`` counts fresh processes, ``burst`` the bursts of a replicate, ``index`` the samples of a burst.
    ``t_start`` is seconds since the start of the run. Disturbed bursts are kept, marked, and measured again.
    ``anchor_s`` is what a call of the anchor took just after, absent where it was disturbed or there is none.
    """

    run_id: str
    cell_id: str
    replicate: int = Field(ge=0)
    burst: int = Field(ge=0)
    index: int = Field(ge=0)
    calls: int = Field(ge=1)
    wall_s: float = Field(gt=0, allow_inf_nan=False)
    cpu_s: float | None = None
    warmup: bool = False
    disturbed: bool = False
    cache: Cache = "none"
    t_start: float = 0.0
    anchor_s: float | None = Field(default=None, gt=0, allow_inf_nan=False)


class Gpu(Record):
    """One accelerator."""

    name: str
    memory_bytes: int | None = None
    driver: str | None = None


class Hardware(Record):
    """The part of the fingerprint that makes a machine this machine; unknown parts are ``None``."""

    architecture: str
    cpu_model: str | None = None
    physical_cores: int | None = None
    logical_cores: int | None = None
    caches: dict[str, str] = Field(default_factory=dict)
    memory_bytes: int | None = None
    gpus: tuple[Gpu, ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether anything names this machine: a processor, or an accelerator; of an imported run neither may."""
        return self.cpu_model is not None or bool(self.gpus)

    @property
    def id(self) -> str:
        """A stable name of this hardware; memory counts in whole GiB, since kernels reserve some of it."""
        data = self.model_dump(mode="json", exclude={"memory_bytes": True, "gpus": {"__all__": {"driver"}}})
        gib = None if self.memory_bytes is None else round(self.memory_bytes / 2**30)
        return stable_id([data, gib])


class Fingerprint(Record):
    """The machine and the software of a run.

    ``frameworks`` maps a backend to its versions, as its worker reported them; ``thread_pools`` likewise the threads
    of each pool. ``git`` is the commit of the code, with ``+`` where it was changed, ``None`` outside a checkout.
    """

    hardware: Hardware
    kernel: str
    python: str
    governor: str | None = None
    turbo: str | None = None
    cpu_limit: float | None = None
    memory_limit_bytes: int | None = None
    usable_cpus: int | None = None
    virtual: str | None = None
    packages: dict[str, str] = Field(default_factory=dict)
    frameworks: dict[str, dict[str, str]] = Field(default_factory=dict)
    thread_pools: dict[str, dict[str, int]] = Field(default_factory=dict)
    git: str | None = None
    spec_version: str = SPEC_VERSION

    @property
    def machine_id(self) -> str:
        """A stable hash of the hardware."""
        return self.hardware.id

    @property
    def drivers(self) -> tuple[str | None, ...]:
        """The driver of each accelerator."""
        return tuple(gpu.driver for gpu in self.hardware.gpus)

    def with_framework(self, backend: str, versions: dict[str, str], threads: dict[str, int]) -> Fingerprint:
        """The same fingerprint with what a worker of ``backend`` reported."""
        return self.model_copy(
            update={
                "frameworks": self.frameworks | {backend: dict(versions)},
                "thread_pools": self.thread_pools | {backend: dict(threads)},
            }
        )


class Imported(Record):
    """Where a run came from that attnbench did not measure: the tool, its version, the file, and what is not known."""

    tool: str
    version: str | None = None
    file: str
    unknown: tuple[str, ...] = ()


class FiledSuite(Record):
    """A suite of one's own: its ``file`` as it was typed, the whole ``path``, the SHA-256 of what stood in it.

    What a report says of it where the file is gone or has changed stands here too: question, method and limits.
    """

    file: str
    path: str
    sha256: str
    question: str = ""
    method: str = ""
    limits: str = ""


class RunInfo(Record):
    """A run: what was asked, when, where, and whether it came to its end. Times are ISO 8601 in UTC.

    ``axes`` maps each suite to its levels; ``ceilings`` are the machine's measured rates; ``budget_s`` what was
    allowed. ``status`` is ``partial`` until the run is finished. ``imported`` is there where another tool measured.
    ``suite_files`` has the suites that were loaded from files of one's own, by name.
    """

    program: Literal["attnbench"] = "attnbench"
    schema_version: Literal[3] = 3
    run_id: str
    started: str
    finished: str | None = None
    status: Literal["complete", "partial"] = "partial"
    command: tuple[str, ...] = ()
    suites: tuple[str, ...]
    implementations: tuple[str, ...] = ()
    axes: dict[str, dict[str, list[Any]]] = Field(default_factory=dict)
    devices: tuple[str, ...] = ("cpu",)
    threads: tuple[int, ...] = (1,)
    budget_s: float | None = None
    ceilings: dict[str, float] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    imported: Imported | None = None
    suite_files: dict[str, FiledSuite] = Field(default_factory=dict)
    fingerprint: Fingerprint


def case_columns(case: Case | None) -> dict[str, Any]:
    """The columns of a ``CellResult`` that describe its case: sizes, dtype, phase, score, scale, masks, the case.

    An observed cell has no case and leaves them empty.
    """
    if case is None:
        return {}
    problem, spec = case.problem, case.spec
    sizes = {name: getattr(problem, name) for name in ("B", "Hq", "Hkv", "Tq", "S", "D", "Dv")}
    window = [] if spec.window is None else [f"window{list(spec.window)}"]
    kinds = (["causal"] if spec.causal else []) + window + list(problem.operands)
    return sizes | {
        "phase": case.phase,
        "dtype": problem.dtype,
        "score": spec.score,
        "scale": "default" if spec.scale is None else str(spec.scale),
        "softcap": spec.softcap,
        "mask_kinds": "+".join(kinds),
        "case": case.to_dict(),
    }


def json_schema() -> dict[str, Any]:
    """The JSON Schema of the records that a run folder holds."""
    models: tuple[type[Record], ...] = (RunInfo, CellResult, Sample)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "attnbench results",
        "schema_version": SCHEMA_VERSION,
        "records": {model.__name__: model.model_json_schema(mode="serialization") for model in models},
    }


def schema_text() -> str:
    """``json_schema`` as the text of ``schema.json``."""
    return json.dumps(json_schema(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def write_schema(path: Path = SCHEMA_FILE) -> Path:
    """Write the published JSON Schema; a test holds the committed file against it."""
    path.write_text(schema_text(), encoding="utf-8")
    return path
