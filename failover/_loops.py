"""What belongs to one event loop, and ends with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable


class UntilLoopEnds:
    """Closes something with the event loop that it was opened on.

    ``asyncio.run`` closes every async generator that is still open before it closes its loop; one that waits in the
    middle is how something learns that its loop ends.
    """

    def __init__(self, aclose: Callable[[], Awaitable[None]]) -> None:
        self.over = False
        self._aclose = aclose
        self._keeper = self._keep()

    async def begin(self) -> None:
        await anext(self._keeper)

    async def aclose(self) -> None:
        """Close it now."""
        await self._keeper.aclose()

    async def _keep(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self.over = True
            await self._aclose()
