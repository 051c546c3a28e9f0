"""The rows of the benchmarks as one page, which needs nothing else."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>trio-realtime: benchmarks</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<style>
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h2 {{ font-size: 1rem; margin: 1.5rem 0 .25rem }}
div {{ display: grid; grid-template-columns: 10rem 1fr; align-items: center }}
b {{ background: #2a7de1; color: #fff; padding: 0 .5rem; white-space: nowrap; min-width: 0 }}
b.other {{ background: #8a8f98 }}
small {{ opacity: .75 }}
</style>
<h1>trio-realtime: benchmarks</h1>
<p>{where}</p>
{charts}
</html>
"""


def page(rows: Sequence[dict[str, Any]]) -> str:
    """HTML with a chart for each row."""
    where = f"Python {platform.python_version()}, {platform.machine()}, {sys.platform}"
    return _PAGE.format(where=escape(where), charts="\n".join(map(_chart, rows)))


def _chart(row: dict[str, Any]) -> str:
    bars = list(_bars(row))
    largest = max((value for _, value in bars), default=1) or 1
    lines = [
        f"<div><span>{escape(name)}</span>"
        f"<b{'' if name == 'ours' else ' class=other'} style=width:{value / largest:.1%}>"
        f"{value:,.6g}</b></div>"
        for name, value in bars
    ]
    title = " ".join(str(row[key]) for key in ("name", "transport") if key in row)
    better = ", lower is better" if row.get("lower_is_better") else ""
    unit = f"<small>{escape(row['unit'])}{better}</small>"
    return f"<h2>{escape(title)} {unit}</h2>" + "".join(lines)


def _bars(row: dict[str, Any]) -> Iterator[tuple[str, float]]:
    yield "ours", row["ours"]
    if "js" in row:
        yield "npm SDK", row["js"]
    for name, value in row.get("limits", {}).items():
        yield f"limit: {name}", value
