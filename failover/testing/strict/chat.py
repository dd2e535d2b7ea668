"""What OpenAI Chat Completions and its many cousins refuse.

The body's shape is a spec; ``MANNERS`` says per provider how its spec differs from OpenAI's and which rules of its
own it has on top of the common ones.  A provider with ``ignores`` drops unknown fields in silence instead of refusing
them (``strict.ignored`` names them, because silence can cost money: an unread ``max_completion_tokens`` is no cap).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from failover.testing.strict.case import Case, Rule, mentions_json, refuse, schema_name, sign, tokens_of
from failover.testing.strict.schemas import (
    CEREBRAS_STRICT,
    GEMINI,
    OPENAI_STRICT,
    PLAIN,
    Demands,
    context,
    problems,
)
from failover.testing.strict.shape import (
    Anything,
    Bool,
    Enum,
    Int,
    List,
    Num,
    Obj,
    Spec,
    Str,
    Tagged,
    either,
    maybe,
)
from failover.testing.strict.wording import Violation

# ------------------------------------------------------------------- shape

NAME = Str(r"[a-zA-Z0-9_-]{1,64}")
CACHE_POINT = Obj(extra=True)


def _part(name: str, spec: Spec) -> Obj:
    return Obj({"type": Str(), name: spec, "prompt_cache_breakpoint": CACHE_POINT}, ("type", name))


TEXT = _part("text", Str())
IMAGE = _part("image_url", Obj({"url": Str(), "detail": Enum(("auto", "low", "high", "original"))}, ("url",)))
AUDIO = _part("input_audio", Obj({"data": Str(), "format": Enum(("wav", "mp3"))}, ("data", "format")))
FILE = _part("file", Obj({"file_data": Str(), "file_id": Str(), "filename": Str()}))

PROSE = either(Str(), List(Tagged("type", {"text": TEXT}), 1))
SEEN = {"text": TEXT, "image_url": IMAGE, "input_audio": AUDIO, "file": FILE}
SAID = {"text": TEXT, "refusal": _part("refusal", Str())}

FUNCTION_CALL = Obj({"name": NAME, "arguments": Str()}, ("name", "arguments"))
TOOL_CALL = Obj(
    {"id": Str(longest=40), "type": Enum(("function",)), "function": FUNCTION_CALL}, ("id", "type", "function")
)

INSTRUCTION = Obj({"role": Str(), "content": PROSE, "name": Str()}, ("role", "content"))
USER = Obj({"role": Str(), "content": either(Str(), List(Tagged("type", SEEN), 1)), "name": Str()}, ("role", "content"))
ASSISTANT = Obj(
    {
        "role": Str(),
        "content": maybe(either(Str(), List(Tagged("type", SAID), 1))),
        "name": Str(),
        "refusal": maybe(Str()),
        "audio": maybe(Obj({"id": Str()}, ("id",))),
        "function_call": maybe(FUNCTION_CALL),
        "tool_calls": List(TOOL_CALL, 1),
    },
    ("role",),
)
TOOL = Obj({"role": Str(), "content": PROSE, "tool_call_id": Str()}, ("role", "content", "tool_call_id"))
ROLES = {"system": INSTRUCTION, "user": USER, "assistant": ASSISTANT, "tool": TOOL}
OPENAI_ROLES = {**ROLES, "developer": INSTRUCTION}  # no other provider knows developer messages

FUNCTION = Obj(
    {"name": NAME, "description": maybe(Str()), "parameters": Obj(extra=True), "strict": maybe(Bool())}, ("name",)
)
OFFERED = Obj({"type": Enum(("function",)), "function": FUNCTION}, ("type", "function"))
NAMED = Obj({"type": Enum(("function",)), "function": Obj({"name": Str()}, ("name",))}, ("type", "function"))
ALLOWED = Obj({"type": Str(), "allowed_tools": Obj(extra=True)}, ("type", "allowed_tools"))
CHOICE = Tagged("type", {"function": NAMED, "allowed_tools": ALLOWED})
SCHEMA = Obj(
    {"name": NAME, "description": Str(), "schema": Obj(extra=True), "strict": maybe(Bool())}, ("name", "schema")
)
FORMATS = {
    "text": Obj({"type": Str()}),
    "json_object": Obj({"type": Str()}),
    "json_schema": Obj({"type": Str(), "json_schema": SCHEMA}, ("type", "json_schema")),
}
COUNT = maybe(Int(1))


def _messages(roles: Mapping[str, Obj]) -> List:
    return List(Tagged("role", roles), 1)


COMMON: Mapping[str, Spec] = {
    "model": Str(),
    "messages": _messages(ROLES),
    "stream": maybe(Bool()),
    "stream_options": maybe(Obj({"include_usage": Bool(), "include_obfuscation": Bool()})),
    "max_tokens": COUNT,
    "temperature": maybe(Num(0, 2)),
    "top_p": maybe(Num(0, 1)),
    "n": maybe(Int(1, 128)),
    "stop": maybe(either(Str(), List(Str(), 0, 4))),
    "presence_penalty": maybe(Num(-2, 2)),
    "frequency_penalty": maybe(Num(-2, 2)),
    "logit_bias": maybe(Obj(extra=True)),
    "logprobs": maybe(Bool()),
    "top_logprobs": maybe(Int(0, 20)),
    "seed": maybe(Int()),
    "user": Str(),
    "tools": List(OFFERED, 1, 128),
    "tool_choice": either(Enum(("none", "auto", "required")), CHOICE),
    "parallel_tool_calls": Bool(),
    "response_format": Tagged("type", FORMATS),
}
NEWER: Mapping[str, Spec] = {
    "max_completion_tokens": COUNT,
    "reasoning_effort": maybe(Str()),
}
OPENAI_ONLY: Mapping[str, Spec] = {
    name: Anything()
    for name in (
        "audio",
        "functions",
        "function_call",
        "metadata",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "verbosity",
        "web_search_options",
    )
}


def _without(fields: Mapping[str, Spec], *names: str) -> dict[str, Spec]:
    return {name: spec for name, spec in fields.items() if name not in names}


def _reasoned(*names: str) -> Mapping[str, Obj]:
    """Roles whose assistant may bring back its own reasoning in these fields."""
    fields: dict[str, Spec] = {name: Anything() for name in names}
    return {**ROLES, "assistant": ASSISTANT.plus(**fields)}


# ----------------------------------------------------------- rules for all


def _tool_turns(case: Case) -> Iterator[Violation]:
    """Each result right after the call it answers, every call answered, none answered twice."""
    waiting: list[str] = []
    answered: set[str] = set()
    for index, message in enumerate(case.body["messages"]):
        where = f"messages.[{index}].role"
        if message["role"] == "tool":
            yield from _result(message["tool_call_id"], waiting, answered, index)
            continue
        if waiting:
            yield _unanswered(waiting, where)
        waiting, answered = [call["id"] for call in message.get("tool_calls") or ()], set()
    if waiting:
        yield _unanswered(waiting, f"messages.[{len(case.body['messages'])}].role")


def _result(call: str, waiting: list[str], answered: set[str], index: int) -> Iterator[Violation]:
    if call in answered:
        message = f"Duplicate value for 'tool_call_id' of '{call}' in message[{index}]."
        yield refuse(message, "duplicate_result", f"messages[{index}].tool_call_id")
    elif call in waiting:
        waiting.remove(call)
        answered.add(call)
    else:
        message = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
        yield refuse(f"{message} 'tool_calls'.", "orphan_result", f"messages.[{index}].role")


def _unanswered(waiting: list[str], where: str) -> Violation:
    message = (
        "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. "
        f"The following tool_call_ids did not have response messages: {', '.join(waiting)}"
    )
    return refuse(message, "unanswered_call", where)


def _said_something(case: Case) -> Iterator[Violation]:
    for index, message in enumerate(case.body["messages"]):
        if message["role"] == "assistant" and message.get("content") is None and not _acts(message):
            yield refuse(
                "Invalid value for 'content': expected a string, got null.",
                "null_content",
                f"messages.[{index}].content",
            )


def _acts(message: Mapping[str, Any]) -> bool:
    return any(message.get(name) for name in ("tool_calls", "function_call", "refusal", "audio"))


def _call_ids(case: Case) -> Iterator[Violation]:
    for index, message in enumerate(case.body["messages"]):
        for number, call in enumerate(message.get("tool_calls") or ()):
            if not call["id"]:
                where = f"messages[{index}].tool_calls[{number}].id"
                message_ = f"Invalid '{where}': empty string. Expected a string with minimum length 1."
                yield refuse(message_, "empty_id", where, "empty_string")


def _tools(case: Case) -> Iterator[Violation]:
    offered = case.body.get("tools")
    if offered is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            if case.body.get(name) not in (None, "none"):
                message = f"Invalid value for '{name}': '{name}' is only allowed when 'tools' are specified."
                yield refuse(message, "choice_without_tools", name)
        return
    choice = case.body.get("tool_choice")
    names = [tool["function"]["name"] for tool in offered]
    if isinstance(choice, dict) and choice["type"] == "function" and choice["function"]["name"] not in names:
        message = f"Invalid value for 'tool_choice': tool '{choice['function']['name']}' not found in 'tools'."
        yield refuse(message, "unknown_choice", "tool_choice")


def _no_tools(case: Case) -> Iterator[Violation]:
    if case.body.get("tools") and case.has("no_tools"):
        yield refuse("`tool calling` is not supported with this model", "no_tools", "tools")


def tool_schemas(strict: Demands, plain: Demands = PLAIN) -> Rule:
    """Refuses tools whose parameters are no JSON schema, or not what this provider's (strict) mode takes."""

    def rule(case: Case) -> Iterator[Violation]:
        for index, tool in enumerate(case.body.get("tools") or ()):
            function = tool["function"]
            if "parameters" not in function and not function.get("strict"):
                continue
            found = problems(function.get("parameters"), strict if function.get("strict") else plain)
            for where, problem in found:
                place = context(where) if where or "schema must" not in problem else ""
                message = f"Invalid schema for function '{function['name']}': {place}{problem}"
                yield refuse(message, "schema", f"tools[{index}].function.parameters", "invalid_function_parameters")

    return rule


