"""How long things take, and how large they are: distributions that are drawn from with a seeded generator."""

from __future__ import annotations

import re
from math import exp, log
from random import Random
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import MinLen
from pydantic import BeforeValidator

from failover._checked import settings
from failover.errors import ConfigurationError
from failover.settings import NotNegative, Positive

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|min|[smhdw])")
_NORMAL = NormalDist()


def seconds(text: str) -> float:
    """Seconds of a span such as ``"90s"``, ``"2h 30m"`` or ``"1d"``; raises ``ValueError`` for anything else."""
    plain = text.replace(" ", "")
    parts = _PART.findall(plain)
    if not parts or "".join(map("".join, parts)) != plain:
        raise ValueError(text)
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


def _span(value: Any) -> Any:
    try:
        return seconds(value) if isinstance(value, str) else value
    except ValueError:
        raise ConfigurationError(f'{value!r} is no span of time: write seconds, or "90s", "2h 30m", "1d"') from None


if TYPE_CHECKING:
    Span = float | str  # what may be written; it is kept as seconds
else:
    Span = Annotated[NotNegative, BeforeValidator(_span)]


@settings
class LogNormal:
    """Most values near the ``median``, one in a hundred above ``p99``: the shape of latencies and lengths."""

    median: Positive
    p99: Positive

    def __post_init__(self) -> None:
        if self.p99 < self.median:
            raise ConfigurationError(f"LogNormal: p99 = {self.p99:g} is below the median of {self.median:g}")

    @property
    def sigma(self) -> float:
        """The standard deviation of the logarithm."""
        return log(self.p99 / self.median) / _NORMAL.inv_cdf(0.99)

    def draw(self, random: Random) -> float:
        return exp(log(self.median) + self.sigma * random.gauss(0.0, 1.0))

    def quantile(self, share: float) -> float:
        return exp(log(self.median) + self.sigma * _NORMAL.inv_cdf(share))


@settings
class Samples:
    """Values that were measured; each is as likely as the others."""

    values: Annotated[tuple[NotNegative, ...], MinLen(1)]

    def draw(self, random: Random) -> float:
        return self.values[int(random.random() * len(self.values))]

    def quantile(self, share: float) -> float:
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@settings
class Exactly:
    """Always the same value."""

    value: NotNegative

    def draw(self, random: Random) -> float:
        return self.value

    def quantile(self, share: float) -> float:
        return self.value


def _spread(value: Any) -> Any:
    """A bare number is that number always."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return Exactly(value) if number else value


if TYPE_CHECKING:
    Spread = LogNormal | Samples | Exactly | float
else:
    Spread = Annotated[LogNormal | Samples | Exactly, BeforeValidator(_spread)]


def moment(value: float | str) -> float:
    """Seconds, however they are written."""
    return float(_span(value))
