"""Reading nvbench (CUDA): the ``--json`` file, and with ``--jsonbin`` the samples that lie beside it.

Source: nvbench's ``json_printer.cu`` and its scripts. A benchmark has states, one for each combination of its axes and
each device; a state has summaries, known by their tags. Times are seconds on the GPU, as text; NaN and infinity are
null. The samples of a state are little-endian float32 in a file of its own. Caches are cleared before each (cold).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attnbench.exchange.readers.entries import Entries, level, number_of, single
from attnbench.exchange.readers.foreign import Benchmark, Foreign
from attnbench.exchange.readers.values import UNKNOWN, Sifted, mapping, no_benchmark, utc, whole
from attnbench.results.schema import Fingerprint, Gpu, Hardware

TOOL = "nvbench"
SAMPLES = "file/sample_times"
SAMPLES_TAG = "nv/json/bin:"
# Which time stands for a state, the best first: isolated calls on the GPU, batches of them, and the CPU's clock where
# the benchmark is one of the CPU.
TIMES = (
    "nv/cold/time/gpu/median",
    "nv/cold/time/gpu/mean",
    "nv/batch/time/gpu/mean",
    "nv/cpu_only/time/cpu/median",
    "nv/cpu_only/time/cpu/mean",
    "nv/cold/time/cpu/median",
    "nv/cold/time/cpu/mean",
    "Average GPU Time (Cold)",  # before summaries had tags
    "Average GPU Time (Hot)",
)
MEAN = "medians (the file has means, which stand for them)"
SINGLE = "single samples (measure with --jsonbin FILE, and keep the folder FILE-bin beside it)"
FLOAT32 = struct.calcsize("<f")
Named = Mapping[str, Any]


def recognises(data: Any) -> bool:
    """Whether a JSON document is one of nvbench's."""
    if not isinstance(data, Mapping) or not isinstance(data.get("benchmarks"), list):
        return False
    entries = data["benchmarks"]
    if not all(isinstance(entry, Mapping) and "states" in entry for entry in entries):
        return False
    return bool(entries) or "devices" in data


def read(data: Mapping[str, Any], file: Path) -> Foreign:
    """The file, understood. Raises ``ResultsError`` that names what is wrong with it."""
    entries = Entries()
    devices = [device for device in data.get("devices") or [] if isinstance(device, Mapping)]
    states = [state for bench in data["benchmarks"] for state in bench.get("states") or ()]
    used = {state.get("device") for state in states if isinstance(state, Mapping)}
    several = len(used - {None}) > 1
    for bench in data["benchmarks"]:
        for place, state in enumerate(bench.get("states") or (), 1):
            name = f"{bench.get('name', 'benchmark')} state {place}"
            entries.add(name, _benchmark, bench, state, file, entries, several)
    benchmarks = entries.benchmarks
    if not benchmarks:
        no_benchmark(file, entries.warnings)
    unknown: tuple[str, ...] = (*UNKNOWN, "the host's processor", "when it was measured", "peak memory")
    unknown += (SINGLE,) if any(benchmark.summary for benchmark in benchmarks) else ()
    unknown += (MEAN,) if any(_is_mean(bench) for bench in data["benchmarks"]) else ()
    versions = _versions(data)
    return Foreign(
        TOOL,
        versions.get(TOOL),
        utc(None),
        _fingerprint(devices, used, versions),
        benchmarks,
        unknown=unknown,
        warnings=tuple(entries.warnings),
    )


def _versions(data: Named) -> dict[str, str]:
    meta = data.get("meta")
    version = meta.get("version") if isinstance(meta, Mapping) else None
    parts = version.get(TOOL) if isinstance(version, Mapping) else None
    said = parts.get("string") if isinstance(parts, Mapping) else None
    return {} if said is None else {TOOL: str(said)}


