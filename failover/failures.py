"""What every failure means, as one table, and how a failure becomes a value.

``VERDICTS`` says what is done about each ``Kind``; nothing else in the project asks what a failure means.  Three rules
stand behind its rows:

- A breaker opens only for what the provider did wrong.  A 429 belongs to the limiter, a refused key to the switch, a
  caller's mistake, an overflow and a content filter to nobody.
- Whatever another target may do better goes on to it.  Only what is wrong on every wire stops the call.
- What will not pass by itself switches the credential off, or the model under it, until the moment that the provider
  stated; where it states none, for ``recheck`` seconds or until someone acts.

``classify`` reads an HTTP answer, ``classify_error`` an error inside a body or a stream, ``classify_exception`` an
exception of any SDK.  By which signs they tell failures apart stands in ``signs``; ``python -m failover.failures``
prints both tables as documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from failover.error_body import PER_DAY, Said, decoded, plain, read
from failover.errors import AllTargetsFailed, BadRequest, ContentFiltered, ContextOverflow, ProviderError
from failover.raised import BROKEN, answer_in, break_in, chain, class_names, sentence
from failover.signs import BY_STATUS, NAMES, RANGES, SIGNS, Sign, recognise
from failover.types import Failure, Kind
from failover.types import RateHint as RateHint  # read here, defined where answers carry it
from failover.waits import DAY, date_in, moment, next_midnight, next_month, stated
from failover.waits import rate_hint as rate_hint
from failover.waits import retry_after as retry_after

Scope = Literal["credential", "model"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do about a failure.

    retry: the same target may be asked again (when no other can take the call).
    failover: another target may be asked.
    blame: it counts against the target's breaker.
    cool_down: the target's limiter pauses for the stated or a default time.
    disable: the credential, or this model under it, is switched off until the stated time or by hand.
    billed: the provider may charge for it, so the reservation is kept where no usage is known.
    adapt: the same target may be asked once more at once, without what it refused or with the key as it is now.
    recheck: seconds a switch stays off where the provider states no time; None: until someone acts.
    error: the exception by which a caller learns of it.
    """

    retry: bool = False
    failover: bool = True
    blame: bool = False
    cool_down: bool = False
    disable: Scope | None = None
    billed: bool = False
    adapt: bool = False
    recheck: float | None = None
    error: type[ProviderError] = ProviderError


AN_HOUR = 3600.0

VERDICTS: Mapping[Kind, Verdict] = {
    # never reached the model
    Kind.CONNECT: Verdict(retry=True, blame=True),
    Kind.TLS: Verdict(blame=True),
    Kind.POOL: Verdict(retry=True),
    Kind.CONNECT_TIMEOUT: Verdict(retry=True, blame=True),
    # reached it, got nothing usable
    Kind.TIMEOUT: Verdict(retry=True, blame=True, billed=True),
    Kind.DISCONNECTED: Verdict(retry=True, blame=True, billed=True),
    Kind.SERVER_ERROR: Verdict(retry=True, blame=True),
    Kind.OVERLOADED: Verdict(retry=True, blame=True, cool_down=True),
    Kind.UNAVAILABLE_TLS: Verdict(blame=True),
    Kind.REQUEST_TIMEOUT: Verdict(retry=True, blame=True),
    Kind.CONFLICT: Verdict(retry=True),
    Kind.CAPACITY: Verdict(retry=True),
    Kind.CANCELLED: Verdict(retry=True),
    # rate and money
    Kind.RATE_LIMITED: Verdict(retry=True, cool_down=True),
    Kind.SLOW_DOWN: Verdict(retry=True, cool_down=True),
    Kind.OVER_RATE: Verdict(),
    Kind.IN_FLIGHT_BUDGET: Verdict(retry=True, cool_down=True),
    Kind.REQUEST_TOO_EXPENSIVE: Verdict(),
    Kind.CREDIT: Verdict(disable="credential"),
    Kind.SPEND_LIMIT: Verdict(disable="credential"),
    # who we are
    Kind.AUTH: Verdict(disable="credential", adapt=True),
    Kind.PERMISSION: Verdict(disable="model"),
    Kind.FORBIDDEN: Verdict(disable="credential"),
    Kind.MODEL_NOT_FOUND: Verdict(disable="model", recheck=AN_HOUR),
    Kind.WRONG_URL: Verdict(disable="credential", recheck=AN_HOUR),
    Kind.REDIRECT: Verdict(disable="credential", recheck=AN_HOUR),
    Kind.BLOCKED: Verdict(blame=True),
    # what was asked
    Kind.BAD_REQUEST: Verdict(failover=False, error=BadRequest),
    Kind.UNSUPPORTED_PARAMETER: Verdict(adapt=True),
    Kind.CONTEXT_OVERFLOW: Verdict(error=ContextOverflow),
    Kind.TOO_LARGE: Verdict(error=ContextOverflow),
    Kind.CONTENT_FILTER: Verdict(failover=False, error=ContentFiltered),
    Kind.TRANSLATION: Verdict(adapt=True),
    Kind.UNSUPPORTED: Verdict(),
    Kind.MODEL_FAULT: Verdict(retry=True, billed=True),
    # what was answered
    Kind.MALFORMED: Verdict(retry=True, blame=True, billed=True),
    Kind.EMPTY: Verdict(retry=True, billed=True),
    Kind.OVERSIZED: Verdict(blame=True, billed=True),
    Kind.CUT: Verdict(retry=True, blame=True, billed=True),
    # not theirs
    Kind.UNKNOWN: Verdict(blame=True, billed=True),
}


