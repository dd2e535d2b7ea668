"""What every target can do, as a LangChain ``ModelProfile``: the safe intersection.

LangChain decides by the profile (a structured answer by the provider or by a tool, when to summarise); whatever it
promises must hold whichever target answers.  What is unknown of any target is left out rather than guessed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from langchain_core.language_models.model_profile import ModelProfile

from failover.facts import Facts

KNOWN = frozenset(ModelProfile.__annotations__)
"""Each langchain-core knows a few more fields than the one before, and refuses the others."""


def profile_of(abilities: Sequence[Facts]) -> ModelProfile:
    """Empty where there is no target."""
    if not abilities:
        return ModelProfile()
    inputs = frozenset.intersection(*(facts.inputs for facts in abilities))
    profile = ModelProfile(
        text_inputs=True,
        image_inputs="image" in inputs,
        image_url_inputs="image" in inputs,
        pdf_inputs="document" in inputs,
        audio_inputs="audio" in inputs,
        video_inputs="video" in inputs,
        text_outputs=True,
        reasoning_output=all(facts.reasons for facts in abilities),
        tool_calling=all(facts.tools for facts in abilities),
        tool_choice=all(facts.tools and facts.forced_tool_choice for facts in abilities),
        tool_call_streaming=all(facts.tools for facts in abilities),
        structured_output=all(facts.structured_output and facts.json_schema for facts in abilities),
    )
    if window := _least(facts.context_window for facts in abilities):
        profile["max_input_tokens"] = window
    if longest := _least(facts.max_output_tokens for facts in abilities):
        profile["max_output_tokens"] = longest
    return cast("ModelProfile", {key: value for key, value in profile.items() if key in KNOWN})


def _least(sizes: Iterable[int | None]) -> int | None:
    """The smallest, if all are known."""
    known = list(sizes)
    return min(size for size in known if size is not None) if all(known) else None
