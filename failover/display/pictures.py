"""Whole pictures: what has happened lately, one call, a simulation, several policies side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from failover._words import amount, money, share
from failover.client import BudgetStatus
from failover.display import panels, svg
from failover.display.axes import WIDTH, TimeAxis, linear, magnitudes
from failover.display.panels import BAR, LANE, Band
from failover.display.theme import colour, target_colour
from failover.history import History, Spent
from failover.simulate.result import Piece, Result
from failover.simulate.scenario import Incident
from failover.types import Step

GAP = 22
NEAR = 0.1
"""A limit is drawn once this share of it is spent; before, the curve would be flat."""
SHORTEST = 0.05
"""Seconds that a picture shows at least."""

STATES_LEGEND = (
    (colour("ok"), "closed"),
    (colour("bad"), "open"),
    (colour("trial"), "half-open"),
    (colour("off"), "disabled"),
)


# ----------------------------------------------------------------- history


def history(shown: History, budget: BudgetStatus | None) -> str:
    """Swim lanes of states under the dots of requests, and the spending under its limit.  Empty before any call."""
    if not shown.attempts:
        return ""
    end = max(shown.until, max(each.at + each.duration for each in shown.attempts))
    axis = TimeAxis(shown.since, max(end, shown.since + SHORTEST))
    bottom = 4 + LANE * len(shown.lanes)
    parts = [
        panels.lanes(axis, shown.lanes, 0),
        panels.dots(axis, shown.attempts, list(shown.lanes), 0),
    ]
    if len(shown.spending) > 1:
        top, bottom = bottom + GAP, bottom + GAP + 60
        parts.append(_spending(axis, shown.spending, budget, top, bottom))
    parts.insert(0, axis.draw(0, bottom))
    parts.append(panels.legend(axis.left, bottom + 34, STATES_LEGEND))
    return svg.picture(WIDTH, bottom + 40, *parts, title="Requests and states of targets over time")


def _spending(axis: TimeAxis, spent: Sequence[Spent], budget: BudgetStatus | None, top: float, bottom: float) -> str:
    points = [(each.at, float(each.total)) for each in spent]
    return _money(axis, points, None if budget is None else float(budget.limit), top, bottom)


def _money(
    axis: TimeAxis, points: Sequence[tuple[float, float]], limit: float | None, top: float, bottom: float
) -> str:
    """A filled staircase under its limit; where the limit is far away, it is only told."""
    highest = max(value for _, value in points)
    near = limit is not None and highest >= NEAR * limit
    scale = linear([limit if near and limit else highest], top, bottom)
    stairs = svg.steps([(axis.x(at), scale.y(value)) for at, value in points], axis.right)
    ground = [(axis.right, scale.bottom), (stairs[0][0], scale.bottom)]
    marks = [(0.0, "$0"), (limit, f"limit {money(limit)}") if near and limit else (scale.high, money(scale.high))]
    shapes = [
        panels.heading("spent", top + 10),
        panels.value_axis(axis, scale, marks),
        svg.polygon([*stairs, *ground], colour("t0"), "0.22"),
        svg.polyline(stairs, colour("t0")),
    ]
    if near and limit:
        shapes.append(svg.line(axis.left, scale.y(limit), axis.right, scale.y(limit), opacity="0.7", dash="5 4"))
    elif limit is not None:
        shapes.append(svg.text(0, top + 25, f"{share(highest / limit)} of {money(limit)}", quiet=True))
    return "".join(shapes)


# ------------------------------------------------------------------- trail


def trail(steps: Sequence[Step], latency: float) -> str:
    """One call: who was asked when, for how long, and what came of it."""
    axis = TimeAxis(0.0, max(latency, *(each.started + each.duration for each in steps), 1e-3), right=WIDTH - 190)
    names = {name: place for place, name in enumerate(dict.fromkeys(each.target for each in steps))}
    shapes = [axis.draw(0, 22 * len(steps) + 4)]
    for place, step in enumerate(steps):
        y = 22 * place
        left, right = axis.x(step.started), axis.x(step.started + step.duration)
        fill = colour("ok" if step.reason == "ok" else "bad" if step.sent else "off")
        shapes.append(panels.label(step.target, names[step.target], y + 15))
        shapes.append(svg.rect(left, y + 7, max(2.5, right - left), BAR, fill, rx=2, title=step.detail or step.reason))
        shapes.append(svg.text(right + 7, y + 15, _reason(step), quiet=True))
    return svg.picture(WIDTH, 22 * len(steps) + 24, *shapes, title="The attempts of this call")


def _reason(step: Step) -> str:
    said = step.reason.replace("_", " ") + (f" (HTTP {step.status})" if step.status else "")
    return f"{said}, {amount(step.duration, 's')}" if step.sent else f"not asked: {said}"


# -------------------------------------------------------------- simulation


def simulation(result: Result, width: int = WIDTH) -> str:
    """Who answered, how fast, how the targets stood, and what it cost; incidents are shaded."""
    axis = TimeAxis(0.0, max(result.scenario.traffic.seconds, SHORTEST), right=width - 12)
    series, shown = result.series(), list(incident_bands(result))
    first = panels.band_room(axis, shown)
    parts, y = [], float(first)
    for draw, height in ((_answers, 84), (_latencies, 84), (_lanes, 6 + 22 * len(result.targets)), (_costs, 56)):
        parts.append(draw(axis, result, series, y, y + height))
        y += height + GAP
    bottom = y - GAP
    return svg.picture(
        width,
        bottom + 38,
        panels.bands(axis, shown, first - 4, bottom),
        axis.draw(first, bottom),
        *parts,
        panels.legend(axis.left, bottom + 33, STATES_LEGEND),
        title=f"{result.name}: calls, latencies, states and cost over time",
    )


def incident_bands(result: Result) -> Iterator[Band]:
    for each in result.scenario.incidents:
        yield Band(float(each.start), float(each.end), _incident(each))


def _incident(incident: Incident) -> str:
    name = "all" if incident.target == "*" else incident.target.partition(":")[0]
    said = f"{name} {incident.kind.replace('_', ' ')}"
    if incident.kind == "slow":
        said += f" {incident.factor:g} times"
    if incident.share < 1.0:
        said += f", {incident.share:.0%}"
    return said + (", flapping" if incident.flapping else "")


def _answers(axis: TimeAxis, result: Result, series: Sequence[Piece], top: float, bottom: float) -> str:
    """Who answered how many calls, and in red those that nobody answered, on top."""
    minutes = axis.width / len(series) / 60
    amounts: list[tuple[list[float], str]] = [
        ([piece.answered_by[target.name] / minutes for piece in series], target_colour(place))
        for place, target in enumerate(result.targets)
    ]
    amounts.append(([(piece.figures.calls - piece.figures.answered) / minutes for piece in series], colour("bad")))
    scale = linear([piece.figures.calls / minutes for piece in series], top, bottom)
    return (
        panels.heading("answered by", top + 10)
        + svg.text(0, top + 25, "calls a minute", quiet=True)
        + panels.value_axis(axis, scale, [(0.0, "0"), (scale.high, f"{scale.high:g}")])
        + panels.stack(axis, scale, [piece.start for piece in series], amounts)
    )


def _latencies(axis: TimeAxis, result: Result, series: Sequence[Piece], top: float, bottom: float) -> str:
    middle = [(piece.start, piece.figures.p50) for piece in series]
    tail = [(piece.start, piece.figures.p99) for piece in series]
    scale = magnitudes([value for _, value in (*middle, *tail) if value], top, bottom)
    return (
        panels.heading("latency", top + 10)
        + panels.legend(0, top + 25, ((colour("t0"), "p50"), (colour("t1"), "p99")))
        + panels.magnitude_axis(axis, scale)
        + panels.curve(axis, scale, tail, colour("t1"), "1.2")
        + panels.curve(axis, scale, middle, colour("t0"), "1.6")
    )


def _lanes(axis: TimeAxis, result: Result, series: Sequence[Piece], top: float, bottom: float) -> str:
    return panels.lanes(axis, result.lanes, top, height=22)


def _costs(axis: TimeAxis, result: Result, series: Sequence[Piece], top: float, bottom: float) -> str:
    """What the first budget had spent under its limit, else all that was spent so far."""
    points = [(each.at, each.spent) for each in result.money] or _summed(series)
    return _money(axis, points, result.money[0].limit if result.money else None, top, bottom)


def _summed(series: Sequence[Piece]) -> list[tuple[float, float]]:
    return list(zip((piece.start for piece in series), accumulate(piece.figures.cost for piece in series), strict=True))


# ------------------------------------------------------------- comparisons


def side_by_side(results: Sequence[Result]) -> str:
    """Who answered under each policy, on one scale."""
    longest = max(each.scenario.traffic.seconds for each in results)
    axis = TimeAxis(0.0, max(longest, SHORTEST))
    shown = list(incident_bands(results[0]))
    first, height = panels.band_room(axis, shown), 62
    bottom = first + (height + GAP) * len(results) - GAP
    colours = _common_colours(results)
    parts = []
    for place, result in enumerate(results):
        top = first + (height + GAP) * place
        parts.append(_small(axis, result, colours, top, top + height))
    legend = [(fill, name) for name, fill in colours.items()]
    return svg.picture(
        WIDTH,
        bottom + 40,
        panels.bands(axis, shown, first - 4, bottom),
        axis.draw(first, bottom),
        *parts,
        panels.legend(0, bottom + 36, [*legend, (colour("bad"), "nobody")]),
        title="Who answered, policy by policy",
    )


def _common_colours(results: Sequence[Result]) -> Mapping[str, str]:
    names = dict.fromkeys(target.name for result in results for target in result.targets)
    return {name: target_colour(place) for place, name in enumerate(names)}


def _small(axis: TimeAxis, result: Result, colours: Mapping[str, str], top: float, bottom: float) -> str:
    series = result.series()
    minutes = axis.width / len(series) / 60
    amounts = [([piece.answered_by.get(name, 0) / minutes for piece in series], fill) for name, fill in colours.items()]
    amounts.append(([(piece.figures.calls - piece.figures.answered) / minutes for piece in series], colour("bad")))
    scale = linear([piece.figures.calls / minutes for piece in series], top, bottom)
    return (
        panels.heading(result.name, top + 12)
        + svg.text(0, top + 28, f"p99 {amount(result.figures.p99, 's')}", quiet=True)
        + svg.text(0, top + 43, f"{result.figures.wasted:,} wasted", quiet=True)
        + panels.value_axis(axis, scale, [(0.0, "0"), (scale.high, f"{scale.high:g}/min")])
        + panels.stack(axis, scale, [piece.start for piece in series], amounts)
    )