def answer_schema(strict: Demands, plain: Demands = PLAIN) -> Rule:
    """Refuses structured output whose schema this provider's (strict) mode does not take."""

    def rule(case: Case) -> Iterator[Violation]:
        wanted = case.body.get("response_format") or {}
        if wanted.get("type") != "json_schema":
            return
        if case.has("no_schema"):
            yield refuse("This response_format type is unavailable now", "no_schema", "response_format")
            return
        asked = wanted["json_schema"]
        for where, problem in problems(asked["schema"], strict if asked.get("strict") else plain):
            message = f"Invalid schema for response_format '{schema_name(asked['name'])}': {context(where)}{problem}"
            yield refuse(message, "schema", "response_format")

    return rule


def _json_word(case: Case) -> Iterator[Violation]:
    wanted = case.body.get("response_format") or {}
    if wanted.get("type") == "json_object" and not mentions_json(case.body["messages"]):
        message = (
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
        )
        yield refuse(message, "json_word", "messages")


def _stream_options(case: Case) -> Iterator[Violation]:
    if case.body.get("stream_options") is not None and not case.body.get("stream"):
        message = "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        yield refuse(message, "stream_options", "stream_options")


def _logprobs(case: Case) -> Iterator[Violation]:
    if case.body.get("top_logprobs") is not None and not case.body.get("logprobs"):
        message = "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        yield refuse(message, "top_logprobs", "top_logprobs")


