"""A study as one HTML page that needs nothing from elsewhere: tables, and charts drawn as SVG."""

from __future__ import annotations

from html import escape

from penstock.lab.charts import Axes, Series, bar_chart, colour, line_chart
from penstock.lab.report import best_of, columns, facts, title_of
from penstock.lab.study import Study

_STYLE = """
:root{color-scheme:light dark;--fg:#1c2430;--dim:#5d6a7a;--bg:#fff;--card:#f6f8fa;--line:#d8dee6;
--best:#d7f0e2}
@media(prefers-color-scheme:dark){:root{--fg:#e4e9f0;--dim:#98a5b5;--bg:#12161c;--card:#1a2029;--line:#323c49;
--best:#1d4633}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--fg);background:var(--bg);
max-width:1180px;margin:2rem auto;padding:0 1rem}
h1{font-size:1.6rem;margin:0}h2{margin:2.4rem 0 .6rem;font-size:1.2rem}p{margin:.3rem 0;color:var(--dim)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(340px,1fr));gap:1rem}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:8px;padding:.7rem}
figcaption{font-weight:600;margin-bottom:.3rem}svg{width:100%;height:auto;font:12px system-ui,sans-serif}
svg text{fill:var(--fg)}svg .label{fill:var(--dim)}svg .grid{stroke:var(--line)}
svg .bound{stroke:var(--fg);stroke-width:1.5;stroke-dasharray:4 3}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;
white-space:nowrap;margin:.8rem 0}
th,td{padding:.3rem .7rem;text-align:right;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--bg)}
th{color:var(--dim);font-weight:600}td.best{background:var(--best);font-weight:600}
i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.5em}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem}
dt{font-weight:600}dd{margin:0;color:var(--dim)}
"""


def html_page(study: Study) -> str:
    """The whole page."""
    title = f"Scheduling study: {study.facts.name}"
    meanings = "".join(
        f"<dt>{escape(one.title)}</dt><dd>{escape(one.meaning)}</dd>" for one in columns(study)
    )
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>",
        *(f"<p>{escape(line)}</p>" for line in facts(study)),
        *(_section(study, load) for load in study.loads),
        f"<h2>What the columns mean</h2><dl>{meanings}</dl>",
        "<p>The policy classes of production, replayed in virtual time by Penstock's lab.</p></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _section(study: Study, load: float | None) -> str:
    outcomes = study.at(load)
    what = "programs" if study.facts.programs else "requests"
    bars = [(one.policy, one.mean, number) for number, one in enumerate(outcomes)]
    completions = [Series(one.policy, one.completion_curve, number) for number, one in enumerate(outcomes)]
    lines = [Series(one.policy, one.waiting_curve, number) for number, one in enumerate(outcomes)]
    charts = (
        (f"Mean completion of {what}", bar_chart(bars, study.bounds[load], "seconds")),
        (
            "How completions spread",
            line_chart(completions, Axes("completion time, s", "requests", True, True)),
        ),
        ("The line over time", line_chart(lines, Axes("virtual time, s", "requests waiting"))),
    )
    figures = "".join(f"<figure><figcaption>{name}</figcaption>{svg}</figure>" for name, svg in charts)
    heading = title_of(load)[0].upper() + title_of(load)[1:]
    return f'<h2>{escape(heading)}</h2><div class="charts">{figures}</div>{_table(study, load)}'


def _table(study: Study, load: float | None) -> str:
    shown, outcomes = columns(study), study.at(load)
    best = [best_of(column, outcomes) for column in shown]
    head = "".join(f'<th title="{escape(one.meaning)}">{escape(one.title)}</th>' for one in shown)
    rows = []
    for number, one in enumerate(outcomes):
        cells = [f'<td><i style="background:{colour(number)}"></i>{escape(one.policy)}</td>']
        for column, top in zip(shown, best, strict=True):
            value = column.value(one)
            mark = ' class="best"' if value is not None and value == top else ""
            cells.append(f"<td{mark}>{'–' if value is None else column.write(value)}</td>")
        rows.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="scroll"><table><tr><th>policy</th>{head}</tr>{"".join(rows)}</table></div>'
