"""What the real APIs refuse, refused the same way: status, body and words.

    violations("anthropic", "anthropic", body, headers) -> []            # it would be taken
    violations("chat", "openai", {"model": "gpt-6-luna"}) -> [Violation(400, "Missing required parameter: ...")]

Judged in the order of the real APIs: credential, model, shape of the body, then the rules of the conversation and
of the model.  Later stages are not reached when an earlier one refuses.  The first violation is what the provider
would answer; the rest help to mend everything at once.  Rules are tables (``chat.MANNERS``, ``messages.RULES``,
``responses.RULES``) of small functions over a ``Case``.

Also here: ``ignored`` (fields a provider drops without a word), ``sign`` and ``opening`` (signatures of thinking
blocks, for histories in tests), ``error_body`` (a provider's error as bytes), ``tokens_of`` (a prompt's size).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from failover.testing.strict import chat, messages, responses
from failover.testing.strict.case import Body, Case, Rule, opening, sign, tokens_of
from failover.testing.strict.shape import Obj, check
from failover.testing.strict.wording import Violation, bracketed, error_body, worded
from failover.testing.world import DialectName, Row, row

__all__ = ["Case", "Violation", "error_body", "ignored", "opening", "sign", "tokens_of", "violations"]


@dataclass(frozen=True, slots=True)
class Judge:
    """A dialect's spec, its rules, checks that come before the shape, and who drops unknown fields silently."""

    spec: Callable[[Case], Obj]
    rules: Callable[[Case], tuple[Rule, ...]]
    before: Rule
    after: Rule
    ignores: Callable[[Row], bool]


def _nothing(case: Case) -> Iterator[Violation]:
    return iter(())


def _version(case: Case) -> Iterator[Violation]:
    return iter(()) if case.headers is None else messages.headers(case.headers)


def _parts(case: Case) -> Iterator[Violation]:
    for finding in responses.parts(case):
        yield worded(case.row.shape, finding)


JUDGES: Mapping[DialectName, Judge] = {
    "chat": Judge(
        lambda case: chat.manners(case.row.name).body,
        lambda case: chat.manners(case.row.name).rules,
        _nothing,
        _nothing,
        lambda row: chat.manners(row.name).ignores,
    ),
    "anthropic": Judge(messages.body_spec, lambda case: messages.RULES, _version, _nothing, lambda row: False),
    "responses": Judge(
        lambda case: responses.BODY, lambda case: responses.RULES, responses.renamed, _parts, lambda row: False
    ),
}


def violations(
    dialect: DialectName,
    provider: str | Row,
    body: Body,
    headers: Mapping[str, str] | None = None,
    key: str | None = None,
) -> list[Violation]:
    """Everything for which ``provider`` would refuse this request; empty: it would be served.

    headers: as sent; None: neither credential nor version is judged.  key: the only key that is accepted;
    None: any that is not empty.
    """
    case = _case(dialect, provider, body, headers, key)
    for stage in (_credential, _model, _form, _rules):
        if found := list(stage(case)):
            return found
    return []


def ignored(dialect: DialectName, provider: str | Row, body: Body) -> list[str]:
    """Fields of the body that this provider drops without a word: what they asked for will not happen."""
    case = _case(dialect, provider, body)
    judge = JUDGES[dialect]
    if not judge.ignores(case.row):
        return []
    return [bracketed(finding.path) for finding in check(dict(body), judge.spec(case)) if finding.kind == "unknown"]


def _case(
    dialect: DialectName,
    provider: str | Row,
    body: Body,
    headers: Mapping[str, str] | None = None,
    key: str | None = None,
) -> Case:
    who = row(provider) if isinstance(provider, str) else provider
    lower = None if headers is None else {name.lower(): value for name, value in headers.items()}
    return Case(dialect, who, who.card(str(body.get("model"))) or who.stranger, body, lower, key)


# ------------------------------------------------------------------ stages


def _credential(case: Case) -> Iterator[Violation]:
    if case.headers is None or not case.row.auth:
        return
    given = next((case.headers[name] for name in case.row.auth if case.headers.get(name)), "")
    token = given.removeprefix("Bearer ").strip()
    if not token or (case.key is not None and token != case.key):
        yield unauthorized(case.row, token)