def _output_limit(case: Case) -> Iterator[Violation]:
    limits = {name: case.body.get(name) for name in ("max_tokens", "max_completion_tokens")}
    if all(limits.values()):
        message = "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported."
        yield refuse(message, "two_limits", "max_tokens", "invalid_parameter_combination")
    for name, limit in limits.items():
        if limit and limit > case.card.max_output:
            message = (
                f"{name} is too large: {limit}. This model supports at most {case.card.max_output} completion tokens, "
                f"whereas you provided {limit}."
            )
            yield refuse(message, "output_limit", name, "invalid_value")


MEDIA_PARTS = {"image_url": "image", "input_audio": "audio", "file": "document", "video_url": "video"}
MEDIA_WORDS = {
    "groq": "messages[{index}].content must be a string",
    "deepseek": "Failed to deserialize the JSON body into the target type: messages[{index}]: unknown variant "
    "`{part}`, expected `text`",
}


def _media(case: Case) -> Iterator[Violation]:
    words = MEDIA_WORDS.get(case.row.shape, "Invalid content type. {part} is only supported by certain models.")
    for index, message in enumerate(case.body["messages"]):
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            kind = MEDIA_PARTS.get(part["type"])
            if kind and kind not in case.card.inputs:
                text = words.format(index=index, part=part["type"])
                yield refuse(text, "media", f"messages.[{index}].content")


