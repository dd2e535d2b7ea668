"""Outages in virtual time: what would these settings have done?

The very flow, breakers, limiters and budgets that production runs are driven by a clock that jumps, against targets
whose latencies, quotas and incidents are scripted::

    from failover import simulate
    from failover.simulate import Incident, Scenario, Traffic

    day = Scenario(Traffic(rate=0.1, duration="1d"), [Incident("openai", "down", "9h", "11h")])
    print(simulate.run(day, ["openai:gpt-6-luna", "anthropic:claude-haiku-5-5"], strategy="priority"))

``run`` takes a ``Failover`` as well, so that settings can be tried here and used there.  ``compare`` sets several
policies side by side; ``run_file`` reads all of it from a TOML or JSON file, with expectations that make it a test.
Everything is decided by the scenario's seed.
"""

from failover.simulate.chance import Exactly, LogNormal, Samples
from failover.simulate.compare import Comparison, compare
from failover.simulate.file import run_file
from failover.simulate.record import CallRecord
from failover.simulate.result import Figures, Piece, Result, TargetFigures
from failover.simulate.run import run
from failover.simulate.scenario import Incident, Profile, Quota, Scenario, Traffic

__all__ = [
    "CallRecord",
    "Comparison",
    "Exactly",
    "Figures",
    "Incident",
    "LogNormal",
    "Piece",
    "Profile",
    "Quota",
    "Result",
    "Samples",
    "Scenario",
    "TargetFigures",
    "Traffic",
    "compare",
    "run",
    "run_file",
]
