"""What is more than text: thoughts, media, objects."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from pydantic import BaseModel

from failover.testing import Reply
from llamaindex_failover.testing.bench import (
    MODES,
    OAK,
    PDF,
    PING,
    PNG,
    SAID,
    WISH,
    Ask,
    Bench,
    Theme,
    Tree,
    drained,
    holds,
    kinds,
    thinking_delta,
    tree,
    user,
)


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing about it."""

    def log_message(self, *args: object) -> None: ...


class Thoughts(Theme):
    """Thoughts are kept apart from the text and go back to the model that had them."""

    @pytest.mark.parametrize("ask", list(MODES.values())[:4], ids=list(MODES)[:4])
    async def test_thoughts_are_kept_apart_from_the_text(self, bench: Bench, ask: Ask) -> None:
        self.needs("shown thinking")
        bench.say(Reply("42", reasoning="Let me think."))
        responses = await ask(bench.llm, "?")
        message = responses[-1].message
        assert message.content == "42"
        (thought,) = (block for block in message.blocks if isinstance(block, ThinkingBlock))
        assert thought.content == "Let me think."
        if len(responses) > 1:
            told = [thinking_delta(each) for each in responses]
            assert "".join(told) == "Let me think."

    @pytest.mark.parametrize("ask", list(MODES.values())[:4], ids=list(MODES)[:4])
    async def test_thoughts_go_back_to_the_model_that_had_them(self, bench: Bench, ask: Ask) -> None:
        bench.say(Reply("42", reasoning="Let me think."), "Because.")
        turn = (await ask(bench.llm, "?"))[-1].message
        stored = ChatMessage.model_validate_json(turn.model_dump_json())
        assert bench.llm.chat([*user("?"), stored, *user("why?")]).message.content == "Because."
        assert bench.refusals() == []


class Sights(Theme):
    """Images, documents and marks for the prompt cache."""

    @pytest.fixture
    def picture(self, tmp_path: Path) -> Iterator[tuple[Path, str]]:
        """A picture as a file, and its address: some LLMs fetch it themselves, some leave that to the provider."""
        path = tmp_path / "dot.png"
        path.write_bytes(PNG)
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield path, f"http://127.0.0.1:{server.server_port}/dot.png"
            server.shutdown()

    @pytest.mark.parametrize("how", ["bytes", "url", "path"])
    def test_an_image_arrives(self, bench: Bench, how: str, picture: tuple[Path, str]) -> None:
        self.needs("images")
        path, url = picture
        shown = {"bytes": {"image": PNG}, "url": {"url": url}, "path": {"path": path}}[how]
        block = ImageBlock.model_validate(shown)
        assert bench.llm.chat([ChatMessage(role="user", blocks=[TextBlock(text="?"), block])]).message.content == SAID
        assert kinds(bench) == ["image"]
        assert holds(bench, PNG) or (how == "url" and holds(bench, url))

    def test_a_document_arrives(self, bench: Bench) -> None:
        self.needs("documents")
        block = DocumentBlock(data=PDF, document_mimetype="application/pdf", title="report.pdf")
        bench.llm.chat([ChatMessage(role="user", blocks=[TextBlock(text="?"), block])])
        assert kinds(bench) == ["document"]
        assert holds(bench, PDF)

    def test_an_image_in_a_tool_result_is_no_reason_to_fail(self, bench: Bench) -> None:
        self.needs("images")
        call = ToolCallBlock(tool_call_id="call_1", tool_name="ping", tool_kwargs={})
        shown = ChatMessage(
            role="tool",
            blocks=[TextBlock(text="see"), ImageBlock(image=PNG)],
            additional_kwargs={"tool_call_id": "call_1"},
        )
        history = [*user("?"), ChatMessage(role="assistant", blocks=[call]), shown]
        assert bench.llm.chat_with_tools([PING], chat_history=history).message.content == SAID
        assert holds(bench, PNG)
        assert bench.refusals() == []

    def test_a_cache_point_is_no_reason_to_fail(self, bench: Bench) -> None:
        point = CachePoint(cache_control=CacheControl(type="ephemeral"))
        turn = ChatMessage(role="user", blocks=[TextBlock(text="long"), point, TextBlock(text="short")])
        assert bench.llm.chat([turn]).message.content == SAID
        assert bench.refusals() == []


class Objects(Theme):
    """Answers as pydantic objects, in every way LlamaIndex has for it."""

    async def test_an_object_comes_back_whole_in_every_way(self, bench: Bench) -> None:
        bench.say(tree)
        assert bench.llm.structured_predict(Tree, WISH, kind="large") == OAK
        assert await bench.llm.astructured_predict(Tree, WISH, kind="large") == OAK
        assert list(bench.llm.stream_structured_predict(Tree, WISH, kind="large"))[-1] == OAK
        assert (await drained(await bench.llm.astream_structured_predict(Tree, WISH, kind="large")))[-1] == OAK
        assert bench.refusals() == []

    @pytest.mark.parametrize("way", ["predict", "apredict", "stream", "astream"])
    async def test_a_system_prompt_is_kept_when_an_object_is_asked_for(self, bench: Bench, way: str) -> None:
        bench.say(tree)
        llm = bench.llm
        llm.system_prompt = "Be brief."
        match way:
            case "predict":
                llm.structured_predict(Tree, WISH, kind="large")
            case "apredict":
                await llm.astructured_predict(Tree, WISH, kind="large")
            case "stream":
                list(llm.stream_structured_predict(Tree, WISH, kind="large"))
            case _:
                await drained(await llm.astream_structured_predict(Tree, WISH, kind="large"))
        assert [each.text for each in bench.asked.request.messages if each.role == "system"] == ["Be brief."]

    @pytest.mark.filterwarnings("ignore:The `json` method is deprecated")  # StructuredLLM.stream_chat calls it
    async def test_a_structured_llm_answers_with_objects(self, bench: Bench) -> None:
        bench.say(tree)
        structured = bench.llm.as_structured_llm(Tree)
        assert structured.chat(user("a tree")).raw == OAK
        assert (await structured.achat(user("a tree"))).raw == OAK
        assert list(structured.stream_chat(user("a tree")))[-1].raw == OAK

    async def test_an_object_is_visible_while_it_is_written(self, bench: Bench) -> None:
        bench.say(tree)
        seen = list(bench.llm.stream_structured_predict(Tree, WISH, kind="large"))
        assert seen[-1] == OAK
        assert all(isinstance(each, BaseModel) for each in seen)

    def test_something_else_than_the_object_is_an_error(self, bench: Bench) -> None:
        bench.say("I would rather not.")
        with pytest.raises(Exception, match=r"."):
            bench.llm.structured_predict(Tree, WISH, kind="large")