# ------------------------------------------------------------ context window


@dataclass(frozen=True, slots=True)
class Overflow:
    """How a provider says that a prompt is too long, and whether the reserved output counts against the window."""

    text: str
    code: str | None = "context_length_exceeded"
    counts_output: bool = True


OVERFLOWS: Mapping[str, Overflow] = {
    "openai": Overflow(
        "This model's maximum context length is {window} tokens. However, your messages resulted in {prompt} tokens. "
        "Please reduce the length of the messages.",
        counts_output=False,
    ),
    "azure": Overflow(
        "This model's maximum context length is {window} tokens. However, your messages resulted in {prompt} tokens. "
        "Please reduce the length of the messages.",
        counts_output=False,
    ),
    "groq": Overflow("Please reduce the length of the messages or completion."),
    "cerebras": Overflow(
        "Please reduce the length of the messages or completion. Current length is {total} while limit is {window}"
    ),
    "deepseek": Overflow(
        "This model's maximum context length is {window} tokens. However, you requested {total} tokens ({prompt} in "
        "the messages, {output} in the completion). Please reduce the length of the messages or completion.",
        "invalid_request_error",
    ),
    "openrouter": Overflow(
        "This endpoint's maximum context length is {window} tokens. However, you requested about {total} tokens "
        "({prompt} of text input, {output} in the output). Please reduce the length of either one.",
        None,
    ),
    "mistral": Overflow(
        "Prompt contains {prompt} tokens and 0 draft tokens, too large for model with {window} maximum context length",
        "3051",
        False,
    ),
    "gemini": Overflow(
        "The input token count ({prompt}) exceeds the maximum number of tokens allowed ({window}).", None, False
    ),
    "xai": Overflow(
        "This model's maximum prompt length is {window} but the request contains {prompt} tokens.", None, False
    ),
    "fireworks": Overflow("The prompt is too long: {prompt}, model maximum context length: {window}", None, False),
    "vllm": Overflow(
        "This model's maximum context length is {window} tokens. However, you requested {total} tokens ({prompt} in "
        "the messages, {output} in the completion).",
        None,
    ),
}


def _window(case: Case) -> Iterator[Violation]:
    overflow = OVERFLOWS.get(case.row.shape, OVERFLOWS["openai"])
    prompt = tokens_of([case.body["messages"], case.body.get("tools")])
    output = case.body.get("max_completion_tokens") or case.body.get("max_tokens") or 0
    total = prompt + output
    if (total if overflow.counts_output else prompt) > case.card.window:
        text = overflow.text.format(window=case.card.window, prompt=prompt, output=output, total=total)
        yield refuse(text, "context", "messages", overflow.code)


# ------------------------------------------------------ what a model refuses

DEFAULTS: Mapping[str, Any] = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "top_logprobs": None,
}


def unsupported(name: str, value: Any) -> Violation:
    """OpenAI's two ways to refuse a parameter: a value other than the default, or the parameter at all."""
    if name == "temperature":
        message = f"Unsupported value: 'temperature' does not support {value} with this model."
        return refuse(f"{message} Only the default (1) value is supported.", "sampling", name, "unsupported_value")
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    return refuse(message, "sampling", name, "unsupported_parameter")


def _sampling(case: Case) -> Iterator[Violation]:
    if not case.has("no_sampling") or case.body.get("reasoning_effort") == "none":
        return
    for name, default in DEFAULTS.items():
        if case.body.get(name) not in (None, default):
            yield unsupported(name, case.body[name])


