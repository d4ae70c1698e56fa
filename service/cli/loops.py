"""Running one worker as a command of its own, until somebody stops it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from service.settings import Settings
    from service.usecases.runtime import Runtime


async def run_until_stopped(
    settings: Settings, worker: Callable[[Runtime], Awaitable[None]]
) -> None:
    """Until SIGTERM or Ctrl-C."""
    from service.app import open_runtime

    async with open_runtime(settings) as runtime:
        running = asyncio.ensure_future(worker(runtime))
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, running.cancel)
        with suppress(asyncio.CancelledError):
            await running
