"""The workers of a cluster: who is there, who may measure, and who is gone.

A worker is a process: one that was started again at the same address is another.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from attnbench.dispatch.cluster import tasks
from attnbench.dispatch.cluster.matching import Hand
from attnbench.dispatch.cluster.messages import AskedOfWorker, WorkerAbout, WorkerAnswer, decoded
from attnbench.dispatch.folder import as_text
from attnbench.dispatch.held import differences
from attnbench.errors import AttnbenchError
from attnbench.show.units import size, some

MOST_NAMED = 5
# A worker that has not said what it is by then is not waited for; it may still come.
ANSWER_S = 300.0


@dataclass(frozen=True)
class Present:
    """A worker as the scheduler lists it."""

    id: str
    address: str
    name: str
    threads: int
    resources: Mapping[str, float]


class Fleet:
    """The workers that the scheduler knows: each new one is asked what it is; ``hands`` are those that may measure.

    ``refused`` says by name why others may not.
    """

    def __init__(self, client: Any, question: AskedOfWorker, token: str, note: Callable[[str], None]) -> None:
        self._client, self._question, self._token, self._note = client, question, token, note
        self._asking: dict[str, tuple[Present, Any]] = {}
        self._asked: dict[str, float] = {}
        self._present: dict[str, Present] = {}
        self.hands: dict[str, Hand] = {}
        self.refused: dict[str, str] = {}

    @property
    def settled(self) -> bool:
        """Whether every worker that is there has said what it is, or has had long enough for it."""
        return all(time.monotonic() - self._asked[hand_id] > ANSWER_S for hand_id in self._asking)

    def address(self, hand_id: str) -> str:
        """Where a worker is reached."""
        return self._present[hand_id].address

    def look(self) -> set[str]:
        """See who has come, hear who answers; the ids of those that are gone."""
        now = _present(self._client)
        gone = set(self._present) - set(now)
        for hand_id in gone:
            self.hands.pop(hand_id, None)
            self._asking.pop(hand_id, None)
        for new in set(now) - set(self._present):
            self._ask(now[new])
        self._present = now
        for hand_id, (worker, future) in list(self._asking.items()):
            if future.done():
                del self._asking[hand_id]
                self._hear(worker, future)
        return gone

    def _ask(self, worker: Present) -> None:
        if why := unfit(worker, self._token):
            self._refuse(worker, why)
            return
        future = self._client.submit(
            tasks.about,
            as_text(self._question),
            key=f"attnbench-about-{worker.id}-{secrets.token_hex(4)}",
            workers=[worker.address],
            resources={self._token: 1},
            retries=0,
            pure=False,
            allow_other_workers=False,
        )
        self._asking[worker.id] = worker, future
        self._asked[worker.id] = time.monotonic()

    def _hear(self, worker: Present, future: Any) -> None:
        sender = f"worker {worker.name}"
        try:
            answer = decoded(future.result(), WorkerAnswer, sender)
            if answer.exit_code != 0 or answer.text is None:
                self._refuse(worker, answer.said or f"it ended with status {answer.exit_code} when it was asked")
                return
            about = decoded(answer.text, WorkerAbout, sender)
        except AttnbenchError as error:
            self._refuse(worker, str(error))
            return
        except Exception as error:  # noqa: BLE001  (whatever Dask raises where attnbench is not installed there)
            self._refuse(worker, f"it cannot run attnbench ({type(error).__name__}: {error}); install it there")
            return
        finally:
            future.release()
        if unlike := differences(self._question.plan.held, about.held):
            self._refuse(worker, f"it is not as the plan: {'; '.join(unlike).replace(', here ', ', there ')}")
        elif about.files:
            self._refuse(worker, about.files)
        else:
            self.hands[worker.id] = Hand(worker.id, worker.name, about)
            self._remark(self.hands[worker.id])

    def _refuse(self, worker: Present, why: str) -> None:
        self.refused[worker.name] = why
        alike = list(self.refused.values()).count(why)
        if alike <= MOST_NAMED:
            self._note(f"worker {worker.name} is not used: {why}")
        elif alike == MOST_NAMED + 1:
            self._note("more workers are not used, for the reason that was said last")

    def _remark(self, hand: Hand) -> None:
        if hand.about.profiler:
            self._note(
                f"worker {hand.name} is watched by Dask's profiler; start it with "
                "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False in its environment, so that less happens beside times"
            )

    def sentences(self) -> list[str]:
        """What is to be known of who stands where."""
        slots: dict[tuple[str, str], list[str]] = {}
        for hand in self.hands.values():
            slots.setdefault(hand.slot, []).append(hand.name)
        lines = [
            f"workers {_named(names)} stand on one machine and share its lock: they measure one after another, so that "
            "none disturbs another"
            for names in slots.values()
            if len(names) > 1
        ]
        for machine in dict.fromkeys(machine for machine, _ in slots):
            locks = [names for (where, _), names in slots.items() if where == machine]
            if len(locks) > 1:
                lines.append(
                    f"warning: workers {_named([name for names in locks for name in names])} stand on one machine and "
                    "have locks of their own: they measure beside each other, and their times are not to be relied on; "
                    "every block says so in the journal. Without ATTNBENCH_LOCK they take turns"
                )
        return lines

    def described(self) -> list[str]:
        """A line for each worker that may measure: what it is."""
        return [describe(hand) for hand in self.hands.values()]


def _named(names: Iterable[str]) -> str:
    return some(sorted(names), MOST_NAMED)


def describe(hand: Hand) -> str:
    """What a worker is, in a line."""
    about = hand.about
    parts = [
        "processors not known" if about.processors is None else f"{about.processors} processors",
        f"{size(about.memory_bytes)} of free memory" if about.memory_bytes is not None else "",
        ", ".join(about.gpus) or "no GPU",
        ", ".join(f"{name}={value}" for name, value in sorted(about.labels.items())) or "no labels",
    ]
    return f"{hand.name}: {', '.join(part for part in parts if part)}"


def unfit(worker: Present, token: str) -> str:
    """Why a worker cannot have blocks, by how it was started; empty where it can."""
    start = f'start it with: dask worker ADDRESS --nthreads 1 --resources "{token}=1"'
    has = worker.resources.get(token, 0)
    if has <= 0:
        return f"it has no resource {token}, by which one block at a time is measured; {start}"
    if has != 1:
        return f"it has {token}={has:g}, so that several blocks would be measured at once; {start}"
    if worker.threads != 1:
        return f"it has {worker.threads} threads, so that other work could run beside a block; {start}"
    return ""


def _present(client: Any) -> dict[str, Present]:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return {
        info["id"]: Present(
            info["id"], address, str(info.get("name", address)), int(info["nthreads"]), dict(info["resources"])
        )
        for address, info in workers.items()
    }