def _stop(case: Case) -> Iterator[Violation]:
    if case.has("no_stop") and case.body.get("stop"):
        message = "Unsupported parameter: 'stop' is not supported with this model."
        yield refuse(message, "stop", "stop", "unsupported_parameter")


def _old_limit(case: Case) -> Iterator[Violation]:
    if case.has("reasons") and case.body.get("max_tokens") is not None:
        message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'"
        yield refuse(f"{message} instead.", "max_tokens", "max_tokens", "unsupported_parameter")


def _effort(case: Case) -> Iterator[Violation]:
    effort = case.body.get("reasoning_effort")
    if effort is None:
        return
    if case.has("no_effort"):
        yield refuse("Unrecognized request argument supplied: reasoning_effort", "effort", "reasoning_effort")
    elif effort not in case.card.efforts:
        values = ", ".join(f"'{name}'" for name in sorted(case.card.efforts))
        message = f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model."
        yield refuse(f"{message} Supported values are: {values}.", "effort", "reasoning_effort", "unsupported_value")


def _quiet_tools(case: Case) -> Iterator[Violation]:
    loud = case.has("effort_required") or case.body.get("reasoning_effort") != "none"
    if case.has("quiet_tools") and case.body.get("tools") and loud:
        message = (
            f"Function tools with reasoning_effort are not supported for {case.model} in /v1/chat/completions. "
            "To use function tools, use /v1/responses or set reasoning_effort to 'none'"
        )
        yield refuse(message, "tools_with_reasoning", "tools")


# ------------------------------------------------- what single providers want


def _deepseek_history(case: Case) -> Iterator[Violation]:
    if (case.body.get("thinking") or {}).get("type") == "disabled":
        return
    for index, message in enumerate(case.body["messages"]):
        if message.get("tool_calls") and message.get("reasoning_content") is None:
            text = "The `reasoning_content` in the thinking mode must be passed back to the API."
            yield refuse(text, "reasoning_missing", f"messages[{index}]", "invalid_request_error")


def _deepseek_choice(case: Case) -> Iterator[Violation]:
    thinks = (case.body.get("thinking") or {}).get("type") != "disabled"
    if thinks and case.has("no_forced_tools") and case.body.get("tool_choice") not in (None, "auto", "none"):
        message = "Thinking mode does not support this tool_choice"
        yield refuse(message, "forced_choice", "tool_choice", "invalid_request_error")


def _groq_formats(case: Case) -> Iterator[Violation]:
    wants = (case.body.get("response_format") or {}).get("type", "text")
    tools = bool(case.body.get("tools"))
    if case.body.get("reasoning_format") == "raw" and (tools or wants != "text"):
        yield refuse("reasoning_format must be parsed or hidden with JSON mode or tool calling", "raw_reasoning")
    if tools and wants == "json_object":
        yield refuse("json mode cannot be combined with tool/function calling", "json_and_tools", "response_format")
    if case.body.get("reasoning_format") is not None and case.body.get("include_reasoning") is not None:
        yield refuse("only one of reasoning_format and include_reasoning may be set", "two_reasonings")


def _groq_logprobs(case: Case) -> Iterator[Violation]:
    for name in ("logprobs", "top_logprobs", "logit_bias"):
        if case.body.get(name):
            yield refuse(f"`{name}` is not supported with this model", "logprobs", name)


def _mistral_ids(case: Case) -> Iterator[Violation]:
    for message in case.body["messages"]:
        calls = [call["id"] for call in message.get("tool_calls") or ()]
        for name in (*calls, *((message["tool_call_id"],) if message["role"] == "tool" else ())):
            if len(name) != 9 or not (name.isascii() and name.isalnum()):
                text = f"Tool call id was {name} but must be a-z, A-Z, 0-9, with a length of 9."
                yield Violation(400, text, "tool_id", "invalid_function_call", "3280")


MISTRAL_ORDER = {
    "system": ("user", "assistant", "system"),
    "user": ("assistant", "system", "user"),
    "assistant": ("assistant", "user", "tool"),
    "tool": ("assistant", "tool"),
}


