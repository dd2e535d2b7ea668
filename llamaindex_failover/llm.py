"""``FailoverLLM``: a LlamaIndex LLM that survives its provider.

All eight ways to call it (whole or streamed, chat or completion, sync or async) end in one of the four doors of one
shared ``Failover``; what is here translates, and tells LlamaIndex about it exactly once per call:

- events are raised by LlamaIndex's own decorators on the public methods, and nothing beneath them is decorated;
- streams are snapshots (``_results``), and close their connection when their reader stops (``_streams``);
- answers remember who wrote them, so that a conversation stays where it is while that target lives (``_authors``).

The live ``Failover`` is shared by copies (``model_copy``, ``deepcopy``).  A pickle carries configuration only.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, cast

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    ChatResponseGen,
    CompletionResponse,
    CompletionResponseAsyncGen,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.callbacks import CallbackManager
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.instrumentation.events.llm import LLMStructuredPredictEndEvent, LLMStructuredPredictStartEvent
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import LLM, CompletionToPromptType, MessagesToPromptType, ToolSelection
from llama_index.core.prompts import BasePromptTemplate, PromptTemplate
from llama_index.core.tools.types import BaseTool
from llama_index.core.types import BaseOutputParser, PydanticProgramMode
from llama_index_instrumentation import get_dispatcher
from pydantic import (
    BaseModel,
    Field,
    PrivateAttr,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
)

from failover._closing import Closing
from failover.client import Failover
from failover.errors import ConfigurationError
from failover.settings import Target
from failover.types import CallOptions, Chunk, Message, Response
from llamaindex_failover import _structured
from llamaindex_failover._authors import Authors
from llamaindex_failover._configuration import Orchestration, dumped, refuse_unknown, revived
from llamaindex_failover._messages import to_messages
from llamaindex_failover._options import fields_of
from llamaindex_failover._results import Snapshots, to_chat_response, to_completion
from llamaindex_failover._streams import aclosing_all, amapped, closing_all, mapped
from llamaindex_failover._target import as_target
from llamaindex_failover._tools import described, keep_first_call, selections

if TYPE_CHECKING:
    from failover.testing import ScriptedProvider

dispatcher = get_dispatcher(__name__)
logger = logging.getLogger("llamaindex_failover")
Method = TypeVar("Method", bound=Callable[..., Any])


def chat_announced(method: Method) -> Method:
    """LlamaIndex's ``llm_chat_callback``, which would take the types away."""
    return cast(Method, llm_chat_callback()(method))


def completion_announced(method: Method) -> Method:
    """LlamaIndex's ``llm_completion_callback``, which would take the types away."""
    return cast(Method, llm_completion_callback()(method))