def may_retry(failure: Failure) -> bool:
    """Whether the same target may be asked again.

    A provider that says so itself (``x-should-retry``) is believed over the table, except about what it switched off.
    """
    verdict = VERDICTS[failure.kind]
    if failure.should_retry is None or verdict.disable or not verdict.failover:
        return verdict.retry
    return failure.should_retry


# ---------------------------------------------------------- classification


def classify(status: int, headers: Mapping[str, str], body: bytes, wall: float) -> Failure:
    """An HTTP answer that is no answer, as a value.

    Under a 2xx the error inside counts; a body that holds none is malformed.  ``wall``: epoch seconds, for times that
    the provider states as moments.
    """
    payload = decoded(body)
    if 200 <= status < 300 and not _is_error(payload):
        kind = Kind.EMPTY if payload == "" else Kind.MALFORMED
        return Failure(kind, read(payload).message if isinstance(payload, str) else "", status)
    return _failure(read(payload, status), plain(headers), wall)


def classify_error(payload: object, headers: Mapping[str, str], wall: float | None) -> Failure:
    """A decoded error inside a body or an event of a stream; without ``wall``, moments it states stay unknown."""
    return _failure(read(payload), plain(headers), wall)


def classify_exception(error: BaseException, wall: float) -> Failure:
    """An exception of any SDK or of Python, as a value; ``cause`` is the exception itself."""
    errors = chain(error)
    ours = next((each for each in errors if isinstance(each, ProviderError | AllTargetsFailed)), None)
    if ours is not None:
        return _nested(ours, error)
    answer = answer_in(errors)
    if answer is None:
        broken = break_in(errors)
        return Failure(broken.kind, sentence(error), sent=broken.sent, cause=error)
    said = read(answer.payload, answer.status)
    names = frozenset(name.lower() for each in errors for name in class_names(each))
    said = replace(said, codes=said.codes | names, message=said.message or sentence(error))
    return replace(_failure(said, answer.headers, wall), hint=rate_hint(answer.headers, wall), cause=error)


def _nested(ours: ProviderError | AllTargetsFailed, error: BaseException) -> Failure:
    """Of a failover inside this one: what stopped it, or that nobody answered it; whom it switched off is its own."""
    if isinstance(ours, ProviderError):
        return replace(ours.failure, cause=error)
    return Failure(Kind.SERVER_ERROR, str(ours), retry_after=ours.retry_at, cause=error)


ERROR_FIELDS = ("error", "errors", "detail")
ERROR_MARKS = (("type", "error"), ("object", "error"), ("status", "failure"), ("status", "failed"))


def _is_error(payload: object) -> bool:
    """A JSON body that says of itself that it is an error."""
    if isinstance(payload, list):
        payload = payload[0] if payload else None
    if not isinstance(payload, Mapping):
        return False
    return any(payload.get(name) for name in ERROR_FIELDS) or any(payload.get(key) == mark for key, mark in ERROR_MARKS)


def _failure(said: Said, headers: Mapping[str, str], wall: float | None) -> Failure:
    should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())
    kind, parameter = recognise(said)
    kind = _whose(kind, said, should_retry)
    until = _until(kind, said, wall)
    return Failure(
        kind,
        said.message or said.code or "",
        status=said.status,
        code=said.code,
        retry_after=_wait(kind, said, headers, until, wall),
        until=until,
        request_id=said.request_id or next(filter(None, map(headers.get, REQUEST_IDS)), None),
        parameter=parameter,
        should_retry=should_retry,
    )


REQUEST_IDS = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "cf-ray")


def _whose(kind: Kind, said: Said, should_retry: bool | None) -> Kind:
    """Second thoughts about whom an error concerns.

    The key that an upstream refused is the gateway's, not the caller's.  A request that the provider itself wants to
    see again was not at fault.
    """
    if said.upstream and VERDICTS[kind].disable == "credential":
        return Kind.SERVER_ERROR
    if kind is Kind.BAD_REQUEST and should_retry:
        return Kind.CONFLICT
    return kind


# ------------------------------------------------------------ how long for

FARTHEST = 366 * DAY
"""A limit that is said to end later than this is taken as one that does not end by itself."""
SOONEST = 60.0
"""Seconds that a switch stays off at least, whatever was stated: clocks differ."""

MONTHLY = frozenset(
    (
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "linked_organization_spend_limit_reached",
        "linked_organization_billing_unavailable",
    )
)
"""Anthropic's limits by the calendar month: they end at 00:00 UTC on the first of the next."""
PACIFIC = timedelta(hours=-8)
"""Google's daily quotas end at midnight in California; in summer, this is an hour late, never early."""