def _mistral_order(case: Case) -> Iterator[Violation]:
    messages = case.body["messages"]
    roles = [message["role"] for message in messages]
    for before, after in pairwise(roles):
        if after not in MISTRAL_ORDER[before]:
            yield _out_of_order(f"Unexpected role '{after}' after role '{before}'")
    if roles[-1] not in ("user", "tool") and not messages[-1].get("prefix"):
        text = "Expected last role User or Tool (or Assistant with prefix True) for serving but got"
        yield _out_of_order(f"{text} {roles[-1]}")


def _out_of_order(text: str) -> Violation:
    return Violation(400, text, "order", "invalid_request_message_order", "3230")


def _mistral_pairs(case: Case) -> Iterator[Violation]:
    for violation in _tool_turns(case):
        text = "Not the same number of function calls and responses"
        yield Violation(400, text, violation.rule, "invalid_request_message_order", "3230")


def _mistral_content(case: Case) -> Iterator[Violation]:
    for message in case.body["messages"]:
        if message["role"] == "assistant" and not message.get("content") and not message.get("tool_calls"):
            text = "Assistant message must have either content or tool_calls, but not none."
            yield Violation(400, text, "null_content", "invalid_request_assistant_message", "3240")


DUMMY_THOUGHTS = ("skip_thought_signature_validator", "context_engineering_is_the_way_to_go")


def _gemini_thoughts(case: Case) -> Iterator[Violation]:
    """The first call of a turn carries the signature that this model gave it, or a documented dummy."""
    for index, message in enumerate(case.body["messages"]):
        for call in (message.get("tool_calls") or ())[:1]:
            google = (call.get("extra_content") or {}).get("google") or {}
            thought = google.get("thought_signature")
            name = call["function"]["name"]
            if thought is None:
                text = (
                    "Function call is missing a thought_signature in functionCall parts. This is required for tools to "
                    "work correctly, and missing thought_signature may lead to degraded model performance. Additional "
                    f"data, function call `default_api:{name}` , position {index + 1}."
                )
                yield refuse(text, "thought_missing")
            elif thought not in (*DUMMY_THOUGHTS, sign(case.model, name + call["function"]["arguments"])):
                yield refuse("Thought signature is not valid.", "foreign_thinking")


def _no_penalties(case: Case) -> Iterator[Violation]:
    words = {"xai": "Model {model} does not support parameter {camel}."}
    text = words.get(case.row.shape, "Penalty is not enabled for this model")
    for name, camel in (("presence_penalty", "presencePenalty"), ("frequency_penalty", "frequencyPenalty")):
        if case.has("no_penalties") and case.body.get(name) is not None:
            yield refuse(text.format(model=case.model, camel=camel), "penalty", name)


def _xai_stop(case: Case) -> Iterator[Violation]:
    if case.has("no_stop") and case.body.get("stop"):
        yield refuse(f"Model {case.model} does not support parameter stop.", "stop", "stop")


def _openrouter_endpoints(case: Case) -> Iterator[Violation]:
    wants = {
        "tool use": bool(case.body.get("tools")) and case.has("no_tools"),
        "image input": any(violation.rule == "media" for violation in _media(case)),
    }
    for ability, missing in wants.items():
        if missing:
            yield refuse(f"No endpoints found that support {ability}", "no_endpoint", status=404)


def _template(case: Case) -> Iterator[Violation]:
    """A chat template that wants one leading system message and strict turns, as many open models' do."""
    roles = [message["role"] for message in case.body["messages"]]
    turns = roles[1:] if roles[0] == "system" else roles
    spoken = [role for role in turns if role != "tool"]
    expected = [("user", "assistant")[index % 2] for index in range(len(spoken))]
    if "tool" not in turns and spoken != expected:
        yield refuse("Conversation roles must alternate user/assistant/user/assistant/...", "order", "messages")


# ----------------------------------------------------------------- manners


@dataclass(frozen=True, slots=True)
class Manners:
    """One provider's Chat Completions: the body it takes, its rules, and whether it drops unknown fields silently."""

    fields: Mapping[str, Spec]
    rules: tuple[Rule, ...] = ()
    ignores: bool = False

    @property
    def body(self) -> Obj:
        return Obj(self.fields, ("model", "messages"))


