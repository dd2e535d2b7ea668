"""Portable conversations: any history onto any wire, without a refusal.

A history may hold turns of several models, broken off and trimmed anywhere, with ids that only their maker takes.
``portable`` rewrites it into a normal form that one wire accepts; ``ReplayRules`` says what that wire accepts, as
data; ``rules_for`` finds the rules of a model.  The normal form, which a dialect may rely on:

- ``system`` messages hold text only; under ``system="leading"`` there is at most one, and it is first
- ``assistant`` messages hold ``Thinking``, ``Text`` and ``ToolCall``; none is empty, none ends in bare reasoning
- an assistant message with calls is followed by exactly one ``tool`` message: a ``ToolResult`` per call, in the
  calls' order, missing ones made up; results that answer no call have become text of a ``user`` message
- ``user`` messages hold ``Text`` and ``Media``; tool results hold a string, or blocks where the wire takes media
- ids and tool names fit the wire; arguments of calls are JSON objects wherever the wire or another author needs it
- whatever is still there may be sent: foreign reasoning, signatures and ``extra`` are gone, so no dialect has to
  look at authors again

What the target itself wrote (``message.author == model.author``) goes back byte for byte, as far as the wire allows.
Everything is a function of the history alone and works front to back, so a conversation that grows keeps its prefix
(and the provider's prompt cache).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal, TypeVar

from pydantic_core import from_json, to_json

from failover.dialects.base import Model
from failover.dialects.media import settled
from failover.types import (
    Answer,
    Block,
    Chunk,
    Media,
    MediaKind,
    Message,
    Role,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)

NO_RESULT = "No result was recorded for this call."
CONTINUE = "Continue."
OPENING = "(The conversation begins here.)"
BRIDGE = "Understood."

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
SPEAKER = re.compile(r"[a-zA-Z0-9_-]{1,64}")
ALPHABET = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
AS_LETTERS = bytes(ALPHABET[byte % len(ALPHABET)] for byte in range(256))


# ------------------------------------------------------------------- rules


@dataclass(frozen=True, slots=True)
class ReplayRules:
    """What one wire accepts in a history.

    tool_id: what an id must look like in full; ``id_prefix`` and ``id_length`` shape the ids made in place of others.
    tool_name: what a tool's name must look like in full.
    media: kinds of media a user turn can carry; ``tool_media``: kinds a tool result can.
    system: ``"leading"`` gathers all system text in one first message, ``"anywhere"`` leaves it where it stands.
    merge: neighbouring messages of one role become one.
    first_user: the first turn must be the user's.
    last: ``"any"``, or ``"user"``: an assistant turn at the end is followed by a user's that asks to go on, unless the
        model's facts say ``prefill``: then it is continued, but not after trailing white space.
    user_after_tool: a user turn may follow tool results directly; else the assistant is made to say something first.
    reasoning: own reasoning goes back (``"own"``), only where signed or sealed (``"signed"``), or never (``"drop"``).
    reasoning_with_tools: the wire wants a reasoning field beside every tool call, even an empty one (the chat
        dialect writes ``reasoning_content: ""`` where there is none).
    blank_text: text of white space alone is accepted beside other content, and empty text in its place.
    object_arguments: even the model's own arguments must be a JSON object.
    call_extra: put on calls of other authors, and on a turn's own calls when they lost all of theirs on the way.
    extra_keys: keys of ``extra`` that this wire can send back; all others stay behind.
    opaque: the key of ``Thinking.extra`` under which this dialect keeps whole blocks that have no other form.
    message_name: user turns may carry a ``name``.
    """

    tool_id: re.Pattern[str] = re.compile(r"[a-zA-Z0-9_-]{1,40}")
    id_prefix: str = "call_"
    id_length: int = 24
    tool_name: re.Pattern[str] = NAME
    media: frozenset[MediaKind] = frozenset(("image", "document", "audio", "video"))
    tool_media: frozenset[MediaKind] = frozenset()
    system: Literal["leading", "anywhere"] = "leading"
    merge: bool = True
    first_user: bool = True
    last: Literal["any", "user"] = "user"
    user_after_tool: bool = True
    reasoning: Literal["own", "signed", "drop"] = "drop"
    reasoning_with_tools: bool = False
    blank_text: bool = True
    object_arguments: bool = True
    call_extra: Mapping[str, Any] = field(default_factory=dict)
    extra_keys: frozenset[str] = frozenset(("extra_content", "reasoning_details"))
    opaque: str = ""
    message_name: bool = False


OPENAI = ReplayRules(
    system="anywhere",
    merge=False,
    first_user=False,
    last="any",
    object_arguments=False,
    message_name=True,
)
MISTRAL = ReplayRules(tool_id=re.compile(r"[a-zA-Z0-9]{9}"), id_prefix="", id_length=9, user_after_tool=False)
"""Ids of nine letters and digits; no user turn after a tool's: error codes 3280 and 3230 of Mistral's API.  The chat
templates of its models say the same on every server, so the rules go by the model's name as well."""
DEEPSEEK = ReplayRules(reasoning="own", reasoning_with_tools=True)
GEMINI = ReplayRules(
    tool_name=re.compile(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}"),
    call_extra={"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}},
)
"""Calls need a thought signature; Google documents this dummy for calls that another model made."""
LOCAL = MISTRAL
"""Servers that run a model's own chat template: the strictest that templates are known to be (one leading system
message, strict alternation, Mistral's ids), because a template cannot be asked."""
ROUTER = ReplayRules(reasoning="own")
SIMPLE = ReplayRules()

RESPONSES = ReplayRules(
    tool_id=re.compile(r"[a-zA-Z0-9_-]{1,64}"),
    media=frozenset(("image", "document")),
    tool_media=frozenset(("image", "document")),
    system="anywhere",
    merge=False,
    first_user=False,
    last="any",
    reasoning="signed",
    object_arguments=False,
    extra_keys=frozenset(
        ("id", "phase", "annotations", "refusal", "summary", "content", "namespace", "caller", "responses_item")
    ),
    opaque="responses_item",
)
ANTHROPIC = ReplayRules(
    tool_id=re.compile(r"[a-zA-Z0-9_-]{1,64}"),
    id_prefix="toolu_",
    media=frozenset(("image", "document")),
    tool_media=frozenset(("image", "document")),
    reasoning="signed",
    blank_text=False,
    extra_keys=frozenset(("citations", "caller", "toolset_name", "anthropic_block")),
    opaque="anthropic_block",
)

_ANY = re.compile("")
_MISTRAL_FAMILY = re.compile(r"(mis|minis|codes|devs|magis|pix|vox|mix)tral", re.I)

RULES: tuple[tuple[str, str, re.Pattern[str], ReplayRules], ...] = (
    # dialect, provider, model, rules: the first row that fits
    ("anthropic", "", _ANY, ANTHROPIC),
    ("responses", "", _ANY, RESPONSES),
    ("chat", "mistral", _ANY, MISTRAL),
    ("chat", "", _MISTRAL_FAMILY, MISTRAL),
    ("chat", "openai", _ANY, OPENAI),
    ("chat", "azure", _ANY, OPENAI),
    ("chat", "deepseek", _ANY, DEEPSEEK),
    ("chat", "gemini", _ANY, GEMINI),
    ("chat", "openrouter", _ANY, ROUTER),
    ("chat", "groq", _ANY, SIMPLE),
    ("chat", "together", _ANY, SIMPLE),
    ("chat", "fireworks", _ANY, SIMPLE),
    ("chat", "xai", _ANY, SIMPLE),
    ("chat", "cerebras", _ANY, SIMPLE),
    ("chat", "", _ANY, LOCAL),
)


def rules_for(model: Model, dialect: str) -> ReplayRules:
    """The rules of ``model`` on the wire ``dialect`` (``chat``, ``responses``, ``anthropic``)."""
    return _rules(dialect, model.provider.name, model.id)


@lru_cache(maxsize=1024)
def _rules(dialect: str, provider: str, model: str) -> ReplayRules:
    for wire, name, pattern, rules in RULES:
        if wire == dialect and name in ("", provider) and pattern.search(model):
            return rules
    return LOCAL


# -------------------------------------------------------------- tool names


def wire_name(name: str, rules: ReplayRules) -> str:
    """``name`` where the wire takes it, else a legal one that always comes out the same for it."""
    if rules.tool_name.fullmatch(name):
        return name
    legal = re.sub(r"[^a-zA-Z0-9_-]", "_", name)[:48].strip("_-")
    return f"tool_{legal}_{_digest(name, 8)}"


def tool_names(tools: Sequence[Tool], rules: ReplayRules) -> dict[str, str]:
    """Names as the wire knows them → the caller's own, for the tools whose names had to change (mostly none).

    A dialect sends ``wire_name(tool.name, rules)`` in tools, tool choice and history (``portable`` has done that for
    the history) and gives this mapping out as ``Wire.tool_names``.  ``parse`` and decoders know nothing of it:
    whoever sent the wire applies ``with_own_names`` to what came back.
    """
    if not tools:
        return {}
    pairs = ((wire_name(tool.name, rules), tool.name) for tool in tools if tool.native is None)
    return {wire: own for wire, own in pairs if wire != own}


Item = TypeVar("Item", Answer, Chunk)


def with_own_names(item: Item, names: Mapping[str, str]) -> Item:
    """``item`` with the tools in its calls named as the caller named them; the same object where nothing changes."""
    if not names:
        return item
    if isinstance(item, Chunk):
        item.tool_calls = tuple(_own_name(call, names) for call in item.tool_calls)
        return item
    message = item.message
    content = tuple(_own_name(block, names) if isinstance(block, ToolCall) else block for block in message.content)
    return replace(item, message=Message(message.role, content, message.author, message.name))


def _own_name(call: ToolCall, names: Mapping[str, str]) -> ToolCall:
    return replace(call, name=names[call.name]) if call.name in names else call


# --------------------------------------------------------------- the whole


def portable(messages: Sequence[Message], model: Model, rules: ReplayRules) -> tuple[Message, ...]:
    """``messages`` in the normal form that ``rules`` ask for, as ``model`` may see them."""
    return tuple(messages) if _is_plain(messages) else _rewritten(messages, model, rules)


def _rewritten(messages: Sequence[Message], model: Model, rules: ReplayRules) -> tuple[Message, ...]:
    named = _named(list(_paired(messages)), model.author, rules)
    told = [part for message in named for part in _told(message, message.author == model.author, rules)]
    placed = _leading_system(told) if rules.system == "leading" else told
    merged = _merged(placed, rules) if rules.merge else placed
    begun = _begun(_bridged(merged, rules), rules)
    return tuple(begun if rules.last == "any" else _ended(begun, model.facts.prefill))


AFTER: Mapping[str, tuple[str, ...]] = {
    "": ("system", "user"),
    "system": ("user",),
    "user": ("assistant",),
    "assistant": ("user",),
}
"""Which turns may follow a turn on every wire; none may follow the last but the model's."""


def _is_plain(messages: Sequence[Message]) -> bool:
    """Nothing but text, in an order that every wire takes: the normal form of most conversations, under any rules."""
    last = ""
    for message in messages:
        if message.role not in AFTER[last] or message.name or not message.content:
            return False
        for block in message.content:
            if type(block) is not Text or block.extra or not block.text or block.text.isspace():
                return False
        last = message.role
    return last == "user"


# ------------------------------------------------------ calls meet results

Place = tuple[int, int]  # number of the message, number of the block in it
MISSING = ToolResult("", NO_RESULT, is_error=True)


def estranged(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The history as nobody's who is asked: without reasoning, signatures and ids that only their author may see."""
    return tuple(replace(message, author=None) if message.author else message for message in messages)


def _paired(messages: Sequence[Message]) -> Iterator[Message]:
    """Every call is answered in the message after it; what cannot stay in its message, the user tells next."""
    matched = _matched(messages)
    for number, message in enumerate(messages):
        kept: list[Block] = []
        aside: list[Block] = []
        for at, block in enumerate(message.content):
            if not isinstance(block, ToolResult):
                (aside if _out_of_place(block, message.role) else kept).append(block)
            elif (number, at) in matched.strays:
                (kept if message.role in ("user", "tool") else aside).extend(_as_words(block))
        yield Message("user" if message.role == "tool" else message.role, kept, message.author, message.name)
        if calls := _calls(number, message):
            yield Message("tool", [matched.results.get(place, MISSING) for place, _ in calls])
        if aside:
            yield Message("user", aside)


def _out_of_place(block: Block, role: Role) -> bool:
    return isinstance(block, Media) and role in ("assistant", "system")


def _calls(number: int, message: Message) -> list[tuple[Place, ToolCall]]:
    if message.role != "assistant":
        return []
    return [((number, at), block) for at, block in enumerate(message.content) if isinstance(block, ToolCall)]


@dataclass(slots=True)
class _Matches:
    """Which result answers which call, and the places of the results that answer none.

    Ids repeat (some servers count from 0 in every turn): a result belongs to the latest turn that still waits for
    its id, there to the first such call.  A result without id goes to the first waiting call of the latest turn.
    """

    results: dict[Place, ToolResult] = field(default_factory=dict)
    strays: set[Place] = field(default_factory=set)
    waiting: dict[str, list[Place]] = field(default_factory=dict)
    latest: list[tuple[Place, ToolCall]] = field(default_factory=list)

    def opened(self, calls: list[tuple[Place, ToolCall]]) -> None:
        self.latest = calls
        for place, call in calls:
            self.waiting.setdefault(call.id, []).append(place)

    def answered(self, at: Place, result: ToolResult) -> None:
        place = self._by_id(result) if result.call_id in self.waiting else self._by_order(result)
        if place is None:
            self.strays.add(at)
        else:
            self.results[place] = result

    def _by_id(self, result: ToolResult) -> Place | None:
        places = self.waiting[result.call_id]
        first = next((at for at, place in enumerate(places) if place[0] == places[-1][0]), None)
        return None if first is None else places.pop(first)

    def _by_order(self, result: ToolResult) -> Place | None:
        for place, call in self.latest if not result.call_id else ():
            if place in self.waiting[call.id] and result.name in (None, call.name):
                self.waiting[call.id].remove(place)
                return place
        return None


def _matched(messages: Sequence[Message]) -> _Matches:
    matches = _Matches()
    for number, message in enumerate(messages):
        for at, block in enumerate(message.content):
            if isinstance(block, ToolResult):
                matches.answered((number, at), block)
        if calls := _calls(number, message):
            matches.opened(calls)
    return matches


def _as_words(result: ToolResult) -> Iterator[Text | Media]:
    """A result whose call is gone (a trimmed history): its content is kept, as something the user tells."""
    blocks = _blocks(result)
    if any(isinstance(block, Media) or block.text.strip() for block in blocks):
        yield Text(f"Result of the tool {result.name}:\n" if result.name else "Result of an earlier tool call:\n")
        yield from blocks


def _blocks(result: ToolResult) -> tuple[Text | Media, ...]:
    return (Text(result.content),) if isinstance(result.content, str) else result.content


# ----------------------------------------------------------- ids and names


class _Ids:
    """Gives every call of one history its id on the wire.

    The target's own ids stay; others stay while they fit and are free; the rest are made from the old id and how
    often it was seen, so the same history always gets the same ids.
    """

    def __init__(self, messages: Sequence[Message], author: str, rules: ReplayRules) -> None:
        self.rules = rules
        self.own = {call.id for message in messages if message.author == author for call in message.tool_calls}
        self.used: set[str] = set()
        self.seen: dict[str, int] = {}

    def give(self, call: ToolCall, own: bool) -> str:
        chosen = call.id if self._stays(call.id, own) else self._made(call.id)
        self.used.add(chosen)
        return chosen

    def _stays(self, old: str, own: bool) -> bool:
        if not old or old in self.used:
            return False
        return own or (old not in self.own and bool(self.rules.tool_id.fullmatch(old)))

    def _made(self, old: str) -> str:
        while True:
            count = self.seen[old] = self.seen.get(old, 0) + 1
            made = self.rules.id_prefix + _digest(f"{count}:{old}", self.rules.id_length)
            if made not in self.used and made not in self.own:
                return made


@lru_cache(maxsize=4096)
def _digest(text: str, length: int) -> str:
    """``length`` (at most 64) letters and digits that stand for ``text``: the bytes of its BLAKE2b hash, written so."""
    return blake2b(text.encode("utf-8", "surrogatepass")).digest()[:length].translate(AS_LETTERS).decode()


def _named(messages: Sequence[Message], author: str, rules: ReplayRules) -> Iterator[Message]:
    """Ids unique and to the wire's taste, the same for call and result; names legal, and known to results."""
    ids = _Ids(messages, author, rules)
    calls: tuple[ToolCall, ...] = ()
    for message in messages:
        if message.role == "tool":
            results = (block for block in message.content if isinstance(block, ToolResult))
            pairs = zip(results, calls, strict=True)
            yield Message("tool", [replace(result, call_id=call.id, name=call.name) for result, call in pairs])
        elif message.role == "assistant" and message.tool_calls:
            renamed = _calling(message, ids, message.author == author)
            calls = renamed.tool_calls
            yield renamed
        else:
            yield message


def _calling(message: Message, ids: _Ids, own: bool) -> Message:
    def called(block: Block) -> Block:
        if not isinstance(block, ToolCall):
            return block
        return replace(block, id=ids.give(block, own), name=wire_name(block.name, ids.rules))

    return Message("assistant", map(called, message.content), message.author, message.name)


# ------------------------------------------------------- what each may hold


def _told(message: Message, own: bool, rules: ReplayRules) -> Iterator[Message]:
    """``message`` with only what this wire may see of it; nothing where nothing is left."""
    match message.role:
        case "tool":
            yield from _tool(message, rules)
        case "assistant":
            content = _assistant(message, own, rules)
            if content:
                yield Message("assistant", content, message.author)
        case role:
            blocks = _spoken((_carried(block, rules.media) for block in message.content), rules)
            name = message.name if rules.message_name and SPEAKER.fullmatch(message.name or "") else None
            if blocks:
                yield Message(role, blocks, name=name)


def _spoken(blocks: Iterable[Block], rules: ReplayRules) -> list[Text | Media]:
    """Text and media, without what belongs to others; nothing where only white space is left."""
    kept = [_plain(block) for block in blocks if isinstance(block, Text | Media)]
    return _not_blank(kept, rules)


Said = TypeVar("Said", bound=Block)


def _not_blank(blocks: list[Said], rules: ReplayRules) -> list[Said]:
    if all(isinstance(block, Text) and not block.text.strip() for block in blocks):
        return []
    return [b for b in blocks if not isinstance(b, Text) or (b.text if rules.blank_text else b.text.strip())]


def _plain(block: Text | Media) -> Text | Media:
    return replace(block, extra={}) if isinstance(block, Text) and block.extra else block


def _carried(block: Block, kinds: frozenset[MediaKind]) -> Block:
    """Media with its data and type in order; what the wire cannot carry is at least mentioned."""
    if not isinstance(block, Media):
        return block
    if block.kind in kinds and (block.data or block.url or block.file_id):
        return settled(block)
    return Text(f"[{block.kind} {block.name}]" if block.name else f"[{block.kind}]")


def _tool(message: Message, rules: ReplayRules) -> Iterator[Message]:
    """Results as the wire takes them; media that it does not take there is shown by the user right after."""
    results: list[ToolResult] = []
    shown: list[Block] = []
    for result in message.content:
        assert isinstance(result, ToolResult)
        here, apart = _result(result, rules)
        results.append(here)
        shown += apart
    yield Message("tool", results)
    if shown:
        yield Message("user", shown)


def _result(result: ToolResult, rules: ReplayRules) -> tuple[ToolResult, list[Block]]:
    if isinstance(result.content, str):
        return result, []
    blocks = [_carried(block, rules.media) for block in result.content]
    apart: list[Block] = [block for block in blocks if isinstance(block, Media) and block.kind not in rules.tool_media]
    here = _spoken((block for block in blocks if block not in apart), rules)
    if apart:
        line = "\n" if here else ""
        here.append(Text(f"{line}[{len(apart)} attached below]"))
        apart.insert(0, Text(f"Attached to the result of {result.name}:\n"))
    content = tuple(here) if any(isinstance(block, Media) for block in here) else _text(here)
    return replace(result, content=content), apart


def _text(blocks: Iterable[Block]) -> str:
    return "".join(block.text for block in blocks if isinstance(block, Text))


def _assistant(message: Message, own: bool, rules: ReplayRules) -> list[Block]:
    keep = _kept_own if own else _kept_foreign
    kept = [block for block in (keep(block, rules) for block in message.content) if block is not None]
    if not own:
        kept.sort(key=lambda block: isinstance(block, ToolCall))  # words before calls, as every wire writes them
    if own and rules.call_extra and not any(isinstance(block, ToolCall) and block.extra for block in kept):
        kept = [replace(block, extra=rules.call_extra) if isinstance(block, ToolCall) else block for block in kept]
    content = _not_blank(kept, rules)
    while content and isinstance(content[-1], Thinking) and rules.opaque not in content[-1].extra:
        content.pop()
    return content


def _kept_foreign(block: Block, rules: ReplayRules) -> Block | None:
    match block:
        case Text():
            return _plain(block)
        case ToolCall(id, name, arguments):
            return ToolCall(id, name, _object(arguments), rules.call_extra)
        case _:
            return None


def _kept_own(block: Block, rules: ReplayRules) -> Block | None:
    match block:
        case Text() | ToolCall():
            known = {key: value for key, value in block.extra.items() if key in rules.extra_keys}
            if isinstance(block, ToolCall) and rules.object_arguments:
                return replace(block, arguments=_object(block.arguments), extra=known)
            return replace(block, extra=known)
        case Thinking():
            return _kept_thinking(block, rules)
        case _:
            return None


def _kept_thinking(block: Thinking, rules: ReplayRules) -> Thinking | None:
    known = {key: value for key, value in block.extra.items() if key in rules.extra_keys}
    sealed = block.signature or block.redacted or rules.opaque in known
    if rules.reasoning == "drop" or (rules.reasoning == "signed" and not sealed):
        return None
    return replace(block, extra=known)


def _object(arguments: str) -> str:
    """``arguments`` if they are a JSON object, else one that holds them, as Anthropic advises for broken ones."""
    if not arguments.strip():
        return "{}"
    try:
        if isinstance(from_json(arguments, allow_inf_nan=False), dict):
            return arguments
    except (ValueError, TypeError):  # TypeError: it holds half a surrogate pair
        pass
    return to_json({"INVALID_JSON": arguments.encode("utf-8", "replace").decode()}).decode()


# ---------------------------------------------------------- order of turns


def _leading_system(messages: Iterable[Message]) -> list[Message]:
    systems: list[Message] = []
    turns: list[Message] = []
    for message in messages:
        (systems if message.role == "system" else turns).append(message)
    return systems + turns


def _merged(messages: Iterable[Message], rules: ReplayRules) -> list[Message]:
    merged: list[Message] = []
    for message in messages:
        if merged and merged[-1].role == message.role:
            merged[-1] = _joined(merged[-1], message, rules)
        else:
            merged.append(message)
    return merged


def _joined(one: Message, other: Message, rules: ReplayRules) -> Message:
    """Both as one message, with a blank line between them where the wire would run their texts together."""
    touching = isinstance(one.content[-1], Text) and isinstance(other.content[0], Text)
    between = (Text("\n\n"),) if touching and rules.blank_text else ()
    author = one.author if one.author == other.author else None
    return Message(one.role, one.content + between + other.content, author, one.name)


def _bridged(messages: Iterable[Message], rules: ReplayRules) -> list[Message]:
    bridged: list[Message] = []
    for message in messages:
        if message.role == "user" and bridged and bridged[-1].role == "tool" and not rules.user_after_tool:
            bridged.append(Message("assistant", BRIDGE))
        bridged.append(message)
    return bridged


def _begun(messages: list[Message], rules: ReplayRules) -> list[Message]:
    """The user speaks first; with nothing but system text there is no one else to say it.

    A prompt with nothing in it is sent as that, since most wires take it, and where it must not be blank as a word
    that there is none.
    """
    if not messages:
        return [Message("user", Text("" if rules.blank_text else OPENING))]
    if not rules.first_user:
        return messages
    first = next((at for at, message in enumerate(messages) if message.role != "system"), None)
    if first is None:
        return [*messages[:-1], Message("user", messages[-1].content)]
    if messages[first].role == "user":
        return messages
    return [*messages[:first], Message("user", OPENING), *messages[first:]]


def _ended(messages: list[Message], prefill: bool) -> list[Message]:
    """A trailing assistant turn as the model wants it; one that its maker paused mid-turn stays as it is."""
    if not messages or messages[-1].role != "assistant":
        return messages
    *before, last = messages
    *rest, block = last.content
    if not isinstance(block, Text):
        return messages
    if not prefill:
        return [*messages, Message("user", CONTINUE)]
    return [*before, Message("assistant", [*rest, replace(block, text=block.text.rstrip())], last.author)]