KEY_WORDS: Mapping[str, tuple[str, str, str | None]] = {  # words, type, code
    "openai": ("Incorrect API key provided: {key}.", "invalid_request_error", "invalid_api_key"),
    "anthropic": ("invalid x-api-key", "authentication_error", None),
    "deepseek": (
        "Authentication Fails, Your api key: {key} is invalid",
        "authentication_error",
        "invalid_request_error",
    ),
    "groq": ("Invalid API Key", "invalid_request_error", "invalid_api_key"),
    "openrouter": ("User not found.", "authentication_error", None),
    "gemini": ("API key not valid. Please pass a valid API key.", "invalid_request_error", None),
    "azure": (
        "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for an "
        "active subscription and use a correct regional API endpoint for your resource.",
        "invalid_request_error",
        "401",
    ),
    "fireworks": ("The API key you provided is invalid.", "invalid_request_error", "UNAUTHORIZED"),
    "cerebras": ("Wrong API Key", "invalid_request_error", "wrong_api_key"),
    "xai": ("Incorrect API key provided: {key}.", "invalid_request_error", "Client specified an invalid argument"),
}
KEY_STATUS: Mapping[str, int] = {"gemini": 400, "xai": 400}


def unauthorized(who: Row, token: str) -> Violation:
    """This provider's answer to a wrong or missing key."""
    words, kind, code = KEY_WORDS.get(who.shape, KEY_WORDS["openai"])
    shown = f"{token[:3]}****{token[-4:]}" if token else "''"
    text = words.format(key=shown)
    return Violation(KEY_STATUS.get(who.shape, 401), text, "credential", kind, code)


MODEL_WORDS: Mapping[str, Violation] = {
    "openai": Violation(
        404, "The model `{model}` does not exist or you do not have access to it.", "model", code="model_not_found"
    ),
    "anthropic": Violation(404, "model: {model}", "model", "not_found_error"),
    "deepseek": Violation(400, "Model Not Exist", "model", code="invalid_request_error"),
    "openrouter": Violation(400, "{model} is not a valid model ID", "model"),
    "gemini": Violation(404, "models/{model} is not found for API version v1main.", "model"),
    "mistral": Violation(400, "Invalid model: {model}", "model", "invalid_model", "1500"),
    "azure": Violation(
        404,
        "The API deployment for this resource does not exist. If you created the deployment within the last 5 minutes, "
        "please wait a moment and try again.",
        "model",
        code="DeploymentNotFound",
    ),
    "fireworks": Violation(
        404, "Model not found, inaccessible, and/or not deployed", "model", "invalid_request_error", "NOT_FOUND"
    ),
    "cerebras": Violation(
        404,
        "Model {model} does not exist or you do not have access to it.",
        "model",
        "not_found_error",
        "model_not_found",
        "model",
    ),
    "xai": Violation(
        404,
        "The model {model} does not exist or your team does not have access to it.",
        "model",
        code="Some requested entity was not found",
    ),
}


def no_such_model(who: Row, model: str) -> Violation:
    """This provider's answer to a model that it does not serve."""
    known = MODEL_WORDS.get(who.shape, MODEL_WORDS["openai"])
    text = known.message.format(model=model)
    return Violation(known.status, text, known.rule, known.type, known.code, known.param)


def _model(case: Case) -> Iterator[Violation]:
    if isinstance(case.body.get("model"), str) and case.row.card(case.model) is None:
        yield no_such_model(case.row, case.model)


def _form(case: Case) -> Iterator[Violation]:
    judge = JUDGES[case.dialect]
    yield from judge.before(case)
    for finding in check(dict(case.body), judge.spec(case)):
        if finding.kind != "unknown" or not judge.ignores(case.row):
            yield worded(case.row.shape, finding)
    yield from judge.after(case)


def _rules(case: Case) -> Iterator[Violation]:
    for rule in JUDGES[case.dialect].rules(case):
        yield from rule(case)
