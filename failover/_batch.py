"""Many prompts, a few at a time: results in the order of the prompts, and a bar that tells cost and time left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from failover._prompt import Prompt
from failover.errors import ConfigurationError
from failover.types import Result


class Bar:
    """Nothing to see.  ``Progress`` is one to see."""

    def add(self, result: Result) -> Result:
        return result

    def close(self) -> None:
        """Nothing to end."""


class Progress(Bar):
    """tqdm's bar, with what was spent and what failed so far."""

    def __init__(self, total: int) -> None:
        self._bar = _tqdm()(total=total, unit="call")
        self._cost = 0.0
        self._failed = 0

    def add(self, result: Result) -> Result:
        self._cost += float(result.cost)
        self._failed += not result.success
        failed = f", {self._failed} failed" if self._failed else ""
        self._bar.set_postfix_str(f"${self._cost:.4f}{failed}", refresh=False)
        self._bar.update()
        return result

    def close(self) -> None:
        self._bar.close()


def _tqdm() -> Any:
    """Its widget where widgets can be shown, else its line of text."""
    try:
        return import_module("tqdm.auto" if find_spec("ipywidgets") else "tqdm").tqdm
    except ImportError:
        raise ConfigurationError("progress needs tqdm: pip install 'failover[notebook]'") from None


def bar(progress: bool, total: int) -> Bar:
    return Progress(total) if progress else Bar()


def checked(concurrency: int) -> int:
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise ConfigurationError(f"concurrency = {concurrency!r}: write a whole number >= 1")
    return concurrency


def run(ask: Callable[[Prompt], Result], prompts: Iterable[Prompt], concurrency: int, progress: bool) -> list[Result]:
    """With ``concurrency`` threads; whatever interrupts it lets what is under way end, and begins nothing more."""
    asked: Sequence[Prompt] = list(prompts)
    pool = ThreadPoolExecutor(checked(concurrency))
    with closing(bar(progress, len(asked))) as shown:
        try:
            under_way = [pool.submit(ask, prompt) for prompt in asked]
            for done in as_completed(under_way):
                shown.add(done.result())
            return [each.result() for each in under_way]
        finally:
            pool.shutdown(cancel_futures=True)


async def arun(
    ask: Callable[[Prompt], Awaitable[Result]], prompts: Iterable[Prompt], concurrency: int, progress: bool
) -> list[Result]:
    """On the running event loop; whatever interrupts it cancels what is under way."""
    asked: Sequence[Prompt] = list(prompts)
    room = asyncio.Semaphore(checked(concurrency))
    with closing(bar(progress, len(asked))) as shown:

        async def one(prompt: Prompt) -> Result:
            async with room:
                return shown.add(await ask(prompt))

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(prompt)) for prompt in asked]
        return [task.result() for task in tasks]