class FailoverLLM(Closing, FunctionCallingLLM):
    """One LLM over several targets: model strings, ``Target`` objects, or other LlamaIndex LLMs.

    targets: see ``Failover``; LlamaIndex LLMs are wrapped with ``as_target`` by themselves.
    failover: a ``Failover`` of your own in place of ``targets``, to share budget and breakers with others.
    temperature, max_tokens, additional_kwargs: defaults for every call; ``additional_kwargs`` takes any option that a
        call takes (see below).  Whatever a call says wins.
    context_window: tokens; by default the smallest window among the targets.
    callback_manager, system_prompt, output_parser, ...: as in every LlamaIndex LLM.
    settings: whatever else ``Failover`` takes (strategy, budget, response_cache, ...); only together with ``targets``.

    Every method takes these options with a call: ``tools``, ``tool_choice``, ``parallel_tool_calls``,
    ``response_format``, ``max_tokens``, ``temperature``, ``top_p``, ``top_k``, ``stop``, ``seed``,
    ``presence_penalty``, ``frequency_penalty``, ``logprobs``, ``top_logprobs``, ``reasoning_effort``, ``thinking``,
    ``extra_body``, and of failover's own ``prefer`` (names of targets to try first), ``deadline`` (seconds for the
    whole call), ``max_retries``, ``response_cache`` (False: neither read nor written) and ``labels``.

    Who answered, what it cost and what was tried stands in ``response.additional_kwargs["failover"]``.
    Raises ``ConfigurationError`` when built wrongly, and ``FailoverError``'s kin when a call fails.
    """

    temperature: float | None = Field(default=None, description="Sampling temperature of every call.", ge=0)
    max_tokens: int | None = Field(default=None, description="Most tokens an answer may have.", gt=0)
    context_window: int | None = Field(default=None, description="Tokens; default: the smallest of the targets.", gt=0)
    additional_kwargs: dict[str, Any] = Field(default_factory=dict, description="Options of every call.")

    _failover: Failover = PrivateAttr()
    _owned: bool = PrivateAttr()
    _authors: Authors = PrivateAttr()

    def __init__(
        self,
        targets: Sequence[str | Target | LLM] | str | Target | LLM | None = None,
        *,
        failover: Failover | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        context_window: int | None = None,
        additional_kwargs: dict[str, Any] | None = None,
        callback_manager: CallbackManager | None = None,
        rate_limiter: Any = None,
        system_prompt: str | None = None,
        messages_to_prompt: MessagesToPromptType | None = None,
        completion_to_prompt: CompletionToPromptType | None = None,
        output_parser: BaseOutputParser | None = None,
        pydantic_program_mode: PydanticProgramMode = PydanticProgramMode.DEFAULT,
        **settings: Unpack[Orchestration],
    ) -> None:
        super().__init__(
            temperature=temperature,
            max_tokens=max_tokens,
            context_window=context_window,
            additional_kwargs=additional_kwargs or {},
            callback_manager=callback_manager or CallbackManager([]),
            rate_limiter=rate_limiter,
            system_prompt=system_prompt,
            messages_to_prompt=messages_to_prompt,
            completion_to_prompt=completion_to_prompt,
            output_parser=output_parser,
            pydantic_program_mode=pydantic_program_mode,
        )
        fields_of(self.additional_kwargs)
        self._failover = _orchestrator(targets, failover, settings)
        self._owned = failover is None
        self._authors = Authors()

    @classmethod
    def from_env(cls, **settings: Any) -> Self:
        """One target for each provider that has a key in the environment; ``settings`` as in the constructor."""
        found = Failover.from_env()
        return cls(found.targets, **settings)

    @classmethod
    def simulated(cls, *providers: ScriptedProvider, **settings: Any) -> Self:
        """Over scripted providers in this process, with trouble on a timeline: no key, no network.

        Give your own ``ScriptedProvider`` objects for other troubles.
        """
        from failover.testing import simulation

        return cls(**simulation(*providers), **settings)

    @classmethod
    def class_name(cls) -> str:
        return "FailoverLLM"

    @property
    def failover(self) -> Failover:
        """The live orchestrator: ``status()``, ``budget``, ``enable(name)``.  Give it to others to share it."""
        return self._failover

    @property
    def metadata(self) -> LLMMetadata:
        """What holds whoever answers: the smallest window, and only abilities that every target has."""
        abilities = self._failover.abilities
        windows = [facts.context_window for facts in abilities if facts.context_window is not None]
        return LLMMetadata(
            context_window=self.context_window or min(windows, default=DEFAULT_CONTEXT_WINDOW),
            num_output=self.max_tokens or -1,
            is_chat_model=True,
            is_function_calling_model=all(facts.tools for facts in abilities),
            model_name=", ".join(target.name for target in self._failover.targets),
            system_role=MessageRole.SYSTEM,
        )

    # ---------------------------------------------------------------- chat

    @chat_announced
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return self._answer(messages, kwargs)

    @chat_announced
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return await self._aanswer(messages, kwargs)

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
        pieces = self._pieces(messages, kwargs)

        @llm_chat_callback()
        def announced(self: Self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseGen:
            return pieces

        return closing_all(announced(self, messages, **kwargs), pieces)

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
        pieces = self._apieces(messages, kwargs)

        @llm_chat_callback()
        async def announced(self: Self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponseAsyncGen:
            return pieces

        return aclosing_all(await announced(self, messages, **kwargs), pieces)

    # ---------------------------------------------------------- completion

    @completion_announced
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return to_completion(self._answer(self._asked(prompt, formatted), kwargs))

    @completion_announced
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        return to_completion(await self._aanswer(self._asked(prompt, formatted), kwargs))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        pieces = mapped(to_completion, self._pieces(self._asked(prompt, formatted), kwargs))

        @llm_completion_callback()
        def announced(self: Self, prompt: str, **kwargs: Any) -> CompletionResponseGen:
            return pieces

        return closing_all(announced(self, prompt, **kwargs), pieces)

    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseAsyncGen:
        pieces = amapped(to_completion, self._apieces(self._asked(prompt, formatted), kwargs))

        @llm_completion_callback()
        async def announced(self: Self, prompt: str, **kwargs: Any) -> CompletionResponseAsyncGen:
            return pieces

        return aclosing_all(await announced(self, prompt, **kwargs), pieces)

    def _asked(self, prompt: str, formatted: bool) -> list[ChatMessage]:
        if not formatted and self.completion_to_prompt is not None:
            prompt = self.completion_to_prompt(prompt)
        return [ChatMessage(role=MessageRole.USER, content=prompt)]

    # ----------------------------------------------------- beneath the events

    def _answer(self, messages: Sequence[ChatMessage], options: Mapping[str, Any]) -> ChatResponse:
        prompt, fields = self._translated(messages, options)
        return self._noted(self._failover.complete(prompt, **fields), fields)

    async def _aanswer(self, messages: Sequence[ChatMessage], options: Mapping[str, Any]) -> ChatResponse:
        prompt, fields = self._translated(messages, options)
        return self._noted(await self._failover.acomplete(prompt, **fields), fields)

    def _pieces(self, messages: Sequence[ChatMessage], options: Mapping[str, Any]) -> ChatResponseGen:
        prompt, fields = self._translated(messages, options)
        return mapped(self._snapshots(fields), self._failover.stream(prompt, **fields))

    def _apieces(self, messages: Sequence[ChatMessage], options: Mapping[str, Any]) -> ChatResponseAsyncGen:
        prompt, fields = self._translated(messages, options)
        return amapped(self._snapshots(fields), self._failover.astream(prompt, **fields))

    def _translated(
        self, messages: Sequence[ChatMessage], options: Mapping[str, Any]
    ) -> tuple[Sequence[Message], CallOptions]:
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        given = {**self.additional_kwargs, **{word: value for word, value in own.items() if value is not None}}
        fields = fields_of({**given, **options})
        fields["origin"] = tuple(messages)
        return to_messages(messages, self._authors.of), fields

    def _noted(self, response: Response, fields: CallOptions) -> ChatResponse:
        return self._own(to_chat_response(response), response, fields)

    def _snapshots(self, fields: CallOptions) -> Any:
        """Turns a stream's chunks into snapshots, one after the other."""
        snapshots = Snapshots()

        def snapshot(chunk: Chunk) -> ChatResponse:
            return self._own(snapshots.feed(chunk), chunk.response, fields)

        return snapshot

    def _own(self, chat: ChatResponse, response: Response | None, fields: CallOptions) -> ChatResponse:
        """The answer as the caller wants it, with its author remembered once it is whole."""
        if response is not None:
            self._authors.remember(chat.message, response.author)
        return keep_first_call(chat) if fields.get("parallel_tool_calls") is False else chat

    # --------------------------------------------------------------- tools

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The keyword arguments for ``chat``; the history given is not touched."""
        if isinstance(user_msg, str):
            user_msg = ChatMessage(role=MessageRole.USER, content=user_msg)
        messages = [*(chat_history or ()), *([user_msg] if user_msg else ())]
        if not tools:
            return {"messages": messages, **kwargs}
        return {
            "messages": messages,
            "tools": [described(tool) for tool in tools],
            "tool_choice": tool_choice or ("required" if tool_required else "auto"),
            "parallel_tool_calls": allow_parallel_tool_calls,
            **kwargs,
        }

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The calls of a response; raises ``ValueError`` when there are none, unless told not to."""
        calls = selections(response.message)
        if not calls and error_on_no_tool_call:
            raise ValueError("Expected at least one tool call, but got 0 tool calls.")
        return calls

    # -------------------------------------------------- structured output

    def structured_predict(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """An object of ``output_cls``; see ``_structured`` for how it is asked for.

        Raises ``StructuredOutputError`` (a ``ValueError``) when the model wrote something else.
        """
        if self.pydantic_program_mode is not PydanticProgramMode.DEFAULT:
            return super().structured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
        dispatcher.event(_structured_start(output_cls, prompt, prompt_args))
        way, messages, options = self._wish(_structured.WHOLE, output_cls, prompt, llm_kwargs, prompt_args)
        result = _structured.read(way, output_cls, self.chat(messages, **options))
        dispatcher.event(LLMStructuredPredictEndEvent(output=result))
        return result

    async def astructured_predict(
        self,
        output_cls: type[Any],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Any:
        """``structured_predict`` on the running event loop."""
        if self.pydantic_program_mode is not PydanticProgramMode.DEFAULT:
            return await super().astructured_predict(output_cls, prompt, llm_kwargs, **prompt_args)
        dispatcher.event(_structured_start(output_cls, prompt, prompt_args))
        way, messages, options = self._wish(_structured.WHOLE, output_cls, prompt, llm_kwargs, prompt_args)
        result = _structured.read(way, output_cls, await self.achat(messages, **options))
        dispatcher.event(LLMStructuredPredictEndEvent(output=result))
        return result

    def _structured_stream_call(
        self,
        output_cls: type[Any],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        if self.pydantic_program_mode is not PydanticProgramMode.DEFAULT:
            return super()._structured_stream_call(output_cls, prompt, llm_kwargs, **prompt_args)
        way, messages, options = self._wish(_structured.STREAMED, output_cls, prompt, llm_kwargs, prompt_args)
        return _structured.growing(way, output_cls, self.stream_chat(messages, **options))

    async def _structured_astream_call(
        self,
        output_cls: type[Any],
        prompt: PromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        if self.pydantic_program_mode is not PydanticProgramMode.DEFAULT:
            return await super()._structured_astream_call(output_cls, prompt, llm_kwargs, **prompt_args)
        way, messages, options = self._wish(_structured.STREAMED, output_cls, prompt, llm_kwargs, prompt_args)
        return _structured.agrowing(way, output_cls, await self.astream_chat(messages, **options))

    def _wish(
        self,
        ways: Sequence[_structured.Way],
        wanted: type[BaseModel],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None,
        prompt_args: dict[str, Any],
    ) -> tuple[_structured.Way, list[ChatMessage], dict[str, Any]]:
        """How to ask for an object: the way, messages (system prompt included) and options of a call.

        What the caller says about tools in ``llm_kwargs`` would contradict the way, and is left out, as LlamaIndex's
        own programs do.
        """
        way = _structured.way_for(self._failover.abilities, ways)
        messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
        given = {word: value for word, value in (llm_kwargs or {}).items() if word not in ABOUT_THE_WAY}
        return way, way.phrase(wanted, messages), {**given, **way.options(wanted)}

    # ------------------------------------------------------------- storage

    @model_serializer(mode="wrap")
    def custom_model_dump(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """The fields and the orchestrator's configuration, without keys."""
        return {**handler(self), **dumped(self._failover), "class_name": self.class_name()}

    @classmethod
    def from_dict(cls, data: dict[str, Any], **kwargs: Any) -> Self:
        """From what ``to_dict`` gave; keys come from the environment.  ``kwargs`` win over ``data``."""
        given = {**data, **kwargs}
        given.pop("class_name", None)
        return cls(**revived(given))

    def __getstate__(self) -> dict[str, Any]:
        """Configuration only; callbacks and rate limiters stay in this process.

        Raises ``ConfigurationError`` where a budget would be multiplied.  That is logged as well: LlamaIndex's
        components leave out what cannot be pickled, and their worker processes would only miss their ``llm``.
        """
        try:
            self._failover.__reduce__()
        except ConfigurationError as error:
            logger.warning("%s: %s", self, error)
            raise
        state = BaseModel.__getstate__(self)
        return {**state, "__dict__": {**state["__dict__"], "callback_manager": None, "rate_limiter": None}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        BaseModel.__setstate__(self, state)
        self.callback_manager = CallbackManager([])

    # ------------------------------------------------------------- the end

    def close(self) -> None:
        """Close the connections of the synchronous methods.  A ``Failover`` that you gave stays open."""
        if self._owned:
            self._failover.close()

    async def aclose(self) -> None:
        """Close all connections.  A ``Failover`` that you gave stays open."""
        if self._owned:
            await self._failover.aclose()

    def __repr__(self) -> str:
        return f"FailoverLLM([{', '.join(repr(target.name) for target in self._failover.targets)}])"

    __str__ = __repr__


ABOUT_THE_WAY = frozenset(
    {"tools", "tool_choice", "tool_required", "allow_parallel_tool_calls", "parallel_tool_calls", "response_format"}
)


def _orchestrator(given: Any, failover: Failover | None, settings: Orchestration) -> Failover:
    if failover is not None:
        if given is not None or settings:
            raise ConfigurationError("FailoverLLM: give failover= or targets with their settings, not both")
        return failover
    if given is None:
        raise ConfigurationError(
            'FailoverLLM: give targets, such as ["openai:gpt-6-luna"], or failover=..., or use FailoverLLM.from_env()'
        )
    refuse_unknown(settings)
    one = (given,) if isinstance(given, str | Target | LLM) else given
    return Failover([as_target(each) if isinstance(each, LLM) else each for each in one], **settings)


def _structured_start(wanted: type[Any], prompt: Any, prompt_args: dict[str, Any]) -> LLMStructuredPredictStartEvent:
    return LLMStructuredPredictStartEvent(output_cls=wanted, template=prompt, template_args=prompt_args)