EVERYONE: tuple[Rule, ...] = (_said_something, _json_word, _stream_options, _logprobs, _output_limit, _media, _window)
PAIRED: tuple[Rule, ...] = (_tool_turns, _call_ids, *EVERYONE)
STRICT: tuple[Rule, ...] = (tool_schemas(OPENAI_STRICT), answer_schema(OPENAI_STRICT))
OPENAI_RULES: tuple[Rule, ...] = (
    *PAIRED, _tools, *STRICT, _old_limit, _sampling, _stop, _effort, _quiet_tools, _no_tools,
)  # fmt: skip
COUSINS: tuple[Rule, ...] = (*PAIRED, *STRICT)

LONG_ID = Obj({**TOOL_CALL.fields, "id": Str(), "index": Int()}, TOOL_CALL.required)
COUSIN_ASSISTANT = ASSISTANT.plus(tool_calls=List(LONG_ID, 1), reasoning_content=Anything(), reasoning=Anything())
COUSIN_ROLES = {**ROLES, "assistant": COUSIN_ASSISTANT}
COUSIN_FIELDS: Mapping[str, Spec] = {
    **COMMON,
    **NEWER,
    "messages": _messages(COUSIN_ROLES),
    "stop": maybe(either(Str(), List(Str(), 0, 16))),
}

DEEPSEEK_FIELDS: Mapping[str, Spec] = {
    **_without(COMMON, "seed", "logit_bias", "n", "parallel_tool_calls", "user"),
    "messages": _messages({**_reasoned("reasoning_content", "prefix"), "tool": TOOL.plus(name=Str())}),
    "stop": maybe(either(Str(), List(Str(), 0, 16))),
    "thinking": Obj({"type": Enum(("enabled", "disabled"))}, ("type",)),
    "reasoning_effort": Enum(("minimal", "low", "medium", "high", "xhigh", "max", "ultra")),
    "user_id": Str(),
}

GROQ_ROLES = {
    "system": Obj(_without(INSTRUCTION.fields, "name"), INSTRUCTION.required),
    "user": Obj(_without(USER.fields, "name"), USER.required),
    "assistant": Obj(_without(ASSISTANT.fields, "name", "audio", "refusal"), ASSISTANT.required).plus(
        reasoning=maybe(Str())
    ),
    "tool": TOOL,
}
GROQ_FIELDS: Mapping[str, Spec] = {
    **COMMON,
    **NEWER,
    "messages": _messages(GROQ_ROLES),
    "n": maybe(Int(1, 1)),
    "reasoning_format": Enum(("parsed", "raw", "hidden")),
    "include_reasoning": Bool(),
    "service_tier": Anything(),
    "search_settings": Anything(),
}

MISTRAL_CALL = Obj(
    {"id": Str(), "type": Str(), "index": Int(), "function": Obj({"name": NAME, "arguments": Anything()}, ("name",))},
    ("id", "function"),
)
MISTRAL_ROLES = {
    "system": Obj({"role": Str(), "content": PROSE}, ("role", "content")),
    "user": Obj(
        {
            "role": Str(),
            "content": either(
                Str(),
                List(
                    Tagged(
                        "type",
                        {
                            "text": TEXT,
                            "image_url": _part("image_url", either(Str(), Obj(extra=True))),
                            "document_url": Obj(extra=True),
                            "input_audio": Obj(extra=True),
                            "file": Obj(extra=True),
                        },
                    ),
                    1,
                ),
            ),
        },
        ("role", "content"),
    ),
    "assistant": Obj(
        {
            "role": Str(),
            "content": maybe(either(Str(), List(Tagged("type", {"text": TEXT, "thinking": Obj(extra=True)}), 1))),
            "tool_calls": maybe(List(MISTRAL_CALL)),
            "prefix": Bool(),
        },
        ("role",),
    ),
    "tool": Obj(
        {"role": Str(), "content": PROSE, "tool_call_id": Str(), "name": Str()}, ("role", "content", "tool_call_id")
    ),
}
MISTRAL_FIELDS: Mapping[str, Spec] = {
    **_without(COMMON, "seed", "stream_options", "logit_bias", "logprobs", "top_logprobs", "user"),
    "messages": _messages(MISTRAL_ROLES),
    "temperature": maybe(Num(0, 1.5)),
    "tool_choice": either(Enum(("none", "auto", "any", "required")), NAMED),
    "random_seed": maybe(Int(0)),
    "safe_prompt": Bool(),
    "prompt_mode": maybe(Str()),
    "prediction": Anything(),
    "metadata": Anything(),
    "reasoning_effort": maybe(Str()),
}

