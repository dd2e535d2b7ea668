"""``ChatFailover``: a LangChain chat model that any of several providers may answer.

It adds nothing to what LangChain does around a call (callbacks, caches, streams, events) and nothing to what
``Failover`` does inside one; it translates between them.

- One live core.  ``failover`` holds it; ``model_copy``, ``deepcopy``, ``bind``, ``with_config`` and
  ``configurable_fields`` share it.  Fields that shape it (targets, budget, strategy, ...) are fixed when it is built;
  fields that shape a call (temperature, timeout, prefer, ...) may differ from copy to copy and from call to call.
- Native in every door: the async ones run on the event loop, nothing is handed to threads.
- One run per call in a trace.  What was survived stands in ``response_metadata["failover"]``.
- Unknown keywords are errors, when built and when called.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from inspect import signature
from typing import TYPE_CHECKING, Any, Self, cast
from uuid import uuid4

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun, Callbacks
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.model_profile import ModelProfile
from langchain_core.messages import LC_ID_PREFIX, AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult, Generation, LLMResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import ensure_config
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator

from failover import tokens
from failover._checked import without_userinfo
from failover._closing import Closing
from failover._configured import setting
from failover.client import Failover
from failover.errors import ConfigurationError
from failover.settings import Cache, CircuitBreaker, Hedge, Retry, Target, Timeouts
from failover.types import CallOptions
from langchain_failover._given import explained, keyed, target_of
from langchain_failover._messages import ENTRY, messages_of
from langchain_failover._options import RUN_OPTIONS, labels_in, options_of
from langchain_failover._profile import profile_of
from langchain_failover._results import pieces, result_of
from langchain_failover._saved import saved_options, saved_targets, variable_of
from langchain_failover._structured import Method, parsed, parser_of, surest_method
from langchain_failover._tools import AnyTool, openai_tools, schema_format

if TYPE_CHECKING:
    from failover.testing import ScriptedProvider

BYTES_PER_TOKEN = 3.8
"""Of English prose under OpenAI's o200k vocabulary, as measured; code and most other languages have 3.6 to 4.6."""

DEFAULTS = {name: parameter.default for name, parameter in signature(Failover).parameters.items()}

SHAPING = tuple(name for name in DEFAULTS if name not in ("targets", "deadline", "response_cache"))
"""Options of the core; ``response_cache`` is one too, but can also be switched off for one copy."""

CALLING = (
    "temperature",
    "max_tokens",
    "top_p",
    "top_k",
    "seed",
    "presence_penalty",
    "frequency_penalty",
    "reasoning_effort",
    "thinking",
    "extra_body",
    "timeout",
    "max_retries",
    "prefer",
    "labels",
)
"""Fields that are the defaults of a call's options."""


HIDDEN = ("targets", "metadata", "profile")
"""Fields a repr leaves out: shown otherwise, LangChain's notes about itself, and what follows from the targets."""


