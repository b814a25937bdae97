"""Blocks out, results in: the front hands blocks to workers, and puts what comes into the folder of the plan.

A block is with one worker at a time, and a machine has one block at a time. Where a worker is lost, its block is given
to another, once. One block's failure is that block's: the others go on.
"""

from __future__ import annotations

import base64
import json
import queue
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnbench.dispatch.blocks import Blocks
from attnbench.dispatch.cluster import tasks
from attnbench.dispatch.cluster.connection import CONNECT_S
from attnbench.dispatch.cluster.fleet import Fleet
from attnbench.dispatch.cluster.matching import Hand, LostHand, WaitingBlocks
from attnbench.dispatch.cluster.messages import BlockTask, WorkerAnswer, decoded
from attnbench.dispatch.folder import ResultFile, as_text, from_text, held_to_plan, result_files, result_path
from attnbench.dispatch.held import differences, versions_in
from attnbench.dispatch.listing import is_whole
from attnbench.dispatch.records import BlockResult, DispatchBlock, DispatchPlan
from attnbench.dispatch.work import publish
from attnbench.errors import EXIT_INCONCLUSIVE, EXIT_UNFORESEEN, AttnbenchError, ResultsError
from attnbench.measure.run.options import Progress
from attnbench.results.store import utc_now

LOOK_S = 2.0
OTHERS_S = 10.0
HEAR_S = 0.5
GATHER_S = 30
HANDED_OUT = "handed-out"
# What a program ends with that neither measured the block nor said why it cannot.
BROKEN = (EXIT_INCONCLUSIVE, EXIT_UNFORESEEN)


class SchedulerLostError(AttnbenchError):
    """The scheduler does not answer any more; what was measured is kept."""

    exit_code = EXIT_INCONCLUSIVE


@dataclass(frozen=True)
class Carried:
    """What the front carries: the blocks of a plan, and the files that travel."""

    blocks: Blocks
    files: Mapping[str, str]
    wait: str | None = None

    @classmethod
    def of(cls, blocks: Blocks, wait: str | None) -> Carried:
        """With the files read."""
        sent = [file.sent for file in blocks.plan.files if file.sent is not None]
        return cls(
            blocks, {name: base64.b64encode((blocks.folder / name).read_bytes()).decode() for name in sent}, wait
        )

    @property
    def folder(self) -> Path:
        """The folder of the plan."""
        return self.blocks.folder

    @property
    def plan(self) -> DispatchPlan:
        """The plan."""
        return self.blocks.plan


@dataclass
class Flight:
    """A block that is with a worker; ``beside`` are workers that measured on the same machine meanwhile."""

    number: int
    hand: Hand
    future: Any
    beside: set[str] = field(default_factory=set)