def _until(kind: Kind, said: Said, wall: float | None) -> float | None:
    """The moment at which a limit ends or a switch is worth trying again."""
    end = next((end for end in _ends(kind, said, wall) if end is not None), None)
    if end is None or wall is None:
        return end
    return max(end, wall + SOONEST) if end < wall + FARTHEST else None


def _ends(kind: Kind, said: Said, wall: float | None) -> Iterator[float | None]:
    if VERDICTS[kind].disable:
        yield moment(said.resets_at)
    if kind is Kind.SPEND_LIMIT:
        yield date_in(said.message)
    if wall is None:
        return
    if kind is Kind.SPEND_LIMIT and said.codes & MONTHLY:
        yield next_month(wall)
    if kind is Kind.RATE_LIMITED:
        yield from (end(wall) for sign, end in DAILY if sign(said))
    recheck = VERDICTS[kind].recheck
    yield None if recheck is None else wall + recheck


DAILY: tuple[tuple[Callable[[Said], bool], Callable[[float], float]], ...] = (
    # (a quota by the day, when it ends): the waits stated beside these are those of a shorter window
    (lambda said: PER_DAY in said.codes, lambda wall: next_midnight(wall, PACIFIC)),
    (lambda said: "openrouter_free_tier_daily" in said.codes, next_midnight),
    (lambda said: "free-models-per-day" in said.message, next_midnight),
)


def _wait(kind: Kind, said: Said, headers: Mapping[str, str], until: float | None, wall: float | None) -> float | None:
    """Seconds to wait: to the end of a limit that has one, else as stated."""
    if kind is Kind.RATE_LIMITED and until is not None and wall is not None:
        return until - wall
    return stated(headers, said, wall)


# ----------------------------------------------------------- documentation

INTRODUCTION = """\
<!-- Made by `python -m failover.failures`; do not edit. -->

# What failures mean

Every way an attempt can fail is one *kind*.  The first table says what is done about it, the second how it is
recognised: an error's names come before its status, and phrases count only in the provider's own sentence.

- **again**: the same target may be asked again, when no other can take the call
- **next**: another target is asked; without it, the call ends with the error named under **raises**
- **breaker**: counts against the target's circuit breaker
- **pause**: the target rests for the time that the provider stated
- **off**: the credential, or the model under it, is switched off until the stated time, for the given time, or by hand
- **cost**: the provider may charge for it, so the reserved amount stays charged where no usage is known
"""
NAMES_INTRODUCTION = """\
Names that say no more than a status does.  They stand in for one in streams and under HTTP 200:
"""


def table() -> str:
    """The tables of this package about failures, as Markdown."""
    return "\n".join([INTRODUCTION, *_verdict_rows(), "", *_sign_rows(), "", NAMES_INTRODUCTION, *_name_rows(), ""])


def _verdict_rows() -> Iterator[str]:
    yield "| kind | again | next | breaker | pause | off | cost | raises |"
    yield "|---|---|---|---|---|---|---|---|"
    for kind, verdict in VERDICTS.items():
        again = "once, adapted" if verdict.adapt else _tick(verdict.retry)
        ticks = (again, *map(_tick, (verdict.failover, verdict.blame, verdict.cool_down)))
        cells = (f"`{kind}`", *ticks, _off(verdict), _tick(verdict.billed), f"`{verdict.error.__name__}`")
        yield f"| {' | '.join(cells)} |"


def _tick(value: bool) -> str:
    return "yes" if value else ""


def _off(verdict: Verdict) -> str:
    return (verdict.disable or "") + (f", {verdict.recheck / 60:g} min" if verdict.recheck else "")


def _sign_rows() -> Iterator[str]:
    yield "| kind | names | sentence | status otherwise | exceptions |"
    yield "|---|---|---|---|---|"
    for kind in VERDICTS:
        signs = [sign for sign in SIGNS if sign.kind is kind]
        names = sorted(code + _where(sign) for sign in signs for code in sign.codes)
        phrases = [f"{_shown(sign)}{_where(sign)}" for sign in signs if sign.like or not sign.codes]
        statuses = [str(status) for status, meant in BY_STATUS.items() if meant is kind]
        statuses += [f"other {span.start // 100}xx" for span, meant in RANGES if meant is kind]
        raised = sorted(name for each in BROKEN if each.kind is kind for name in each.names)
        yield f"| `{kind}` | {', '.join(names)} | {'; '.join(phrases)} | {', '.join(statuses)} | {', '.join(raised)} |"


def _name_rows() -> Iterator[str]:
    yield "| status | names |"
    yield "|---|---|"
    for status in sorted(set(NAMES.values())):
        yield f"| {status} | {', '.join(sorted(name for name, meant in NAMES.items() if meant == status))} |"


def _shown(sign: Sign) -> str:
    if sign.like:
        return f"\u201c{sign.like}\u201d"
    return "a page of HTML" if sign.page else "nothing said"


def _where(sign: Sign) -> str:
    """The statuses to which a sign is bound."""
    bound = sorted(status for status in sign.statuses if status is not None)
    return f" ({', '.join(map(str, bound))})" if bound else ""


if __name__ == "__main__":
    print(table(), end="")
