"""Streams that end when their reader ends them, whoever keeps what."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator

import pytest

from llamaindex_failover._streams import aclosing_all, amapped, closing_all, mapped


class Source:
    """A stream that knows whether it was closed."""

    def __init__(self) -> None:
        self.closed = False

    def letters(self) -> Generator[str, None, None]:
        try:
            yield from "abc"
        finally:
            self.closed = True

    async def aletters(self) -> AsyncGenerator[str, None]:
        try:
            for letter in "abc":
                yield letter
        finally:
            self.closed = True


def refuse(letter: str) -> str:
    raise ValueError(letter)


async def test_a_stream_whose_conversion_fails_is_closed_though_someone_keeps_the_error() -> None:
    source, other = Source(), Source()
    with pytest.raises(ValueError, match="a") as kept:
        next(mapped(refuse, source.letters()))
    with pytest.raises(ValueError, match="a") as akept:
        await anext(amapped(refuse, other.aletters()))
    assert source.closed
    assert other.closed
    assert kept is not akept


async def test_conversions_keep_order_and_end() -> None:
    assert list(mapped(str.upper, Source().letters())) == ["A", "B", "C"]
    assert [each async for each in amapped(str.upper, Source().aletters())] == ["A", "B", "C"]


async def test_the_inner_stream_is_closed_with_the_outer_though_the_outer_forgets_it() -> None:
    source, other = Source(), Source()
    inner, ainner = source.letters(), other.aletters()

    def forgetful() -> Generator[str, None, None]:
        for letter in inner:  # noqa: UP028  # ``yield from`` would close it
            yield letter

    async def aforgetful() -> AsyncGenerator[str, None]:
        async for letter in ainner:
            yield letter

    outer, aouter = closing_all(forgetful(), inner), aclosing_all(aforgetful(), ainner)
    assert (next(outer), await anext(aouter)) == ("a", "a")
    outer.close()
    await aouter.aclose()
    assert source.closed
    assert other.closed