class Front:
    """Hands out what waits. ``left`` says of blocks that nobody measured why; ``most`` limits blocks in flight."""

    def __init__(
        self,
        client: Any,
        fleet: Fleet,
        carried: Carried,
        waiting: WaitingBlocks,
        *,
        token: str,
        most: int | None,
        patience_s: float,
        progress: Progress,
        note: Callable[[str], None],
    ) -> None:
        self._client, self._fleet, self._carried, self._waiting = client, fleet, carried, waiting
        self._token, self._most, self._patience_s = token, most, patience_s
        self._progress, self._note = progress, note
        self._flights: dict[str, Flight] = {}
        self._landed: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._looked = self._listed = 0.0
        self._idle_since: float | None = None
        self._last = ""
        self._total = len(carried.blocks)
        self.done = self._total - len(waiting)
        self.left: dict[int, str] = {}
        self.beside = 0

    def hand_out(self) -> None:
        """Until every block has a result, or no worker for the rest has come for a while."""
        try:
            while self._flights or len(self._waiting):
                self._look()
                self._fill()
                if not self._flights and self._given_up():
                    break
                self._tell()
                self._hear()
            self._tell()
        finally:
            self._recall()

    def _look(self) -> None:
        if self._client.status not in ("running", "connecting"):
            raise SchedulerLostError("the scheduler does not answer any more")
        if self._client.status != "running" and self._looked:
            self._looked = 0.0  # it may come back with other workers
            for flight in reversed(self._flights.values()):  # none of them is heard of again, and no worker is to blame
                self._waiting.put_back(flight.number)
            self._flights.clear()
            self._note(f"the scheduler does not answer; it is waited for, {CONNECT_S:g} s")
        if self._client.status != "running" or time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        self._pass_over()
        before = set(self._fleet.hands)
        gone = self._fleet.look()
        for key, flight in list(self._flights.items()):
            if flight.hand.id in gone:
                del self._flights[key]
                self._client.cancel([flight.future], force=True)
                self._lost(flight, "was lost")
        if set(self._fleet.hands) - before:
            self._idle_since = None

    def _pass_over(self) -> None:
        """Leave out what others have measured meanwhile: a front may not be the only one who works on a plan."""
        if not len(self._waiting) or time.monotonic() - self._listed < OTHERS_S:
            return
        self._listed = time.monotonic()
        blocks = self._carried.blocks
        waiting = {blocks.order.ids[number]: number for number in self._waiting}
        files = (file for file in result_files(blocks.folder) if file.block in waiting)
        done = {waiting[file.block] for file in files if is_whole(file, blocks)}
        self._waiting.drop(done)
        self.done += len(done)

    def _fill(self) -> None:
        """Give a block to every machine that has none."""
        if self._client.status != "running":
            return
        hands = list(self._fleet.hands.values())
        busy = {flight.hand.slot for flight in self._flights.values()}
        for hand in hands:
            if self._most is not None and len(self._flights) >= self._most:
                return
            if hand.slot in busy:
                continue
            number = self._waiting.take(hand, hands)
            if number is not None:
                busy.add(hand.slot)
                self._give(number, hand)

    def _give(self, number: int, hand: Hand) -> None:
        carried = self._carried
        task = BlockTask(
            plan=carried.plan, block=carried.blocks.numbered(number), files=dict(carried.files), wait=carried.wait
        )
        future = self._client.submit(
            tasks.block,
            as_text(task),
            key=f"attnbench-block-{number}-{secrets.token_hex(6)}",
            workers=[self._fleet.address(hand.id)],
            resources={self._token: 1},
            retries=0,
            pure=False,
            allow_other_workers=False,
        )
        flight = Flight(number, hand, future)
        for other in self._flights.values():
            if other.hand.about.machine == hand.about.machine:
                other.beside.add(hand.name)
                flight.beside.add(other.hand.name)
        self._flights[future.key] = flight
        self._idle_since = None
        future.add_done_callback(lambda done: self._landed.put(done.key))

    def _hear(self) -> None:
        """What has landed meanwhile, or nothing after a moment."""
        try:
            key = self._landed.get(timeout=HEAR_S)
        except queue.Empty:
            return
        flight = self._flights.pop(key, None)  # none: it was called back
        if flight is None:
            return
        if flight.future.status == "cancelled":  # the scheduler was lost, and no worker is to blame
            self._waiting.put_back(flight.number)
            return
        try:
            text = flight.future.result(timeout=GATHER_S)
        except Exception as error:  # noqa: BLE001  (whatever Dask raises: no result came)
            self._lost(flight, f"was lost ({type(error).__name__})")
            return
        finally:
            flight.future.release()
        self._take(flight, text)

    def _take(self, flight: Flight, text: object) -> None:
        sender = f"worker {flight.hand.name}"
        try:
            answer = decoded(text, WorkerAnswer, sender)
            if answer.text is not None:
                self._keep(flight, answer.text)
                return
        except ResultsError as error:
            self._refused(flight, str(error))
            return
        if answer.exit_code < 0 or answer.exit_code in BROKEN:
            how = f"signal {-answer.exit_code}" if answer.exit_code < 0 else f"status {answer.exit_code}"
            said = f" ({answer.said})" if answer.said else ""
            self._lost(flight, f"lost the program that measured it, which ended with {how}{said}")
        else:
            self._refused(flight, answer.said or f"it ended with status {answer.exit_code}, without a result")

    def _keep(self, flight: Flight, text: str) -> None:
        """Put a result into the plan's folder. Raises ``ResultsError`` for one that is none of this block."""
        block = self._carried.blocks.numbered(flight.number)
        result = checked(text, self._carried.plan, block, f"worker {flight.hand.name}")
        event = {
            "name": HANDED_OUT,
            "at": utc_now(),
            "worker": flight.hand.name,
            "lost": [entry.hand.name for entry in self._waiting.lost.get(flight.number, [])],
            "beside": sorted(flight.beside),
        }
        whole = result.model_copy(update={"events": (*result.events, event)})
        publish(self._carried.folder, block, whole, replace_it=self._is_spoilt(block, result.machine))
        self.done += 1
        self.beside += bool(flight.beside)
        self._last = f"block {flight.number} by {flight.hand.name}"
        for event in result.events:
            if event.get("name") == "partial":  # its share of a budget was spent
                self._note(f"{self._last}: {event.get('note')}")

    def _is_spoilt(self, block: DispatchBlock, machine: str) -> bool:
        """Whether a damaged file stands where a result is to be put."""
        folder = self._carried.folder
        file = ResultFile(block.id, machine, result_path(folder, block.id, machine))
        return file.path.exists() and not is_whole(file, self._carried.blocks)

    def _refused(self, flight: Flight, why: str) -> None:
        words = f"{flight.hand.name}: {why.removeprefix('attnbench: ')}"
        self._note(f"block {flight.number} is not for worker {words}")
        self._waiting.refused.setdefault(flight.number, {})[flight.hand.slot] = words
        self._waiting.put_back(flight.number)

    def _lost(self, flight: Flight, how: str) -> None:
        """A block whose worker is gone: given to another, once."""
        lost = self._waiting.lost.setdefault(flight.number, [])
        lost.append(LostHand(flight.hand, how))
        what = f"worker {flight.hand.name} {how}"
        if len(lost) == 1:
            self._note(f"{what}; its block {flight.number} is given to another, once")
            self._waiting.put_back(flight.number)
        else:
            self._note(f"{what}; its block {flight.number} was given to another already and is left")
            self.left[flight.number] = ", then ".join(f"worker {entry.hand.name} {entry.how}" for entry in lost)

    def _given_up(self) -> bool:
        """Whether nobody who is there can measure what waits, and nobody else has come for a while."""
        if not len(self._waiting):
            return True
        hands = list(self._fleet.hands.values())
        stranded = self._waiting.stranded(hands)
        if len(stranded) < len(self._waiting) or not self._fleet.settled:
            self._idle_since = None
            return False
        now = time.monotonic()
        if self._idle_since is None:
            self._idle_since = now
        if now - self._idle_since < self._patience_s:
            return False
        for number in stranded:
            self.left[number] = self._why(number)
        self._waiting.drop(stranded)
        return True

    def _why(self, number: int) -> str:
        reasons = "; ".join(self._waiting.refused.get(number, {}).values())
        return reasons or "no worker that is there can measure it"

    def _tell(self) -> None:
        flying = len(self._flights)
        machines = len({hand.about.machine for hand in self._fleet.hands.values()})
        of = "1 machine" if machines == 1 else f"{machines} machines"
        parts = [self._last, f"{flying} in flight, {of}"]
        self._progress(self.done, self._total, " · ".join(part for part in parts if part))

    def _recall(self) -> None:
        """Call back what is still out: the programs that measure it are ended."""
        if self._flights and self._client.status == "running":
            self._client.cancel([flight.future for flight in self._flights.values()], force=True)


def checked(text: str, plan: DispatchPlan, block: DispatchBlock, sender: str) -> BlockResult:
    """A result that came, held against schema, plan, block and versions. Raises ``ResultsError``."""
    try:
        machine = str(json.loads(text)["machine"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        msg = f"{sender} sent no result"
        raise ResultsError(msg) from error
    path = Path(f"{block.id}.json")  # it stands in no file yet
    try:
        sent = from_text(path, text.encode("utf-8", "surrogatepass"), BlockResult)
        result = held_to_plan(ResultFile(block.id, machine, path), sent, plan, block)
    except ResultsError as error:
        msg = f"what {sender} sent {str(error).removeprefix(f'{path} ')}"
        raise ResultsError(msg) from error
    if unlike := differences(plan.held, versions_in(result.run.fingerprint, result.code)):
        msg = f"{sender} is not as the plan: {'; '.join(unlike).replace(', here ', ', there ')}"
        raise ResultsError(msg)
    return result
