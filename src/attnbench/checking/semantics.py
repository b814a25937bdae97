"""``attnbench semantics`` in processes of its own: a kernel that crashes or hangs is a finding, and probing goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from attnbench.agree.semantics.behaviour import PROBES
from attnbench.agree.semantics.edges import Finding
from attnbench.backends import discover
from attnbench.checking.processes import at_once_on
from attnbench.workers.protocol import CRASHED, OOM, TIMEOUT, UNSUPPORTED, Reply
from attnbench.workers.session import Session

Progress = Callable[[str], None]
# Words for a probe whose process was lost or ran out of something.
LOST = tuple(status.upper() for status in (CRASHED, OOM, TIMEOUT, UNSUPPORTED))


@dataclass(frozen=True)
class Semantics:
    """What the native kernels of one backend do: findings by kernel and by probe.

    ``missing`` names kernels that are not installed with the module that they require; ``problem`` says why there is
    nothing at all.
    """

    backend: str
    versions: Mapping[str, str] = field(default_factory=dict)
    kernels: Mapping[str, Mapping[str, Finding]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    problem: str | None = None


def probe_backends(
    backends: Sequence[str], device: str = "cpu", timeout_s: float = 60.0, progress: Progress | None = None
) -> list[Semantics]:
    """Probe every native kernel of these backends, several backends at a time on the CPU."""
    with ThreadPoolExecutor(at_once_on(device)) as pool:
        return list(pool.map(lambda name: probe_backend(name, device, timeout_s, progress), backends))


def probe_backend(
    name: str, device: str = "cpu", timeout_s: float = 60.0, progress: Progress | None = None
) -> Semantics:
    """Probe every native kernel of one backend; a worker that is lost is replaced for the next probe."""
    info = discover.backend(name)
    if problem := info.why_missing():
        return Semantics(name, problem=problem)
    with Session(name, timeout_s) as session:
        plan = session.ask("semantics_plan", device=device)
        if not plan.ok:
            return Semantics(name, session.versions, problem=plan.reason)
        kernels = {}
        for kernel in plan.value["kernels"]:
            if progress is not None:
                progress(kernel)
            replies = (
                (probe.key, session.ask("semantics", kernel=kernel, probe=probe.key, device=device)) for probe in PROBES
            )
            kernels[kernel] = {key: finding(reply) for key, reply in replies}
        return Semantics(name, session.versions, kernels, plan.value["missing"])


def finding(reply: Reply) -> Finding:
    """The worker's finding; a worker that was lost, or that ran out of something, is one too."""
    return Finding(**reply.value) if reply.ok else Finding(reply.status.upper(), reply.reason or "")
