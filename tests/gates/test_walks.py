"""Random walks: many short ones by seed, and some under Hypothesis, which shrinks what it finds."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.gates.walks import DEEDS, Walk, walk

WALKS = 20_000
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_no_walk_finds_a_way_around_the_gates(part: int) -> None:
    for seed in range(part, WALKS, PARTS):
        try:
            walk(seed)
        except Exception as error:
            error.add_note(f"walk({seed})")
            raise


class Gates(RuleBasedStateMachine):
    """Any deeds in any order."""

    @initialize(random=st.randoms(use_true_random=False))
    def begin(self, random: object) -> None:
        self.walk = Walk(random)  # type: ignore[arg-type]

    @rule(deed=st.sampled_from(DEEDS), where=st.integers(0, 1))
    def do(self, deed: object, where: int) -> None:
        deed(self.walk, self.walk.places[where])  # type: ignore[operator]

    @invariant()
    def everything_holds(self) -> None:
        if hasattr(self, "walk"):
            self.walk.look()

    def teardown(self) -> None:
        if hasattr(self, "walk"):
            self.walk.finish()


TestGates = Gates.TestCase
TestGates.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
