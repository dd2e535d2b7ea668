"""What Anthropic Messages refuses, under both API versions.

The shape is judged first, then the conversation: turns of one role are merged as the API merges them, tool calls
are answered in the very next user turn with the results first, blocks are never empty, thinking comes back only to
the model (and, where it is bound, the conversation) that signed it.  Last come the model's own refusals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from failover.testing.strict.case import Case, Rule, opening, refuse, signed, tokens_of
from failover.testing.strict.schemas import ANTHROPIC_STRICT, PLAIN, Demands, problems
from failover.testing.strict.shape import Anything, Bool, Enum, Int, List, Num, Obj, Spec, Str, Tagged, either, maybe
from failover.testing.strict.wording import Violation

OLD_VERSION = "2023-06-01"
NEW_VERSION = "2026-10-21"
VERSIONS = (OLD_VERSION, NEW_VERSION)

# ------------------------------------------------------------------- shape

CACHE = maybe(Obj({"type": Enum(("ephemeral",)), "ttl": Enum(("5m", "1h"))}, ("type",)))
IMAGE_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
BASE64_IMAGE = Obj({"type": Str(), "media_type": Enum(IMAGE_TYPES), "data": Str()}, ("media_type", "data"))
BASE64_PDF = Obj({"type": Str(), "media_type": Enum(("application/pdf",)), "data": Str()}, ("media_type", "data"))
PLAIN_TEXT = Obj({"type": Str(), "media_type": Enum(("text/plain",)), "data": Str()}, ("media_type", "data"))
BY_URL = Obj({"type": Str(), "url": Str()}, ("url",))
BY_FILE = Obj({"type": Str(), "file_id": Str()}, ("file_id",))
CONTENT_SOURCE = Obj({"type": Str(), "content": Anything()}, ("content",))

IMAGE_SOURCE = Tagged("type", {"base64": BASE64_IMAGE, "url": BY_URL, "file": BY_FILE})
PAPER_SOURCE = Tagged(
    "type", {"base64": BASE64_PDF, "text": PLAIN_TEXT, "url": BY_URL, "file": BY_FILE, "content": CONTENT_SOURCE}
)

TEXT = Obj({"type": Str(), "text": Str(), "cache_control": CACHE, "citations": maybe(List(Anything()))}, ("text",))
IMAGE = Obj({"type": Str(), "source": IMAGE_SOURCE, "cache_control": CACHE, "transformations": Anything()}, ("source",))
DOCUMENT = Obj(
    {
        "type": Str(),
        "source": PAPER_SOURCE,
        "cache_control": CACHE,
        "citations": maybe(Obj({"enabled": Bool()})),
        "context": maybe(Str()),
        "title": maybe(Str()),
    },
    ("source",),
)
SEARCH = Obj(extra=True)
TOOL_ID = Str(r"[a-zA-Z0-9_-]+")
TOOL_NAME = Str(r"[a-zA-Z0-9_-]{1,64}")
TOOL_USE = Obj(
    {
        "type": Str(),
        "id": TOOL_ID,
        "name": TOOL_NAME,
        "input": Obj(extra=True),
        "cache_control": CACHE,
        "caller": Anything(),
        "toolset_name": Anything(),
    },
    ("id", "name", "input"),
)
RESULT_PART = Tagged("type", {"text": TEXT, "image": IMAGE, "document": DOCUMENT, "search_result": SEARCH})
TOOL_RESULT = Obj(
    {
        "type": Str(),
        "tool_use_id": TOOL_ID,
        "content": either(Str(), List(RESULT_PART)),
        "is_error": Bool(),
        "cache_control": CACHE,
        "toolset_name": Anything(),
    },
    ("tool_use_id",),
)
THINKING = Obj({"type": Str(), "thinking": Str(), "signature": Str()}, ("thinking", "signature"))
REDACTED = Obj({"type": Str(), "data": Str()}, ("data",))
BLOCK = Tagged(
    "type",
    {
        "text": TEXT,
        "image": IMAGE,
        "document": DOCUMENT,
        "search_result": SEARCH,
        "tool_use": TOOL_USE,
        "tool_result": TOOL_RESULT,
        "thinking": THINKING,
        "redacted_thinking": REDACTED,
    },
)
MESSAGE = Obj(
    {"role": Enum(("user", "assistant", "system")), "content": either(Str(), List(BLOCK))}, ("role", "content")
)

CUSTOM_TOOL = Obj(
    {
        "type": maybe(Enum(("custom",))),
        "name": TOOL_NAME,
        "description": Str(),
        "input_schema": Obj(extra=True),
        "strict": Bool(),
        "cache_control": CACHE,
        "allowed_callers": Anything(),
        "defer_loading": Bool(),
        "eager_input_streaming": maybe(Bool()),
        "input_examples": Anything(),
    },
    ("name", "input_schema"),
)
PARALLEL: Mapping[str, Spec] = {"type": Str(), "disable_parallel_tool_use": Bool()}
CHOICE = Tagged(
    "type",
    {
        "auto": Obj(PARALLEL),
        "any": Obj(PARALLEL),
        "tool": Obj({**PARALLEL, "name": Str()}, ("name",)),
        "none": Obj({"type": Str()}),
    },
)
DISPLAY = maybe(Enum(("summarized", "omitted")))
THINKING_MODES = Tagged(
    "type",
    {
        "adaptive": Obj({"type": Str(), "display": DISPLAY}),
        "between_tools": Obj({"type": Str()}),
        "disabled": Obj({"type": Str()}),
        "enabled": Obj({"type": Str(), "budget_tokens": Int(1024), "display": DISPLAY}, ("budget_tokens",)),
    },
)
OUTPUT = Obj(
    {
        "effort": maybe(Enum(("low", "medium", "high", "xhigh", "max"))),
        "format": maybe(Obj({"type": Enum(("json_schema",)), "schema": Obj(extra=True)}, ("type", "schema"))),
    }
)
FIELDS: Mapping[str, Spec] = {
    "model": Str(),
    "messages": List(MESSAGE, 1),
    "max_tokens": Int(1),
    "system": either(Str(), List(Tagged("type", {"text": TEXT}))),
    "stream": Bool(),
    "stop_sequences": List(Str()),
    "tools": List(Obj(extra=True)),
    "tool_choice": CHOICE,
    "thinking": THINKING_MODES,
    "output_config": OUTPUT,
    "metadata": Obj({"user_id": maybe(Str(longest=256))}),
    "service_tier": Enum(("auto", "standard_only")),
    "speed": maybe(Enum(("standard", "fast"))),
    "inference_geo": maybe(Str()),
    "cache_control": CACHE,
    "container": Anything(),
    "diagnostics": Anything(),
    "user_profile_id": Str(),
    "context_management": Anything(),
    "mcp_servers": Anything(),
}
SAMPLING: Mapping[str, Spec] = {"temperature": Num(0, 1), "top_p": Num(0, 1), "top_k": Int(0)}
REQUIRED = ("model", "messages", "max_tokens")
BODIES: Mapping[str, Obj] = {
    NEW_VERSION: Obj(FIELDS, REQUIRED),
    OLD_VERSION: Obj({**FIELDS, **SAMPLING}, REQUIRED),
}
COUNTED = Obj({**FIELDS, **SAMPLING}, ("model", "messages"))


def version(case: Case) -> str:
    return (case.headers or {}).get("anthropic-version", NEW_VERSION)


# ------------------------------------------------------------------- turns


def _blocks(content: Any) -> list[Mapping[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _merged(messages: list[Any]) -> list[tuple[str, list[Mapping[str, Any]], int]]:
    """Turns as the model sees them: (role, blocks, index of the first message)."""
    turns: list[tuple[str, list[Mapping[str, Any]], int]] = []
    for index, message in enumerate(messages):
        if turns and turns[-1][0] == message["role"]:
            turns[-1][1].extend(_blocks(message["content"]))
        else:
            turns.append((message["role"], _blocks(message["content"]), index))
    return turns


def _spoken(case: Case) -> list[tuple[str, list[Mapping[str, Any]], int]]:
    return _merged([message for message in case.body["messages"] if message["role"] != "system"])


def _of(blocks: list[Mapping[str, Any]], kind: str, name: str) -> list[str]:
    return [str(block[name]) for block in blocks if block["type"] == kind]


def _first_turn(case: Case) -> Iterator[Violation]:
    if case.body["messages"][0]["role"] != "user":
        yield refuse('messages: first message must use the "user" role', "first_role")


def _system_turns(case: Case) -> Iterator[Violation]:
    if case.has("system_turns"):
        return
    if any(message["role"] == "system" for message in case.body["messages"]):
        text = 'messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter, not'
        yield refuse(f'{text} "system" as an input message role.', "system_role")


def _empty(case: Case) -> Iterator[Violation]:
    last = len(case.body["messages"]) - 1
    for index, message in enumerate(case.body["messages"]):
        if not message["content"] and not (index == last and message["role"] == "assistant"):
            text = "all messages must have non-empty content except for the optional final assistant message"
            yield refuse(f"messages.{index}: {text}", "empty_message")
        yield from _empty_texts(_blocks(message["content"]) if message["content"] else [], "messages")
        for block in message["content"] if isinstance(message["content"], list) else ():
            inner = block.get("content") if block["type"] == "tool_result" else ()
            yield from _empty_texts(inner if isinstance(inner, list) else (), "messages")
    system = case.body.get("system")
    yield from _empty_texts(system if isinstance(system, list) else (), "system")


def _empty_texts(blocks: Any, where: str) -> Iterator[Violation]:
    for block in blocks:
        if block["type"] != "text":
            continue
        if not block["text"]:
            yield refuse(f"{where}: text content blocks must be non-empty", "empty_text")
        elif not block["text"].strip():
            yield refuse(f"{where}: text content blocks must contain non-whitespace text", "blank_text")


def _prefill(case: Case) -> Iterator[Violation]:
    role, blocks, _ = _merged(case.body["messages"])[-1]
    if role != "assistant":
        return
    if case.has("no_prefill"):
        text = "This model does not support assistant message prefill. The conversation must end with a user message."
        yield refuse(text, "prefill")
    elif blocks and blocks[-1]["type"] == "text" and blocks[-1]["text"] != blocks[-1]["text"].rstrip():
        yield refuse("messages: final assistant content cannot end with trailing whitespace", "trailing_space")


BELONGS = {
    "tool_use": "assistant",
    "thinking": "assistant",
    "redacted_thinking": "assistant",
    "tool_result": "user",
    "image": "user",
}


def _places(case: Case) -> Iterator[Violation]:
    for index, message in enumerate(case.body["messages"]):
        for number, block in enumerate(_blocks(message["content"])):
            owner = BELONGS.get(block["type"], message["role"])
            if owner != message["role"]:
                where = f"messages.{index}.content.{number}"
                text = f"`{block['type']}` blocks can only be in `{owner}` messages"
                yield refuse(f"{where}: {text}", "wrong_turn")


def _pairs(case: Case) -> Iterator[Violation]:
    open_calls: list[str] = []
    for role, blocks, index in _spoken(case):
        results = _of(blocks, "tool_result", "tool_use_id") if role == "user" else []
        yield from _results(results, open_calls, index)
        leading = [block["tool_use_id"] for block in _leading_results(blocks)]
        if missing := [call for call in open_calls if call not in leading]:
            yield _unanswered(missing, index)
        open_calls = _of(blocks, "tool_use", "id") if role == "assistant" else []
    if open_calls:
        yield _unanswered(open_calls, len(case.body["messages"]))


def _leading_results(blocks: list[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for block in blocks:
        if block["type"] != "tool_result":
            return
        yield block


def _results(results: list[str], open_calls: list[str], index: int) -> Iterator[Violation]:
    for number, call in enumerate(results):
        if call not in open_calls:
            text = (
                f"messages.{index}.content.{number}: unexpected `tool_use_id` found in `tool_result` blocks: {call}. "
                "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
            yield refuse(text, "orphan_result")
        if call in results[:number]:
            text = f"each tool_use must have a single result. Found multiple `tool_result` blocks with id: {call}"
            yield refuse(f"messages.{index}.content.{number}: {text}", "duplicate_result")


def _unanswered(calls: list[str], index: int) -> Violation:
    text = (
        f"messages.{index}: `tool_use` ids were found without `tool_result` blocks immediately after: "
        f"{', '.join(calls)}. Each `tool_use` block must have a corresponding `tool_result` block in the next message."
    )
    return refuse(text, "unanswered_call")


def _call_ids(case: Case) -> Iterator[Violation]:
    calls = [call for _, blocks, _ in _spoken(case) for call in _of(blocks, "tool_use", "id")]
    if len(calls) != len(set(calls)):
        yield refuse("messages: `tool_use` ids must be unique", "duplicate_call")


def _signatures(case: Case) -> Iterator[Violation]:
    conversation = opening(case.body["messages"]) if case.has("bound_thinking") else ""
    for index, message in enumerate(case.body["messages"]):
        for number, block in enumerate(_blocks(message["content"])):
            kind = block["type"]
            if kind == "thinking" and not signed(block["signature"], case.model, block["thinking"], conversation):
                text = "Invalid `signature` in `thinking` block"
                yield refuse(f"messages.{index}.content.{number}: {text}", "foreign_thinking")
            if kind == "redacted_thinking" and not signed(block["data"], case.model, "redacted", conversation):
                text = "Invalid `data` in `redacted_thinking` block"
                yield refuse(f"messages.{index}.content.{number}: {text}", "foreign_thinking")


def _thinking_first(case: Case) -> Iterator[Violation]:
    """With manual thinking, a turn that called tools goes back with its thinking in front."""
    if (case.body.get("thinking") or {}).get("type") != "enabled":
        return
    for role, blocks, index in _spoken(case)[-2:]:
        if role == "assistant" and _of(blocks, "tool_use", "id") and "thinking" not in blocks[0]["type"]:
            text = (
                f"messages.{index}.content.0.type: Expected `thinking` or `redacted_thinking`, but found "
                f"`{blocks[0]['type']}`. When `thinking` is enabled, a final `assistant` message must start with a "
                "thinking block (preceeding the lastmost set of `tool_use` and `tool_result` blocks)."
            )
            yield refuse(text, "thinking_missing")


def _new_version(case: Case) -> Iterator[Violation]:
    if version(case) != NEW_VERSION:
        return
    for index, message in enumerate(case.body["messages"]):
        for number, block in enumerate(_blocks(message["content"])):
            where = f"messages.{index}.content.{number}"
            if block["type"] == "document" and message["role"] == "assistant":
                yield refuse(f"{where}: `document` blocks are not permitted in assistant messages", "document_turn")
            if block["type"] == "text" and message["role"] == "user" and block.get("citations"):
                yield refuse(f"{where}.text.citations: Extra inputs are not permitted", "user_citations")


def _cache_points(case: Case) -> Iterator[Violation]:
    count = str(case.body).count("'cache_control': {")
    if count > 4:
        text = f"A maximum of 4 blocks with cache_control may be provided. Found {count}."
        yield refuse(text, "cache_points")


# ------------------------------------------------------- tools and formats


def _tools(case: Case) -> Iterator[Violation]:
    offered = case.body.get("tools") or []
    names = [tool.get("name") for tool in offered]
    if len(names) != len(set(names)):
        yield refuse("tools: Tool names must be unique.", "duplicate_tool")
    choice = case.body.get("tool_choice")
    if choice and not offered:
        yield refuse("tool_choice may only be specified while providing tools", "choice_without_tools")
    elif choice and choice["type"] == "tool" and choice["name"] not in names:
        yield refuse(f"tool_choice: Tool '{choice['name']}' not found in provided tools", "unknown_choice")


def _own_tools(case: Case) -> Iterator[Violation]:
    """Tools of our own; the provider's server-side ones carry a dated type and are taken as they are."""
    for index, tool in enumerate(case.body.get("tools") or ()):
        if tool.get("type") in (None, "custom"):
            demands = ANTHROPIC_STRICT if tool.get("strict") else PLAIN
            yield from _schema(tool["input_schema"], demands, f"tools.{index}.custom.input_schema")


