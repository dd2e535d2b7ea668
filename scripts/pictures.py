"""Draws docs/outage.svg, the picture in the README, from a simulation: ``python scripts/pictures.py``."""

from __future__ import annotations

from pathlib import Path

from failover.display.pictures import simulation
from failover.display.theme import poster
from failover.simulate import Incident, Profile, Scenario, Traffic, run

PICTURE = Path(__file__).parent.parent / "docs" / "outage.svg"
TARGETS = ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5", "groq:openai/gpt-oss-120b"]
MORNING = Scenario(
    Traffic(rate=2.0, duration="4h"),
    [
        Incident("openai", "down", "1h", "2h 15m"),
        Incident("anthropic", "rate_limited", "1h 35m", "1h 55m", retry_after=20),
        Incident("groq", "slow", "2h 45m", "3h 15m", factor=6),
    ],
    {"groq": Profile(tokens_per_second=200)},
    seed=4,
)


def main() -> None:
    result = run(MORNING, TARGETS, name="Three incidents in a morning", budget=12)
    figures = result.figures
    said = f"{figures.calls:,} calls, {figures.answered:,} answered, ${figures.cost:.2f} spent"
    PICTURE.write_text(poster(simulation(result), f"{result.name}: {said}"))
    print(result)


if __name__ == "__main__":
    main()
