"""What can be closed can stand in a ``with`` block, and in an ``async with`` one."""

from __future__ import annotations

from typing import Self


class Closing:
    """A ``with`` block ends with ``close``, an ``async with`` block with ``aclose``."""

    __slots__ = ()

    def close(self) -> None:
        raise NotImplementedError

    async def aclose(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()
