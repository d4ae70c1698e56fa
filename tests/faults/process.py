"""A process of the service on stores in memory, which can be killed, cut off, or lied to.

Every call to a store goes through `Process.perform`. Calls that change something are effects and
are numbered from 1; a `Fault` strikes at one number.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, cast

from service.errors import MediagateError, OutcomeUnknown, StoreUnavailable
from service.stores.ports import BlobStore, MetadataStore
from service.telemetry.metrics import Metrics
from service.usecases.byte_budget import ByteBudget
from service.usecases.runtime import Runtime
from service.usecases.sweep import SweepReport
from service.usecases.tasks import Tasks
from tests.fakes.replica import Fate

if TYPE_CHECKING:
    from tests.faults.history import Operation
    from tests.faults.world import World

EFFECTS = {
    "blobs": {
        "put",
        "copy",
        "create_multipart",
        "upload_part",
        "copy_part",
        "complete",
        "abort",
        "delete",
    },
    "versions": {
        "change_facts",
        "delete",
        "delete_version",
        "hand_over",
        "forget_dead",
        "forget_tombstones",
    },
    "uploads": {
        "admit",
        "renew",
        "switch_key",
        "save_multipart",
        "complete",
        "commit",
        "commit_whole",
        "commit_all",
        "begin_undo",
        "fence",
        "take_over",
        "finish_undo",
        "cleaned",
        "forget",
        "forget_committed",
    },
    "resumables": {"claim", "note_key", "use_key", "save", "retire"},
    "buckets": {"create", "update", "begin_delete", "revert_delete", "remove"},
}
READS = {
    "blobs": {
        "probe",
        "ping",
        "ensure_bucket",
        "list_multiparts",
        "head",
        "link",
        "scan",
        "close",
    },
    "versions": {
        "get_latest",
        "get",
        "current_seq",
        "scan",
        "search",
        "has_content",
        "dead",
        "history",
    },
    "uploads": {"get", "expired", "undoable_in", "due", "count"},
    "resumables": {"unfinished", "aging"},
    "buckets": {"get", "list"},
}
TRANSACTIONS = {
    "uploads.commit",
    "uploads.commit_whole",
    "uploads.commit_all",
    "versions.change_facts",
    "versions.delete",
    "versions.delete_version",
    "versions.hand_over",
}
_METRICS = Metrics()
_CURRENT: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


class Mode(StrEnum):
    """What happens to one effect."""

    BEFORE = "before"  # killed before it is sent
    AFTER = "after"  # killed once it is done
    LOST = "lost"  # done, its answer lost
    LATE = "late"  # no answer; done when everything seems settled
    IN_FLIGHT = "in_flight"  # killed with it on its way; done when everything seems settled
    CUT = "cut"  # done, its answer lost, and no store reachable from then on
    NO_BLOBS = "no_blobs"  # the same, but only the store of bytes is unreachable
    GONE = "gone"  # done, but the client went away meanwhile
    ROLLED_BACK = "rolled_back"  # done on a primary that loses it, no answer
    LAGGING = "lagging"  # done on a primary, no answer; the majority gets it with the next write
    READ_BACK = "read_back"  # a commit that is done, its answer lost, and can be read back


KILLS = {Mode.BEFORE, Mode.AFTER, Mode.IN_FLIGHT}
_FATES = {Mode.ROLLED_BACK: Fate.ROLLED_BACK, Mode.LAGGING: Fate.LATE}


def applies(mode: Mode, effect: str) -> bool:
    if mode in _FATES:
        return not effect.startswith("blobs.")
    if mode is Mode.NO_BLOBS:
        return effect.startswith("blobs.")
    return mode is not Mode.READ_BACK or effect in TRANSACTIONS


class Killed(BaseException):
    """The process is no more: nothing of its code has any effect after this."""


@dataclass(frozen=True)
class Fault:
    """at: the number of an effect, or the name of one to strike the first time it comes."""

    mode: Mode
    at: int | str

    def hits(self, number: int, effect: str) -> bool:
        return self.at in (number, effect)


@dataclass(frozen=True)
class Call:
    """One call to a port of the world."""

    process: Process
    port: str
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def effect(self) -> str:
        return f"{self.port}.{self.name}"

    @property
    def _store(self) -> Any:
        return self.process.world.store(self.port)

    async def apply(self) -> Any:
        with self.process.world.watched(self):
            return await getattr(self._store, self.name)(*self.args, **self.kwargs)

    def held_back(self) -> Callable[[], Awaitable[None]]:
        """The call on its way: a transaction waits with its commit, all else with everything."""
        if self.effect not in TRANSACTIONS:
            return self._arrive
        commit = getattr(self._store, f"prepare_{self.name}")(*self.args, **self.kwargs)

        async def arrive() -> None:
            with self.process.world.watched(self):
                commit()

        return arrive

    async def _arrive(self) -> None:
        await self.apply()


class _Port:
    """A port as one process sees it."""

    def __init__(self, process: Process, port: str) -> None:
        self._process = process
        self._port = port

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._process.world.store(self._port), name)
        if not iscoroutinefunction(found):
            return found

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await self._process.perform(Call(self._process, self._port, name, args, kwargs))

        self.__dict__[name] = call
        return call


class _MetadataPort(_Port):
    def __init__(self, process: Process) -> None:
        super().__init__(process, "metadata")
        for port in ("versions", "uploads", "resumables", "buckets"):
            self.__dict__[port] = _Port(process, port)


class Process:
    """fault: strikes once; struck: what it struck."""

    def __init__(self, world: World, fault: Fault | None = None) -> None:
        self.world = world
        self.fault = fault
        self.struck: Call | None = None
        self.effects: list[str] = []
        self.operation: Operation | None = None
        self.alive = True
        self.unreachable: Mode | None = None
        self.swept: SweepReport | None = None
        self.tasks: set[asyncio.Task[Any]] = set()
        self._request: asyncio.Task[Any] | None = None
        settings = world.settings
        self.runtime = Runtime(
            settings,
            cast(BlobStore, _Port(self, "blobs")),
            cast(MetadataStore, _MetadataPort(self)),
            ByteBudget(settings.limits.byte_budget_bytes),
            Tasks(),
            _METRICS,
        )

    async def run(self, request: Coroutine[Any, Any, None]) -> None:
        """Run one request and whatever it leaves to the background, to the end or to death."""
        context = contextvars.copy_context()
        context.run(_CURRENT.set, self)
        self._request = asyncio.get_running_loop().create_task(request, context=context)
        await self._quiet()
        error = None if self._request.cancelled() else self._request.exception()
        if self.alive and error is not None and not isinstance(error, MediagateError):
            raise error

    async def _quiet(self) -> None:
        while self.tasks:
            if not self.alive:
                for task in self.tasks:
                    task.cancel()
            await asyncio.wait(self.tasks)
        if self.alive:
            used = self.runtime.budget.used_bytes
            self.world.expect(used == 0, f"memory: {used} bytes of the budget were never returned")

    def kill(self) -> None:
        self.alive = False
        for task in self.tasks:
            task.cancel()

    async def perform(self, call: Call) -> Any:
        await self.world.turn()
        self._check(call)
        if call.name not in EFFECTS.get(call.port, ()):
            return await call.apply()
        self.effects.append(call.effect)
        if self.fault is None or self.struck or not self.fault.hits(len(self.effects), call.effect):
            answer = await call.apply()
        else:
            self.struck = call
            answer = await self._strike(call, self.fault.mode)
        await self.world.turn()
        if not self.alive:
            raise Killed
        return answer

    def _check(self, call: Call) -> None:
        if not self.alive:
            raise Killed
        if self.unreachable is None or not applies(self.unreachable, call.effect):
            return
        if call.name in EFFECTS.get(call.port, ()):
            raise OutcomeUnknown("the store cannot be reached")
        raise StoreUnavailable("the store cannot be reached")

    async def _strike(self, call: Call, mode: Mode) -> Any:
        failed, answer = None, None
        await self.world.race("before")
        try:
            answer = await self._struck(call, mode)
        except MediagateError as error:
            failed = error
        if mode in KILLS:
            self.kill()
            raise Killed
        await self.world.race("after")
        if failed is not None:
            raise failed
        if mode in (Mode.GONE, Mode.READ_BACK):
            return answer
        if mode in _FATES and call.effect in TRANSACTIONS:
            return answer  # the store's own word: it reads back what it cannot acknowledge
        raise OutcomeUnknown("the answer was lost")

    async def _struck(self, call: Call, mode: Mode) -> Any:
        if mode is Mode.BEFORE:
            return None
        if mode in (Mode.LATE, Mode.IN_FLIGHT):
            return self.world.late.append(call.held_back())
        replica = self.world.metadata.replica
        if mode in _FATES:
            with replica.minority(_FATES[mode]):
                return await call.apply()
        if mode is Mode.READ_BACK:
            with replica.lost_answers():
                return await call.apply()
        answer = await call.apply()
        if mode in (Mode.CUT, Mode.NO_BLOBS):
            self.unreachable = mode
        if mode is Mode.GONE and self._request is not None:
            self.world.leave(self)
            self._request.cancel()
        return answer


def tracked_task(loop: asyncio.AbstractEventLoop, work: Any, **options: Any) -> asyncio.Task[Any]:
    """The loop's task factory: every task belongs to the process that began it."""
    task: asyncio.Task[Any] = asyncio.Task(work, loop=loop, **options)
    context = options.get("context")
    process = (contextvars.copy_context() if context is None else context).get(_CURRENT)
    if process is not None:
        process.tasks.add(task)
        task.add_done_callback(process.tasks.discard)
    return task