def _schema(schema: Any, demands: Demands, where: str) -> Iterator[Violation]:
    if schema.get("type") != "object":
        yield refuse(f"{where}.type: Field required", "schema")
        return
    for _, problem in problems(schema, demands):
        closed = "additionalProperties" in problem
        text = "For 'object' type, 'additionalProperties' must be explicitly set to false" if closed else problem
        yield refuse(f"{where}: {text}", "schema")


def _answer_schema(case: Case) -> Iterator[Violation]:
    wanted = (case.body.get("output_config") or {}).get("format")
    if wanted:
        yield from _schema(wanted["schema"], ANTHROPIC_STRICT, "output_config.format.schema")


def _forced(case: Case) -> Iterator[Violation]:
    choice = (case.body.get("tool_choice") or {}).get("type")
    if choice not in ("any", "tool"):
        return
    if case.has("no_forced_tools"):
        yield refuse(f"tool_choice.type: `{choice}` is not supported for this model.", "forced_choice")
    elif (case.body.get("thinking") or {}).get("type") in ("enabled", "adaptive"):
        yield refuse("Thinking may not be enabled when tool_choice forces tool use.", "forced_choice")


# ------------------------------------------------------ what a model refuses


def _sampling(case: Case) -> Iterator[Violation]:
    given = {name: case.body[name] for name in SAMPLING if name in case.body}
    if case.has("no_sampling"):
        for name, value in given.items():
            if value != (1 if name != "top_k" else 0):
                yield refuse(f"`{name}` is deprecated for this model.", "sampling", name)
    elif "temperature" in given and "top_p" in given:
        text = "`temperature` and `top_p` cannot both be specified for this model. Please use only one."
        yield refuse(text, "temperature_and_top_p")
    elif (case.body.get("thinking") or {}).get("type") == "enabled" and given.get("temperature", 1) != 1:
        yield refuse("`temperature` may only be set to 1 when thinking is enabled.", "sampling", "temperature")


