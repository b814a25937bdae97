"""What implementations declare: their features by name, asked of a process for each framework."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from attnbench.workers.session import Session

TIMEOUT_S = 60.0
AT_ONCE = 2


@dataclass(frozen=True)
class Able:
    """The features that an implementation declares and how many limits it has, or why that is not known."""

    features: frozenset[str] = frozenset()
    limits: int = 0
    why_unknown: str | None = None

    def lacks(self, needs: Sequence[str]) -> str | None:
        """Which of the needed features it has not; ``None`` where it has all."""
        if self.why_unknown is not None and needs:
            return f"what it can do is not known: {self.why_unknown}"
        missing = [name for name in needs if name not in self.features]
        return f"does not support {', '.join(missing)}" if missing else None


def declared(impls: Sequence[str], device: str = "cpu", files: Sequence[str] = ()) -> dict[str, Able]:
    """What each of these implementations declares on a device. Imports no framework in this process."""
    by_backend: dict[str, list[str]] = {}
    for impl in impls:
        by_backend.setdefault(impl.partition("/")[0], []).append(impl)

    def ask(backend: str) -> dict[str, Able]:
        with Session(backend, TIMEOUT_S) as session:
            return {impl: _able(session, impl, device, files) for impl in by_backend[backend]}

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {impl: able for part in pool.map(ask, by_backend) for impl, able in part.items()}


def _able(session: Session, impl: str, device: str, files: Sequence[str]) -> Able:
    reply = session.ask("capabilities", impl=impl, files=list(files), device=device)
    if not reply.ok:
        return Able(why_unknown=reply.reason or "no answer")
    return Able(frozenset(reply.value["features"]), int(reply.value["limits"]))