GEMINI_CALL = TOOL_CALL.plus(extra_content=Obj(extra=True), id=Str())
GEMINI_FIELDS: Mapping[str, Spec] = {
    **_without(COMMON, "logit_bias", "user"),
    **NEWER,
    "messages": _messages({**ROLES, "assistant": ASSISTANT.plus(tool_calls=List(GEMINI_CALL, 1))}),
    "extra_body": Anything(),
}

OPENROUTER_FIELDS: Mapping[str, Spec] = {
    **COUSIN_FIELDS,
    "messages": _messages(
        {**COUSIN_ROLES, "assistant": COUSIN_ASSISTANT.plus(reasoning_details=List(Obj(extra=True)))}
    ),
    **{name: Anything() for name in ("reasoning", "provider", "models", "route", "usage", "transforms", "plugins")},
}

CEREBRAS_ROLES = {**ROLES, "assistant": ASSISTANT.plus(reasoning=maybe(Str()))}
TRANSFORMERS_FIELDS: Mapping[str, Spec] = {
    **{
        name: COMMON[name]
        for name in (
            "model", "messages", "stream", "max_tokens", "temperature", "top_p", "frequency_penalty", "logit_bias",
            "seed", "tools",
        )
    },
    "generation_config": Anything(),
    "request_id": Anything(),
}  # fmt: skip

OPENAI = Manners({**COMMON, **NEWER, **OPENAI_ONLY, "messages": _messages(OPENAI_ROLES)}, OPENAI_RULES)
LENIENT = Manners(COUSIN_FIELDS, (_tool_turns, _window), ignores=True)
GEMINI_RULES: tuple[Rule, ...] = (
    _tool_turns, *EVERYONE, tool_schemas(GEMINI, GEMINI), answer_schema(GEMINI, GEMINI), _no_penalties,
    _gemini_thoughts,
)  # fmt: skip

MANNERS: Mapping[str, Manners] = {
    "openai": OPENAI,
    "azure": OPENAI,
    "deepseek": Manners(DEEPSEEK_FIELDS, (*COUSINS, _tools, _deepseek_history, _deepseek_choice), ignores=True),
    "groq": Manners(GROQ_FIELDS, (*COUSINS, _tools, _effort, _groq_formats, _groq_logprobs)),
    "openrouter": Manners(OPENROUTER_FIELDS, (_openrouter_endpoints, *COUSINS), ignores=True),
    "gemini": Manners(GEMINI_FIELDS, GEMINI_RULES),
    "mistral": Manners(
        MISTRAL_FIELDS,
        (_mistral_ids, _mistral_order, _mistral_pairs, _mistral_content, *STRICT, _output_limit, _media, _window),
    ),
    "together": Manners(COUSIN_FIELDS, COUSINS, ignores=True),
    "fireworks": Manners(
        {**COUSIN_FIELDS, "context_length_exceeded_behavior": Str(), "top_k": Int(), "prompt_cache_key": Str()}, COUSINS
    ),
    "xai": Manners({**COUSIN_FIELDS, "search_parameters": Anything()}, (*COUSINS, _no_penalties, _xai_stop)),
    "cerebras": Manners(
        {**COMMON, **NEWER, "messages": _messages(CEREBRAS_ROLES)},
        (*PAIRED, tool_schemas(CEREBRAS_STRICT), answer_schema(CEREBRAS_STRICT), _effort),
    ),
    "transformers": Manners(TRANSFORMERS_FIELDS, (_template, _window)),
}


def manners(provider: str) -> Manners:
    """The provider's Chat Completions; an unknown provider takes what it is given, tool turns and window excepted."""
    return MANNERS.get(provider, LENIENT)