def _thinking_mode(case: Case) -> Iterator[Violation]:
    thinking = case.body.get("thinking")
    if not thinking:
        return
    mode = thinking["type"]
    if mode not in case.card.thinking:
        hint = 'Use "thinking.type.adaptive" and "output_config.effort" to control thinking behavior.'
        yield refuse(f'"thinking.type.{mode}" is not supported for this model. {hint}', "thinking_mode", "thinking")
    elif mode == "enabled" and thinking["budget_tokens"] >= case.body["max_tokens"]:
        text = "`max_tokens` must be greater than `thinking.budget_tokens`."
        yield refuse(text, "thinking_budget", "max_tokens")


def _stops(case: Case) -> Iterator[Violation]:
    if any(not stop.strip() for stop in case.body.get("stop_sequences") or ()):
        yield refuse("stop_sequences: each stop sequence must contain non-whitespace", "blank_stop")


def _limits(case: Case) -> Iterator[Violation]:
    most, asked = case.card.max_output, case.body["max_tokens"]
    if asked > most:
        text = f"max_tokens: {asked} > {most}, which is the maximum allowed number of output tokens for {case.model}"
        yield refuse(text, "output_limit", "max_tokens")
    prompt = tokens_of([case.body["messages"], case.body.get("system"), case.body.get("tools")])
    if prompt > case.card.window:
        yield refuse(f"prompt is too long: {prompt} tokens > {case.card.window} maximum", "context")
    elif prompt + asked > case.card.window and not case.has("no_sampling"):
        text = f"input length and `max_tokens` exceed context limit: {prompt} + {asked} > {case.card.window}"
        yield refuse(f"{text}, decrease input length or `max_tokens` and try again", "context")


