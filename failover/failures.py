"""What every failure means, as one table, and how a failure is recognised.

Nothing else in the project asks what a failure means: the flow reads ``VERDICTS[failure.kind]``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from failover.types import RateHint as RateHint  # read here, defined where answers carry it

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
    """

    retry: bool = False
    failover: bool = True
    blame: bool = False
    cool_down: bool = False
    disable: Scope | None = None
    billed: bool = False