def _benchmark(bench: Named, state: Any, file: Path, entries: Entries, several: bool) -> Benchmark:  # noqa: FBT001
    state = mapping(state, "a state")
    family = str(bench["name"])
    values = {str(axis["name"]): axis.get("value") for axis in state.get("axis_values") or ()}
    params = {name: level(value) for name, value in values.items() if value is not None}
    label = " ".join(f"{name}={value}" for name, value in values.items())
    device = state.get("device")
    on = "cpu" if device is None else f"cuda:{device}" if several else "cuda"
    known: dict[str, Any] = {"name": f"{family} {label}".strip(), "group": family, "params": params, "device": on}
    known["fullname"] = known["name"] if not several or device is None else f"{known['name']} Device={device}"
    if state.get("is_skipped"):
        return Benchmark(**known, failure=("unsupported", f"skipped: {state.get('skip_reason') or 'no reason given'}"))
    summaries = _summaries(state)
    if not summaries:
        return Benchmark(**known, failure=("not-run", "its state has no summary"))
    numbers = {tag: number_of(_value(summary)) for tag, summary in summaries.items()}
    metrics = {tag: number for tag, number in numbers.items() if number is not None}
    sifted = _samples(known["name"], summaries, file, entries)
    if sifted is not None:
        failure = ("not-run", sifted.reason) if sifted.reason else None
        return Benchmark(**known, seconds=sifted.seconds, metrics=metrics, failure=failure)
    tag = next((tag for tag in TIMES if (metrics.get(tag) or 0) > 0), None)
    if tag is not None:
        count = whole(metrics.get("/".join([*tag.split("/")[:2], "sample_size"])))
        return Benchmark(**known, summary=single(metrics[tag], count or 1), metrics=metrics)
    if not metrics:
        return Benchmark(**known, failure=("not-run", "its summaries hold no number"))
    return Benchmark(**known, metrics=metrics)


def _summaries(state: Named) -> dict[str, Named]:
    """The summaries by their tags; a list in every version with one, an object by names before."""
    listed = state.get("summaries") or []
    if isinstance(listed, Mapping):
        return {str(name): {"data": mapping(entry, name).get("values")} for name, entry in listed.items()}
    return {str(entry.get("tag") or entry.get("name")): entry for entry in listed if isinstance(entry, Mapping)}


def _value(summary: Named, name: str = "value") -> Any:
    return next((part.get("value") for part in summary.get("data") or () if part.get("name") == name), None)


def _is_mean(bench: Named) -> bool:
    return any(
        not any(tag.endswith("/median") for tag in tags) and any(tag in TIMES for tag in tags)
        for tags in (_summaries(state) for state in bench.get("states") or () if isinstance(state, Mapping))
    )


def _samples(name: str, summaries: Mapping[str, Named], file: Path, entries: Entries) -> Sifted | None:
    """The samples of a state, where their file is there, whole and not empty."""
    for tag, summary in summaries.items():
        if summary.get("hint") != SAMPLES and not (tag.startswith(SAMPLES_TAG) and tag.endswith("sample_times")):
            continue
        said = str(_value(summary, "filename") or "")
        path = next((path for path in _places(said, file) if path.is_file()), None)
        if path is None:
            entries.warn(f"{name}: its samples are not beside the file ({said}); their statistics stand for them")
            continue
        content, count = path.read_bytes(), whole(_value(summary, "size"))
        if len(content) % FLOAT32 or (count is not None and len(content) != count * FLOAT32):
            entries.warn(f"{name}: {said} is damaged ({len(content)} bytes for {count} samples); it is left out")
            continue
        if content:
            return entries.sift(name, struct.unpack(f"<{len(content) // FLOAT32}f", content))
    return None


def _places(said: str, file: Path) -> list[Path]:
    """Where the file of samples may lie: as it is written, beside the JSON file, or in the folder that goes with it."""
    if not said:
        return []
    path = Path(said.replace("\\", "/"))
    beside = file.absolute().parent
    return [path, beside / path, beside / path.parent.name / path.name, beside / f"{file.name}-bin" / path.name]


def _fingerprint(devices: Sequence[Named], used: set[Any], versions: dict[str, str]) -> Fingerprint:
    """The GPUs that were measured on; of the host nvbench says nothing."""
    gpus = [
        Gpu(name=str(device.get("name") or "unknown"), memory_bytes=whole(device.get("global_memory_size")))
        for device in devices
        if device.get("id") in used
    ]
    hardware = Hardware(architecture="unknown", gpus=tuple(gpus))
    return Fingerprint(hardware=hardware, kernel="unknown", python="none", frameworks={TOOL: versions})