def headers(given: Mapping[str, str]) -> Iterator[Violation]:
    """The version header: required, and one that exists."""
    asked = given.get("anthropic-version")
    if asked is None:
        yield refuse("anthropic-version: header is required", "version_missing")
    elif asked not in VERSIONS:
        yield refuse(f'anthropic-version: "{asked}" is not a valid version', "version_unknown")


RULES: tuple[Rule, ...] = (
    _first_turn,
    _system_turns,
    _empty,
    _prefill,
    _places,
    _pairs,
    _call_ids,
    _signatures,
    _thinking_first,
    _new_version,
    _cache_points,
    _tools,
    _own_tools,
    _answer_schema,
    _forced,
    _sampling,
    _thinking_mode,
    _stops,
    _limits,
)


def body_spec(case: Case) -> Obj:
    """The body under the version asked for.  Tools of our own are judged field by field, server-side ones are not."""
    spec = BODIES.get(version(case), BODIES[NEW_VERSION])
    tools = case.body.get("tools")
    if not isinstance(tools, list):
        return spec
    types = {str(tool.get("type")) for tool in tools if isinstance(tool, Mapping) and tool.get("type")}
    members = {name: Obj(extra=True) for name in types} | {"custom": CUSTOM_TOOL}
    return replace(spec, fields={**spec.fields, "tools": List(Tagged("type", members, "custom"))})
