"""Prompts, identity, and a life among loops, threads and processes."""

from __future__ import annotations

import asyncio
import copy
import gc
import json
import pickle
import threading

import pytest

from failover.testing import Reply, Slow
from llamaindex_failover.testing.bench import (
    MODES,
    SAID,
    WISH,
    Bench,
    Shouting,
    Theme,
    Waiting,
    text_of,
    user,
)


class Prompts(Theme):
    """Templates, system prompts, parsers and options reach the model."""

    async def test_predict_takes_template_and_system_prompt_in_all_four_ways(self, bench: Bench) -> None:
        bench.llm.system_prompt = "Be brief."
        said = [bench.llm.predict(WISH, kind="tall"), await bench.llm.apredict(WISH, kind="tall")]
        said.append("".join(bench.llm.stream(WISH, kind="tall")))
        said.append("".join([token async for token in await bench.llm.astream(WISH, kind="tall")]))
        assert said == [SAID] * 4
        asked = [each.question.request for each in bench.received if each.question]
        assert {(each.messages[0].text, each.messages[-1].text) for each in asked} == {
            ("Be brief.", "Name a tall tree.")
        }

    async def test_an_output_parser_has_its_say_before_and_after(self, bench: Bench) -> None:
        bench.llm.output_parser = Shouting()
        assert bench.llm.predict(WISH, kind="tall") == SAID.upper()
        assert await bench.llm.apredict(WISH, kind="tall") == SAID.upper()
        assert bench.asked.request.messages[-1].text == "Name a tall tree. Loud!"

    def test_options_of_a_call_reach_the_model(self, bench: Bench) -> None:
        bench.llm.chat(user("hi"), max_tokens=77, temperature=0.3)
        assert bench.asked.request.max_tokens == 77
        assert bench.asked.request.temperature in (0.3, None)


class Identity(Theme):
    """What it says of itself, and what becomes of its copies."""

    def test_metadata_says_what_it_is(self, bench: Bench) -> None:
        facts = bench.llm.metadata
        assert facts.is_chat_model
        assert facts.is_function_calling_model
        assert facts.context_window > 8000
        assert facts.model_name

    def test_it_can_be_written_down_without_its_key(self, bench: Bench) -> None:
        key = bench.providers[0].key
        data = bench.llm.to_dict()
        assert data["class_name"] == bench.llm.class_name()
        assert key not in json.dumps(data)
        assert key not in repr(bench.llm) + str(bench.llm)

    def test_it_can_be_read_back_from_what_was_written_down(self, bench: Bench) -> None:
        self.needs("storage")
        data = json.loads(json.dumps(bench.llm.to_dict()))
        there = type(bench.llm).from_dict(data)
        assert there.chat(user("hi")).message.content == SAID

    def test_copies_work(self, bench: Bench) -> None:
        for each in (copy.copy(bench.llm), copy.deepcopy(bench.llm), bench.llm.model_copy(update={"temperature": 0.5})):
            assert each.chat(user("hi")).message.content == SAID

    def test_it_can_be_sent_to_another_process(self, bench: Bench) -> None:
        self.needs("storage")
        bench.llm.chat(user("hi"))
        sent = pickle.dumps(bench.llm)
        there = pickle.loads(sent)
        assert there.chat(user("hi")).message.content == SAID
        del there
        gc.collect()
        assert bench.providers[0].key.encode() not in sent


class Lifecycle(Theme):
    """Loops, threads, many calls at once, and calls that are cancelled."""

    def test_it_survives_one_event_loop_after_the_other(self, bench: Bench) -> None:
        for _ in range(3):
            assert asyncio.run(bench.llm.achat(user("hi"))).message.content == SAID
        assert bench.llm.chat(user("hi")).message.content == SAID

    async def test_many_calls_at_once_do_not_mix(self, bench: Bench) -> None:
        bench.say(lambda question: Reply(f"You said {question.request.messages[-1].text}"))
        names = [f"n{number}" for number in range(24)]
        whole = await asyncio.gather(*(bench.llm.achat(user(name)) for name in names))
        assert [each.message.content for each in whole] == [f"You said {name}" for name in names]
        streams = await asyncio.gather(*(MODES["astream_chat"](bench.llm, name) for name in names))
        assert [text_of(each[-1]) for each in streams] == [f"You said {name}" for name in names]

    def test_many_threads_at_once_do_not_mix(self, bench: Bench) -> None:
        bench.say(lambda question: Reply(f"You said {question.request.messages[-1].text}"))
        found: dict[str, str] = {}

        def ask(name: str) -> None:
            found[name] = bench.llm.chat(user(name)).message.content

        threads = [threading.Thread(target=ask, args=(f"n{number}",)) for number in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == {f"n{number}": f"You said n{number}" for number in range(12)}

    async def test_a_cancelled_call_ends_the_request(self, bench: Bench) -> None:
        bench.trouble(Slow(head=5.0))
        task = asyncio.create_task(bench.llm.achat(user("hi")))
        assert await asyncio.to_thread(Waiting.until, lambda: bool(bench.received))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gc.collect()
        assert await asyncio.to_thread(Waiting.until, lambda: bench.received[-1].aborted)

    async def test_a_cancelled_stream_ends_the_request(self, bench: Bench) -> None:
        bench.trouble(Slow(between=0.05, answer=Reply("word " * 100)))
        task = asyncio.create_task(MODES["astream_chat"](bench.llm, "hi"))
        assert await asyncio.to_thread(Waiting.until, lambda: any(each.pieces > 3 for each in bench.received))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gc.collect()
        assert await asyncio.to_thread(Waiting.until, lambda: bench.received[-1].aborted)
