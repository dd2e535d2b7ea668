"""Python function calls of one call, by function: a measure without noise.

    python -m benchmarks.count            # what the core adds to a call and to a chunk, and the profile

Counted is what runs above the transport: a function of the interpreter's that is entered (a generator each time it is
resumed) counts one, unless some httpx function is beneath it on the stack.  The request is answered by a transport
in this process.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import httpx

import failover
from failover import Budget, Failover, Target, Timeouts
from failover.types import Message, Request

HERE = os.path.dirname(failover.__file__) + os.sep
BENEATH = (os.path.dirname(httpx.__file__) + os.sep, HERE + "_connections.py", HERE + "_deadline.py")
"""The transport: httpx, and what hands it a request."""
PRICED = "gpt-4o-mini"
NOWHERE = "http://bench.invalid/v1"
CHUNKS = 200

ANSWER = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1790000000,"model":"gpt-4o-mini-2024-07-18",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"A short answer.","refusal":null},'
    b'"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":5,"total_tokens":25,'
    b'"prompt_tokens_details":{"cached_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}},'
    b'"service_tier":"default","system_fingerprint":"fp_1"}'
)


def event(delta: str, finish: str = "null", usage: str = "null") -> bytes:
    return (
        'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1790000000,"model":"gpt-4o-mini",'
        f'"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}],"usage":{usage}}}\n\n'
    ).encode()


def events(chunks: int) -> list[bytes]:
    """A stream of so many chunks of content, as OpenAI sends it."""
    usage = f'{{"prompt_tokens":20,"completion_tokens":{chunks},"total_tokens":{chunks + 20}}}'
    last = f'data: {{"id":"chatcmpl-1","model":"gpt-4o-mini","choices":[],"usage":{usage}}}\n\n'.encode()
    return [
        event('{"role":"assistant","content":"","refusal":null}'),
        *(event(f'{{"content":" word{number}"}}') for number in range(chunks)),
        event("{}", '"stop"'),
        last,
        b"data: [DONE]\n\n",
    ]


class Scripted(httpx.BaseTransport):
    """Answers every request at once; a stream in pieces of ten events."""

    def __init__(self, chunks: int = CHUNKS) -> None:
        whole = events(chunks)
        self._pieces = [b"".join(whole[at : at + 10]) for at in range(0, len(whole), 10)]

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if b'"stream":true' in request.read():
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=iter(self._pieces))
        return httpx.Response(200, headers={"content-type": "application/json"}, content=ANSWER)


def protected(base_url: str, **options: Any) -> Failover:
    """A core with every protection on: breaker, limiter, budget, cache, retries, and a target to fall back on."""
    targets = [
        Target(name, provider="openai", model=PRICED, base_url=base_url, api_key="sk-bench", rpm=10**9, tpm=10**12)
        for name in ("one", "two")
    ]
    patient = Timeouts(connect=60.0)  # a loop that opens 1,000 connections is slow to look at each
    return Failover(targets, budget=Budget(10**6), timeouts=patient, **options)


def counted(call: Callable[[], object]) -> Counter[str]:
    """How often each function above the transport was entered while ``call`` ran."""
    entered: Counter[str] = Counter()
    outermost: FrameType | None = None

    def note(frame: FrameType, what: str, argument: object) -> None:
        nonlocal outermost
        if what == "call" and outermost is None:
            if frame.f_code.co_filename.startswith(BENEATH):
                outermost = frame
            else:
                entered[_name(frame)] += 1
        elif what == "return" and frame is outermost:
            outermost = None

    gc.disable()  # it calls what it finds to be called
    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
        gc.enable()
    return entered


def _name(frame: FrameType) -> str:
    path = frame.f_code.co_filename.rsplit(os.sep, 2)
    return f"{'/'.join(path[1:])}: {frame.f_code.co_qualname}"


def prompt(number: int) -> list[Message]:
    """A request of about 1 kB, each one different."""
    question = f"Question {number}: what is the difference between a retry and a failover? " + "Say it shortly. " * 50
    return [Message("system", "You are a helpful assistant."), Message("user", question)]


def asked() -> Request:
    return Request(tuple(prompt(0)))


def of_a_call() -> Counter[str]:
    with httpx.Client(transport=Scripted()) as client, protected(NOWHERE, client=client) as guard:
        for number in range(3):
            guard.complete(prompt(number))
        words = prompt(3)
        return counted(lambda: guard.complete(words))


def of_a_stream(chunks: int) -> Counter[str]:
    with (
        httpx.Client(transport=Scripted(chunks)) as client,
        protected(NOWHERE, client=client) as guard,
    ):
        list(guard.stream(prompt(0)))
        words = prompt(1)
        return counted(lambda: list(guard.stream(words)))


def of_a_plain_call() -> Counter[str]:
    """As the defaults are: breaker, response cache and retries; no budget, no limits."""
    with httpx.Client(transport=Scripted()) as client:
        target = Target("one", provider="openai", model=PRICED, base_url=NOWHERE, api_key="sk-bench")
        guard = Failover([target], client=client)
        for number in range(3):
            guard.complete(prompt(number))
        words = prompt(3)
        return counted(lambda: guard.complete(words))


def of_a_chunk() -> float:
    return (of_a_stream(2 * CHUNKS).total() - of_a_stream(CHUNKS).total()) / CHUNKS


def main() -> None:
    plain, call, stream = of_a_plain_call(), of_a_call(), of_a_stream(CHUNKS)
    print(f"function calls above the transport: {plain.total()} a call, {call.total()} with every protection on,")
    print(f"{of_a_chunk():.2f} a chunk")
    for title, entered in (("a call", plain), (f"a stream of {CHUNKS} chunks", stream)):
        print(f"\n{title}:")
        for name, times in entered.most_common():
            print(f"{times:6}  {name}")


if __name__ == "__main__":
    main()
