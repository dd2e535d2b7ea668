"""Colours and type, for light and dark grounds.

Which ground it is, the page says: JupyterLab and nbconvert by ``data-jp-theme-light``, VS Code by its own attribute,
documentation by ``data-theme``; where none of them speaks, the system's preference holds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape

SHADES: Mapping[str, tuple[str, str]] = {
    "ok": ("#2a9461", "#46c08a"),
    "bad": ("#cf3f50", "#f4707d"),
    "trial": ("#d9941a", "#f2b84b"),
    "off": ("#7c6cb5", "#a99be0"),
    "cached": ("#3d7cc9", "#6fa8ee"),
    "t0": ("#4378bf", "#6c9fe3"),
    "t1": ("#e0853c", "#f0a05c"),
    "t2": ("#3c9d8f", "#58bfb0"),
    "t3": ("#ab5c9e", "#cd84c0"),
    "t4": ("#8c8f3f", "#b7ba66"),
    "t5": ("#7d848e", "#a3abb6"),
}
"""Each colour on a light and on a dark ground."""

STATES: Mapping[str, str] = {"closed": "ok", "open": "bad", "half_open": "trial", "disabled": "off"}
"""The colour of a target's state."""

TARGETS = 6
"""Colours for targets; more of them begin anew."""

DARK = (
    'body[data-jp-theme-light="false"]',
    'body[data-vscode-theme-kind="vscode-dark"]',
    'body[data-vscode-theme-kind="vscode-high-contrast"]',
    'html[data-theme="dark"]',
)
UNSAID = "html:not([data-theme]) body:not([data-jp-theme-light]):not([data-vscode-theme-kind])"

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"


def colour(name: str) -> str:
    """As a CSS value; without our style sheet it is the light shade."""
    return f"var(--fo-{name},{SHADES[name][0]})"


def target_colour(place: int) -> str:
    return colour(f"t{place % TARGETS}")


def _variables(shade: int) -> str:
    return "".join(f"--fo-{name}:{pair[shade]};" for name, pair in SHADES.items())


RULES = """
.failover-show{color:inherit;max-width:880px;margin:4px 0 8px}
.failover-show svg{display:block;width:100%;height:auto;overflow:visible;margin:2px 0}
.failover-show svg text{font-family:inherit;fill:currentColor}
.failover-show .fo-title{font-weight:600;font-size:14px;margin:2px 0 6px}
.failover-show .fo-quiet{opacity:.66}
.failover-show .fo-chips{display:flex;flex-wrap:wrap;gap:4px 22px;margin:4px 0 8px}
.failover-show .fo-chip b{font-weight:600;font-size:15px;font-variant-numeric:tabular-nums;margin-right:4px}
.failover-show .fo-scroll{overflow-x:auto}
.failover-show table.fo{border-collapse:collapse;border:0;margin:2px 0 8px;font-size:13px;color:inherit;
 font-variant-numeric:tabular-nums;background:none}
.failover-show table.fo th,.failover-show table.fo td{padding:4px 14px 4px 0;border:0;text-align:right;
 vertical-align:middle;white-space:nowrap;background:none;color:inherit;max-width:none}
.failover-show table.fo th{font-weight:500;opacity:.66;border-bottom:1px solid rgba(128,128,128,.4)}
.failover-show table.fo td{border-bottom:1px solid rgba(128,128,128,.18)}
.failover-show table.fo tr{background:none}
.failover-show table.fo .l{text-align:left}
.failover-show table.fo td.w{white-space:normal;min-width:150px;max-width:300px;font-size:12px;opacity:.8;
 text-align:left;overflow-wrap:anywhere}
.failover-show .fo-dot{display:inline-block;width:9px;height:9px;border-radius:50%;margin-right:6px}
.failover-show .fo-bar{display:inline-block;vertical-align:middle;height:7px;border-radius:3px;margin-left:8px;
 background:rgba(128,128,128,.18)}
.failover-show .fo-fill{display:block;height:7px;border-radius:3px}
.failover-show .fo-meter{height:8px;border-radius:4px;background:rgba(128,128,128,.22);overflow:hidden;
 display:flex;max-width:420px;margin:4px 0 12px}
.failover-show .fo-said{white-space:pre-wrap;overflow-wrap:anywhere;border-left:3px solid rgba(128,128,128,.35);
 padding:2px 0 2px 12px;margin:4px 0 8px;max-height:22em;overflow-y:auto}
"""


def _sheet() -> str:
    light, dark = _variables(0), _variables(1)
    return (
        f".failover-show{{font:13px/1.45 {FONT};{light}}}"
        f"@media (prefers-color-scheme:dark){{{UNSAID} .failover-show{{{dark}}}}}"
        f"{','.join(f'{ground} .failover-show' for ground in DARK)}{{{dark}}}"
        f"{RULES.replace(chr(10), '')}"
    )


SHEET = _sheet()


def poster(picture: str, headline: str) -> str:
    """A picture that stands alone, as a file: it brings its own ground, so that it can be read on any."""
    width, height = map(float, re.findall(r'viewBox="0 0 (\S+) (\S+?)"', picture)[0])
    frame = f'viewBox="-20 -50 {width + 40:g} {height + 70:g}"'
    ground = f'<rect x="-19" y="-49" width="{width + 38:g}" height="{height + 68:g}" rx="10" class="g"/>'
    title = f'<text y="-20" font-size="15" font-weight="600">{escape(headline)}</text>'
    style = (
        f"svg{{color:#1f2328;{_variables(0)}}}text{{font-family:{FONT};fill:currentColor}}"
        ".g{fill:#ffffff;stroke:#d1d9e0}"
        f"@media (prefers-color-scheme:dark){{svg{{color:#e6edf3;{_variables(1)}}}.g{{fill:#0d1117;stroke:#3d444d}}}}"
    )
    head, _, body = picture.partition("</title>")
    framed = re.sub(r'viewBox="[^"]*"', frame, head, count=1)
    return f"{framed}</title><style>{style}</style>{ground}{title}{body}\n"


def fragment(*parts: str) -> str:
    """A view as Jupyter takes it: it carries its own style, for each output stands alone."""
    return f'<div class="failover-show"><style>{SHEET}</style>{"".join(parts)}</div>'
