"""What OpenAI Responses refuses.

Input is a list of items rather than turns: every function call needs its output and every output its call, and an
item that came with reasoning comes back with it.  Reasoning that is not stored on the provider's side must carry its
``encrypted_content``, which only the model that wrote it can read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from failover.testing.strict.case import Case, Rule, mentions_json, refuse, sign, tokens_of
from failover.testing.strict.chat import unsupported
from failover.testing.strict.schemas import OPENAI_STRICT, PLAIN, context, problems
from failover.testing.strict.shape import (
    Anything,
    Bool,
    Enum,
    Finding,
    Int,
    List,
    Num,
    Obj,
    Spec,
    Str,
    Tagged,
    check,
    either,
    maybe,
)
from failover.testing.strict.wording import Violation

# ------------------------------------------------------------------- shape

NAME = Str(r"[a-zA-Z0-9_-]{1,64}")
STATUS = maybe(Enum(("in_progress", "completed", "incomplete")))
INPUT_TEXT = Obj({"type": Str(), "text": Str(), "prompt_cache_breakpoint": Anything()}, ("text",))
INPUT_IMAGE = Obj(
    {
        "type": Str(),
        "image_url": maybe(Str()),
        "file_id": maybe(Str()),
        "detail": Enum(("low", "high", "auto", "original")),
        "prompt_cache_breakpoint": Anything(),
    }
)
INPUT_FILE = Obj(
    {
        "type": Str(),
        "file_data": Str(),
        "file_id": maybe(Str()),
        "file_url": Str(),
        "filename": Str(),
        "detail": Anything(),
        "prompt_cache_breakpoint": Anything(),
    }
)
ASKED = Tagged("type", {"input_text": INPUT_TEXT, "input_image": INPUT_IMAGE, "input_file": INPUT_FILE})
OUTPUT_TEXT = Obj({"type": Str(), "text": Str(), "annotations": List(Anything()), "logprobs": Anything()}, ("text",))
REFUSAL = Obj({"type": Str(), "refusal": Str()}, ("refusal",))
SAID = Tagged("type", {"output_text": OUTPUT_TEXT, "refusal": REFUSAL})

SHARED: Mapping[str, Spec] = {"type": Str(), "role": Str(), "status": STATUS}


def _turn(part: Spec, **more: Spec) -> Obj:
    return Obj({**SHARED, "content": either(Str(), List(part)), **more}, ("role", "content"))


MESSAGE = Tagged(
    "role",
    {
        "user": _turn(ASKED),
        "system": _turn(ASKED),
        "developer": _turn(ASKED),
        "assistant": _turn(SAID, id=Str(r"msg_.*", 64), phase=maybe(Str())),
    },
)
FUNCTION_CALL = Obj(
    {
        "type": Str(),
        "id": maybe(Str(r"fc_.*", 64)),
        "call_id": Str(longest=64),
        "name": NAME,
        "arguments": Str(),
        "status": STATUS,
        "caller": Anything(),
        "namespace": Anything(),
    },
    ("call_id", "name", "arguments"),
)
FUNCTION_OUTPUT = Obj(
    {
        "type": Str(),
        "id": maybe(Str(longest=64)),
        "call_id": Str(longest=64),
        "output": either(Str(), List(ASKED)),
        "status": STATUS,
        "name": Anything(),
    },
    ("call_id", "output"),
)
SUMMARY = Obj({"type": Enum(("summary_text",)), "text": Str()}, ("type", "text"))
REASONING = Obj(
    {
        "type": Str(),
        "id": Str(r"rs_.*", 64),
        "summary": List(SUMMARY),
        "content": Anything(),
        "encrypted_content": maybe(Str()),
        "status": STATUS,
    },
    ("id", "summary"),
)
ITEMS = {
    "function_call": FUNCTION_CALL,
    "function_call_output": FUNCTION_OUTPUT,
    "reasoning": REASONING,
    "item_reference": Obj({"type": Str(), "id": Str()}, ("id",)),
    "message": Obj(extra=True),  # judged by its role
}

FUNCTION = Obj(
    {
        "type": Str(),
        "name": NAME,
        "description": maybe(Str()),
        "parameters": maybe(Obj(extra=True)),
        "strict": maybe(Bool()),
        "defer_loading": Anything(),
    },
    ("name",),
)
CHOICES = {
    "function": Obj({"type": Str(), "name": Str()}, ("name",)),
    "allowed_tools": Obj({"type": Str(), "mode": Str(), "tools": List(Anything())}, ("mode", "tools")),
}
FORMATS = {
    "text": Obj({"type": Str()}),
    "json_object": Obj({"type": Str()}),
    "json_schema": Obj(
        {"type": Str(), "name": NAME, "schema": Obj(extra=True), "strict": maybe(Bool()), "description": maybe(Str())},
        ("name", "schema"),
    ),
}
INCLUDES = Enum(
    (
        "reasoning.encrypted_content",
        "message.output_text.logprobs",
        "message.input_image.image_url",
        "file_search_call.results",
        "web_search_call.results",
        "web_search_call.action.sources",
        "code_interpreter_call.outputs",
        "computer_call_output.output.image_url",
    )
)
FIELDS: Mapping[str, Spec] = {
    "model": Str(),
    "input": either(Str(), List(Tagged("type", ITEMS, "message"), 1)),
    "instructions": maybe(Str()),
    "stream": maybe(Bool()),
    "stream_options": maybe(Obj({"include_obfuscation": Bool()})),
    "max_output_tokens": maybe(Int(16)),
    "temperature": maybe(Num(0, 2)),
    "top_p": maybe(Num(0, 1)),
    "top_logprobs": maybe(Int(0, 20)),
    "tools": List(Obj({"type": Str()}, ("type",), extra=True), 0, 128),
    "tool_choice": either(Enum(("none", "auto", "required")), Tagged("type", CHOICES)),
    "parallel_tool_calls": maybe(Bool()),
    "text": Obj({"format": Tagged("type", FORMATS), "verbosity": maybe(Enum(("low", "medium", "high")))}),
    "reasoning": maybe(
        Obj({"effort": maybe(Str()), "summary": maybe(Enum(("auto", "concise", "detailed"))), "mode": Anything()})
    ),
    "include": maybe(List(INCLUDES)),
    "store": maybe(Bool()),
    **{
        name: Anything()
        for name in (
            "access_programs",
            "background",
            "background_options",
            "context_management",
            "conversation",
            "image",
            "max_tool_calls",
            "metadata",
            "moderation",
            "previous_response_id",
            "prompt",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "safety_identifier",
            "service_tier",
            "truncation",
            "user",
        )
    },
}
BODY = Obj(FIELDS, ("model", "input"))

MOVED = {"messages": "input", "response_format": "text.format", "reasoning_effort": "reasoning.effort"}
RENAMED = {"max_tokens": "max_output_tokens", "max_completion_tokens": "max_output_tokens"}
GONE = ("stop", "seed", "n", "presence_penalty", "frequency_penalty", "logprobs", "logit_bias")


def renamed(case: Case) -> Iterator[Violation]:
    """Fields of Chat Completions that are called otherwise here, or do not exist."""
    body = case.body
    for old, new in MOVED.items():
        if old in body:
            text = f"Unsupported parameter: '{old}'. In the Responses API, this parameter has moved to '{new}'."
            yield refuse(text, "moved", old, "unsupported_parameter")
    for old, new in RENAMED.items():
        if old in body:
            text = f"Unsupported parameter: '{old}' is not supported with this model. Use '{new}' instead."
            yield refuse(text, "moved", old, "unsupported_parameter")
    for old in GONE:
        if old in body:
            yield refuse(f"Unknown parameter: '{old}'.", "unknown", old, "unknown_parameter")


def parts(case: Case) -> Iterator[Finding]:
    """Messages and tools in detail: what they may hold depends on the role and the type."""
    yield from _each(case.body.get("input"), "input", (None, "message"), MESSAGE)
    yield from _each(case.body.get("tools"), "tools", ("function",), FUNCTION)


def _each(given: Any, name: str, kinds: tuple[str | None, ...], spec: Spec) -> Iterator[Finding]:
    for index, item in enumerate(given if isinstance(given, list) else ()):
        if isinstance(item, Mapping) and item.get("type") in kinds:
            yield from check(item, spec, (name, index))


# ------------------------------------------------------------------- items


def items(case: Case) -> list[Mapping[str, Any]]:
    given = case.body["input"]
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _kind(item: Mapping[str, Any]) -> str:
    return str(item.get("type") or "message")


def _pairs(case: Case) -> Iterator[Violation]:
    if case.body.get("previous_response_id"):
        return
    calls = [item["call_id"] for item in items(case) if _kind(item) == "function_call"]
    outputs = [item["call_id"] for item in items(case) if _kind(item) == "function_call_output"]
    for call in outputs:
        if call not in calls:
            text = f"No tool call found for function call output with call_id {call}."
            yield refuse(text, "orphan_result", "input")
    for call in calls:
        if call not in outputs:
            yield refuse(f"No tool output found for function call {call}.", "unanswered_call", "input")
    if len(set(outputs)) != len(outputs):
        yield refuse("Duplicate function call output found in input.", "duplicate_result", "input")


def _order(case: Case) -> Iterator[Violation]:
    seen: set[str] = set()
    for item in items(case):
        if _kind(item) == "function_call":
            seen.add(item["call_id"])
        elif _kind(item) == "function_call_output" and item["call_id"] not in seen:
            text = f"No tool call found for function call output with call_id {item['call_id']}."
            yield refuse(text, "orphan_result", "input")


FOLLOWERS = ("message", "function_call", "reasoning")


def _reasoning_followed(case: Case) -> Iterator[Violation]:
    given = items(case)
    for item, after in zip(given, [*given[1:], {"type": "nothing"}], strict=True):
        said = _kind(after) in FOLLOWERS and after.get("role") in (None, "assistant")
        if _kind(item) == "reasoning" and not said:
            text = f"Item '{item['id']}' of type 'reasoning' was provided without its required following item."
            yield refuse(text, "reasoning_alone", "input")


def stem(name: str) -> str:
    """What the items of one answer share: ``rs_X``, ``fc_X_0`` and ``msg_X`` belong together."""
    return name.split("_")[1] if "_" in name else name


def _reasoning_kept(case: Case) -> Iterator[Violation]:
    """An item that came after reasoning does not come back without it (its id says whether it did)."""
    known = {stem(item["id"]) for item in items(case) if _kind(item) == "reasoning"}
    for item in items(case):
        name = item.get("id") or ""
        if _kind(item) in ("function_call", "message") and stem(name).startswith("r0") and stem(name) not in known:
            kind = _kind(item)
            text = (
                f"Item '{name}' of type '{kind}' was provided without its required 'reasoning' item: 'rs_{stem(name)}'."
            )
            yield refuse(text, "reasoning_missing", "input")


def _reasoning_readable(case: Case) -> Iterator[Violation]:
    for item in items(case):
        if _kind(item) != "reasoning":
            continue
        sealed = item.get("encrypted_content")
        if sealed is None:
            text = (
                f"Item with id '{item['id']}' not found. Items are not persisted when `store` is set to false. "
                "Try again with `store` set to true, or remove this item from your input."
            )
            yield refuse(text, "reasoning_unreadable", "input", status=404)
        elif sealed != sign(case.model, item["id"]):
            text = f"The encrypted content for item {item['id']} could not be verified."
            yield refuse(f"{text} Reason: Encrypted content could not be decrypted or parsed.", "foreign_thinking",
                         code="invalid_encrypted_content")  # fmt: skip


def _stored(case: Case) -> Iterator[Violation]:
    previous = case.body.get("previous_response_id")
    if previous:
        text = f"Previous response with id '{previous}' not found."
        yield refuse(text, "previous_response", "previous_response_id", "previous_response_not_found")


def _media(case: Case) -> Iterator[Violation]:
    kinds = {"input_image": "image", "input_file": "document"}
    for index, item in enumerate(items(case)):
        content = item.get("content") or item.get("output")
        for part in content if isinstance(content, list) else ():
            kind = kinds.get(part.get("type", ""))
            if kind and kind not in case.card.inputs:
                text = f"Invalid content type. {part['type']} is only supported by certain models."
                yield refuse(text, "media", f"input[{index}].content")


# ------------------------------------------------------- tools and formats


def _functions(case: Case) -> list[Mapping[str, Any]]:
    return [tool for tool in case.body.get("tools") or () if tool["type"] == "function"]


def _choice(case: Case) -> Iterator[Violation]:
    choice = case.body.get("tool_choice")
    if choice not in (None, "none", "auto") and not case.body.get("tools"):
        text = "Tool choices other than 'auto' or 'none' require 'tools' to be specified."
        yield refuse(text, "choice_without_tools", "tool_choice")
        return
    named = choice["name"] if isinstance(choice, dict) and choice["type"] == "function" else None
    if named is not None and named not in [tool["name"] for tool in _functions(case)]:
        text = f"Tool choice '{named}' not found in 'tools' parameter."
        yield refuse(text, "unknown_choice", "tool_choice")


def _tool_schemas(case: Case) -> Iterator[Violation]:
    for index, tool in enumerate(_functions(case)):
        if tool.get("parameters") is None and not tool.get("strict"):
            continue
        for where, problem in problems(tool.get("parameters"), OPENAI_STRICT if tool.get("strict") else PLAIN):
            text = f"Invalid schema for function '{tool['name']}': {context(where)}{problem}"
            yield refuse(text, "schema", f"tools[{index}].parameters", "invalid_function_parameters")


def _format(case: Case) -> dict[str, Any]:
    wanted: dict[str, Any] = (case.body.get("text") or {}).get("format") or {}
    return wanted


def _answer_schema(case: Case) -> Iterator[Violation]:
    wanted = _format(case)
    if wanted.get("type") == "json_schema":
        for where, problem in problems(wanted["schema"], OPENAI_STRICT if wanted.get("strict") else PLAIN):
            text = f"Invalid schema for response_format '{wanted['name']}': {context(where)}{problem}"
            yield refuse(text, "schema", "text.format.schema", "invalid_json_schema")


def _json_word(case: Case) -> Iterator[Violation]:
    prompt = [case.body["input"], case.body.get("instructions")]
    if _format(case).get("type") == "json_object" and not mentions_json(prompt):
        text = "Response input messages must contain the word 'json' in some form to use 'text.format' of type"
        yield refuse(f"{text} 'json_object'.", "json_word", "input")


# ------------------------------------------------------ what a model refuses


def _effort(case: Case) -> Iterator[Violation]:
    reasoning = case.body.get("reasoning") or {}
    effort = reasoning.get("effort")
    if reasoning and case.has("no_effort"):
        text = "Unsupported parameter: 'reasoning.effort' is not supported with this model."
        yield refuse(text, "effort", "reasoning.effort", "unsupported_parameter")
    elif effort is not None and effort not in case.card.efforts:
        values = ", ".join(f"'{name}'" for name in sorted(case.card.efforts))
        text = f"Unsupported value: '{effort}' is not supported with the '{case.model}' model."
        yield refuse(f"{text} Supported values are: {values}.", "effort", "reasoning.effort", "unsupported_value")


def _sampling(case: Case) -> Iterator[Violation]:
    if not case.has("no_sampling") or (case.body.get("reasoning") or {}).get("effort") == "none":
        return
    for name in ("temperature", "top_p", "top_logprobs"):
        if case.body.get(name) not in (None, 1):
            yield unsupported(name, case.body[name])


def _limits(case: Case) -> Iterator[Violation]:
    asked = case.body.get("max_output_tokens")
    if asked and asked > case.card.max_output:
        text = f"max_output_tokens is too large: {asked}. This model supports at most {case.card.max_output} tokens."
        yield refuse(text, "output_limit", "max_output_tokens", "invalid_value")
    prompt = tokens_of([case.body["input"], case.body.get("instructions"), case.body.get("tools")])
    if prompt > case.card.window:
        text = "Your input exceeds the context window of this model. Please adjust your input and try again."
        yield refuse(text, "context", "input", "context_length_exceeded")


RULES: tuple[Rule, ...] = (
    _pairs,
    _order,
    _reasoning_followed,
    _reasoning_kept,
    _reasoning_readable,
    _stored,
    _media,
    _choice,
    _tool_schemas,
    _answer_schema,
    _json_word,
    _effort,
    _sampling,
    _limits,
)