class ChatFailover(Closing, BaseChatModel):
    """A chat model that survives what its providers do.

    targets: model strings (``"provider:model"``), ``Target`` objects, or LangChain chat models, in any mixture.
    failover: a live ``Failover`` in their place, so that several models share its breakers and budget.
    api_key: for targets given as strings: one key, or one per provider (``{"openai": "..."}``); default: the
        environment.
    strategy, budget, response_cache, breaker, retry, timeouts, max_wait, store, on_store_lost, on_stream_cut,
        on_content_filter, hedge, listeners, client, async_client, http2: as in ``Failover``.
    temperature, max_tokens, top_p, top_k, seed, presence_penalty, frequency_penalty, reasoning_effort, thinking,
        stop, extra_body: defaults of every call.
    timeout: seconds a whole call may take, over all attempts (default 600).
    max_retries: how often the same target may be asked again within a call.
    prefer: names of targets to try first.  labels: for budgets kept per label, and for telemetry.
    streaming: True makes ``invoke`` stream underneath.

    All of the call's options can be given per call as well (``invoke(..., prefer=[...])``, ``bind``), with
    ``response_cache=False`` and ``model="..."`` besides: the name, model or ``provider:model`` of a target to try
    first.  Labels are also read from the config's ``metadata``.

    Raises ``ConfigurationError`` for whatever cannot work, when it is built.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid", protected_namespaces=())

    targets: tuple[Target, ...] = ()
    failover: Failover | None = Field(default=None, exclude=True, repr=False)
    api_key: SecretStr | Mapping[str, SecretStr] | None = Field(default=None, exclude=True, repr=False)

    strategy: str | None = None
    budget: Any = None
    response_cache: bool | Cache = True
    breaker: CircuitBreaker | None = None
    retry: Retry | None = None
    timeouts: Timeouts | None = None
    max_wait: float | None = None
    store: Any = None
    on_store_lost: str | None = None
    on_stream_cut: str | None = None
    on_content_filter: str | None = None
    hedge: Hedge | None = None
    listeners: tuple[Callable[[Any], None], ...] = Field(default=(), repr=False)
    client: Any = Field(default=None, repr=False)
    async_client: Any = Field(default=None, repr=False)
    http2: bool = False

    temperature: float | None = None
    max_tokens: int | None = None
    top_p: float | None = None
    top_k: int | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    reasoning_effort: str | None = None
    thinking: dict[str, Any] | None = None
    stop: list[str] | None = None
    extra_body: dict[str, Any] | None = None
    timeout: float | None = None
    max_retries: int | None = None
    prefer: tuple[str, ...] = ()
    labels: dict[str, str] = Field(default_factory=dict)
    streaming: bool = False

    # ------------------------------------------------------------- building

    def __init__(self, targets: Any = (), **fields: Any) -> None:
        given = {"targets": targets, **fields} if targets else fields
        try:
            super().__init__(**given)
            return
        except ValidationError as error:
            refusal = explained(error, type(self).model_fields)
        raise ConfigurationError(refusal)  # out here, it does not carry pydantic's error, which holds the values

    @field_validator("targets", mode="before")
    @classmethod
    def _read_targets(cls, given: Any) -> Any:
        many = given if isinstance(given, Sequence) and not isinstance(given, str) else (given,)
        return tuple(target_of(each) for each in many)

    @field_validator("budget", mode="before")
    @classmethod
    def _read_budget(cls, given: Any) -> Any:
        """As in ``Failover``, or what ``dumps`` made of it."""
        return setting("budget", given)

    @field_validator("prefer", mode="before")
    @classmethod
    def _read_prefer(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _connect_failover(self) -> Self:
        if self.failover is None:
            self.failover = Failover(keyed(self.targets, self.api_key), **self._shaping())
        elif differing := self._differing(self.failover):
            raise ConfigurationError(_fixed(differing))
        if self.profile is None:
            self.profile = profile_of(self.failover.abilities)
        return self

    def _shaping(self) -> dict[str, Any]:
        """The core's options that were given."""
        given = {name: getattr(self, name) for name in SHAPING}
        options = {name: value for name, value in given.items() if value not in (None, (), False)}
        return {**options, "response_cache": self.response_cache}

    def _differing(self, failover: Failover) -> list[str]:
        """Given options that are not the live core's own.  Copies that LangChain makes bring the very same ones."""
        given = {name: value for name, value in self._shaping().items() if name != "response_cache"}
        if isinstance(self.response_cache, Cache):
            given["response_cache"] = self.response_cache
        wrong = [name for name, value in given.items() if failover._config[name] != value]
        own = self.targets and keyed(self.targets, self.api_key) != failover.targets
        return [*(["targets"] if own else []), *wrong]

    @classmethod
    def from_env(cls, **fields: Any) -> Self:
        """One target for each provider that has a key in the environment, with its default model."""
        shaping = {name: fields.pop(name) for name in (*SHAPING, "response_cache") if name in fields}
        return cls(failover=Failover.from_env(**shaping), **fields)

    @classmethod
    def simulated(cls, *providers: ScriptedProvider, **fields: Any) -> Self:
        """Over scripted providers in this process, with trouble on a timeline: no key, no network.

        Give your own ``ScriptedProvider`` objects for other troubles.
        """
        from failover.testing import simulation

        return cls(**simulation(*providers), **fields)

    @property
    def core(self) -> Failover:
        """The live orchestrator: ``status()``, ``budget``, ``enable(name)``."""
        assert self.failover is not None
        return self.failover

    # ------------------------------------------------------------ the doors

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        response = self.core.complete(messages_of(messages), **self._options(messages, stop, kwargs))
        return result_of(response, self.output_version)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        response = await self.core.acomplete(messages_of(messages), **self._options(messages, stop, kwargs))
        return result_of(response, self.output_version)

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        translate = pieces(self.output_version).translate
        chunks = self.core.stream(messages_of(messages), **self._options(messages, stop, kwargs))
        with closing(cast("Any", chunks)):
            for chunk in chunks:
                yield translate(chunk)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        translate = pieces(self.output_version).translate
        chunks = self.core.astream(messages_of(messages), **self._options(messages, stop, kwargs))
        async with aclosing(cast("Any", chunks)):
            async for chunk in chunks:
                yield translate(chunk)

    def _options(self, messages: list[BaseMessage], stop: list[str] | None, kwargs: Mapping[str, Any]) -> CallOptions:
        """This call's options over this model's defaults, with the messages themselves for LangChain targets."""
        defaults = {name: value for name in CALLING if (value := getattr(self, name)) not in (None, (), {})}
        given = {key: value for key, value in kwargs.items() if key != "model"}
        options = options_of({**defaults, "response_cache": self.response_cache is not False, **given})
        options["labels"] = {**self.labels, **options.get("labels", {})}
        options["origin"] = tuple(messages)
        if ends := stop if stop is not None else self.stop:
            options["stop"] = (ends,) if isinstance(ends, str) else tuple(ends)
        if model := kwargs.get("model"):
            options["prefer"] = (*self._named(model), *options.get("prefer", ()))
        return options

    def _named(self, model: str) -> list[str]:
        """The targets that a model's name means."""
        targets = zip((target.name for target in self.core.targets), self.core.authors, strict=True)
        known = [(name, {name, author, author.partition(":")[2]}) for name, author in targets]
        found = [name for name, names in known if model in names]
        if not found:
            have = ", ".join(name for name, _ in known)
            raise ConfigurationError(f"model = {model!r} is none of this model's targets: {have}")
        return found

    # --------------------------------------------------- labels from configs

    def generate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        *,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        return super().generate(messages, stop, callbacks, metadata=metadata, **_labelled(metadata, kwargs))

    async def agenerate(
        self,
        messages: list[list[BaseMessage]],
        stop: list[str] | None = None,
        callbacks: Callbacks = None,
        *,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> LLMResult:
        return await super().agenerate(messages, stop, callbacks, metadata=metadata, **_labelled(metadata, kwargs))

    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        return super().stream(input, config, **_labelled(ensure_config(config)["metadata"], kwargs))

    def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        return super().astream(input, config, **_labelled(ensure_config(config)["metadata"], kwargs))

    def stream_events(self, input: Any, config: Any = None, *, version: Any = "v2", **kwargs: Any) -> Any:
        return super().stream_events(input, config, version=version, **_for_events(version, config, kwargs))

    def astream_events(self, input: Any, config: Any = None, *, version: Any = "v2", **kwargs: Any) -> Any:
        return super().astream_events(input, config, version=version, **_for_events(version, config, kwargs))

    # ------------------------------------------------------ tools, structure

    def bind_tools(
        self,
        tools: Sequence[AnyTool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools it may call.

        tool_choice: ``"auto"``, ``"any"`` (or ``"required"``, ``True``), ``"none"``, or a tool's name.
        strict: hold the model to each tool's schema.  Further keywords are bound as they are.
        """
        bound: dict[str, Any] = {"tools": openai_tools(tools, strict), **kwargs}
        if tool_choice:
            bound["tool_choice"] = tool_choice
        if parallel_tool_calls is not None:
            bound["parallel_tool_calls"] = parallel_tool_calls
        options_of({key: value for key, value in bound.items() if key not in ("model", "stop")})
        return self.bind(**bound)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Method | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        tools: Sequence[AnyTool] = (),
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """The model, answering in the form of ``schema``.

        method: ``json_schema`` (the provider holds the model to it), ``function_calling`` (a forced tool call) or
            ``json_mode``; default: the first of these two that every target can do natively.
        """
        way = method or surest_method(self.core.abilities)
        if way != "json_mode" and schema is None:
            raise ConfigurationError(f"with_structured_output: method {way!r} needs a schema")
        if way == "function_calling":
            llm = self._by_tool(schema, strict, tools, kwargs)
        elif way == "json_schema":
            llm = self._by_format(schema_format(schema, strict), schema, way, tools, kwargs)
        elif way == "json_mode":
            llm = self._by_format({"type": "json_object"}, schema, way, tools, kwargs)
        else:
            raise ConfigurationError(
                f"with_structured_output: method = {way!r}; write 'json_schema', 'function_calling' or 'json_mode'"
            )
        return parsed(llm, parser_of(schema, way), include_raw)

    def _by_tool(
        self, schema: Any, strict: bool | None, tools: Sequence[AnyTool], kwargs: Mapping[str, Any]
    ) -> Runnable[LanguageModelInput, AIMessage]:
        (wanted,) = openai_tools([schema], strict)
        choice: dict[str, Any] = {"tool_choice": wanted["function"]["name"], "parallel_tool_calls": False}
        shown = {"kwargs": {"method": "function_calling", "strict": strict}, "schema": wanted}
        return self.bind_tools([wanted, *tools], ls_structured_output_format=shown, **choice, **kwargs)

    def _by_format(
        self, format_: dict[str, Any], schema: Any, way: str, tools: Sequence[AnyTool], kwargs: Mapping[str, Any]
    ) -> Runnable[LanguageModelInput, AIMessage]:
        shown = {"kwargs": {"method": way}, "schema": schema}
        more = {"tools": openai_tools(tools)} if tools else {}
        return self.bind(response_format=format_, ls_structured_output_format=shown, **more, **kwargs)

    # ---------------------------------------------------------- what it says

    @property
    def _llm_type(self) -> str:
        return "failover"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        calling = {name: value for name in CALLING if (value := getattr(self, name)) not in (None, (), {})}
        return {"targets": [target.name for target in self.core.targets], **calling}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        """The first target stands for all: who will answer is not known yet."""
        provider, _, model = self.core.authors[0].partition(":")
        params = super()._get_ls_params(stop=stop or self.stop, **kwargs)
        params["ls_provider"] = provider
        params.setdefault("ls_model_name", model)
        return params

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        """LangChain's cache key: what is asked, not how the call is run."""
        return super()._get_llm_string(stop, **{key: value for key, value in kwargs.items() if key not in RUN_OPTIONS})

    def _convert_cached_generations(self, cache_val: list[Generation]) -> list[ChatGeneration]:
        """An answer from LangChain's own cache cost nothing this time, and is a message of its own."""
        return [_from_cache(generation) for generation in super()._convert_cached_generations(cache_val)]

    def _combine_llm_outputs(self, llm_outputs: list[dict[str, Any] | None]) -> dict[str, Any]:
        return next((dict(output) for output in llm_outputs if output), {})

    def get_num_tokens(self, text: str) -> int:
        """An estimate that needs no vocabulary: bytes, by ``BYTES_PER_TOKEN``."""
        return tokens.estimate(len(text.encode("utf-8", "surrogatepass")), BYTES_PER_TOKEN)

    def _resolve_model_profile(self) -> ModelProfile | None:
        return profile_of(self.failover.abilities) if self.failover is not None else None

    # -------------------------------------------------------- copies, saving

    def __repr_args__(self) -> Any:
        """The targets by name, and what differs from the defaults; a store's address without its password."""
        yield "targets", [target.name for target in self.core.targets]
        for name, value in super().__repr_args__():
            if name not in HIDDEN and value != type(self).model_fields[str(name)].get_default(
                call_default_factory=True
            ):
                yield name, without_userinfo(value) if isinstance(value, str) else value

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Shares the live core.  Raises ``ConfigurationError`` for a change that only a new core could follow."""
        copied = super().model_copy(update=update, deep=deep)
        vars(copied).pop("_serialized", None)  # LangChain keeps it, and takes it for the key of its cache
        if update and (differing := copied._differing(copied.core)):
            raise ConfigurationError(_fixed(differing))
        return copied

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy()

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """Where ``api_key`` is looked up, if it can be but one; each target's own key is written with the target."""
        variables = {variable_of(target) for target in self.core.targets}
        return {"api_key": variables.pop()} if len(variables) == 1 else {}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """The core's configuration, also where it was handed in live."""
        options = {name: value for name, value in self.core._config.items() if value != DEFAULTS[name]}
        deadline = options.pop("deadline", None)
        if deadline is not None and self.timeout is None:
            options["timeout"] = deadline
        return {"targets": saved_targets(self.core.targets), **saved_options(options)}

    # -------------------------------------------------------------- the end

    def close(self) -> None:
        """Close the connections; also of every other model that shares the core."""
        self.core.close()

    async def aclose(self) -> None:
        await self.core.aclose()


def _fixed(differing: Sequence[str]) -> str:
    return (
        f"ChatFailover: {', '.join(differing)} cannot be given beside failover=...: a live Failover keeps what it was "
        "built with; give it there, or leave failover out"
    )


# ------------------------------------------------------------------ calling


def _labelled(metadata: Mapping[str, Any] | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keywords, with the config's metadata as labels beneath those that the call gives itself."""
    labels = labels_in(metadata)
    given = kwargs.get("labels") or {}
    return {**kwargs, "labels": {**labels, **given}} if labels and isinstance(given, Mapping) else kwargs


def _for_events(version: str, config: RunnableConfig | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Only v3 goes past ``stream``, where labels are read otherwise."""
    return _labelled(ensure_config(config)["metadata"], kwargs) if version == "v3" else kwargs


def _from_cache(generation: ChatGeneration) -> ChatGeneration:
    """Under a new id: LangGraph would take an old one for the old message, and neither stream nor keep the answer."""
    notes = dict(generation.message.response_metadata)
    if ENTRY in notes:
        notes[ENTRY] = {**notes[ENTRY], "cached": True, "cost": 0.0}
    fresh = {"id": f"{LC_ID_PREFIX}-{uuid4()}", "response_metadata": notes}
    message = generation.message.model_copy(update=fresh)
    return generation.model_copy(update={"message": message})
