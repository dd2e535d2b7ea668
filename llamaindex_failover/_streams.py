"""Streams that end when their reader ends them.

LlamaIndex's event decorators wrap a stream in a generator of their own and forget to close it: when a reader stops
early, the inner stream lives on until garbage collection finds it, and where a callback handler keeps the exception
(``LlamaDebugHandler`` does), that is never.  The connection would stay open and the model would go on writing.  So the
outermost layer is ours, and it closes every layer beneath it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def closing_all(outer: Generator[T, None, None], inner: Generator[T, None, None]) -> Generator[T, None, None]:
    try:
        yield from outer
    finally:
        inner.close()


async def aclosing_all(outer: AsyncGenerator[T, None], inner: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    try:
        async for item in outer:
            yield item
    finally:
        await outer.aclose()
        await inner.aclose()


def mapped(convert: Callable[[T], U], items: Generator[T, None, None]) -> Generator[U, None, None]:
    try:
        for item in items:
            yield convert(item)
    finally:
        items.close()


async def amapped(convert: Callable[[T], U], items: AsyncGenerator[T, None]) -> AsyncGenerator[U, None]:
    try:
        async for item in items:
            yield convert(item)
    finally:
        await items.aclose()
