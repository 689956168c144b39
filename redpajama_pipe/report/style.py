"""The look of the report: one style sheet and one small script, both written into the page.

Every colour is a variable, defined once for light and once for dark. A stage has the same colour everywhere. Text meets
WCAG AA (4.5 to 1) on both papers. The script sorts tables; without it the page says the same.
"""

from __future__ import annotations

_LIGHT = """
  --paper: #fcfbf8; --panel: #ffffff; --wash: #f3f1ec; --line: #e2dfd7; --line-strong: #bdb8ac;
  --ink: #1c2024; --muted: #5f646c; --link: #0b5e73; --alert: #a3261c; --alert-wash: #fbeae7;
  --kept: #17796f; --kept-2: #4f9f94; --kept-3: #0c4a44; --quarantine: #8b8e95; --filter: #c2841a;
  --exact: #c65b3c; --near: #7a5aa6; --other: #4d7fb3; --lines: #76823c; --heat: 23, 121, 111;
  --mark-kept: #cfeae5; --mark-dropped: #e6dbf4; color-scheme: light;
"""

_DARK = """
  --paper: #14171a; --panel: #1a1e22; --wash: #20252a; --line: #2e343a; --line-strong: #525a62;
  --ink: #e8e6e1; --muted: #a3a8ae; --link: #7cc4d6; --alert: #ff9d8f; --alert-wash: #3a1f1c;
  --kept: #3da596; --kept-2: #2d6f67; --kept-3: #a5e3d9; --quarantine: #878d95; --filter: #e0ac4d;
  --exact: #e07b5c; --near: #a888d6; --other: #78a8d8; --lines: #b0bc70; --heat: 61, 165, 150;
  --mark-kept: #17493f; --mark-dropped: #453361; color-scheme: dark;
"""

_PAGE = """
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 1rem; -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 400 0.9375rem/1.55 system-ui, -apple-system,
  "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif; font-variant-numeric: tabular-nums; }
.wrap { max-width: 75rem; margin: 0 auto; padding: 0 2rem; }
h1, h2, h3 { line-height: 1.2; margin: 0; font-weight: 620; text-wrap: balance; overflow-wrap: anywhere; }
h1 { font-size: clamp(1.75rem, 1.2rem + 2.2vw, 2.75rem); letter-spacing: -0.022em; }
h2 { font-size: 1.4rem; letter-spacing: -0.012em; }
h3 { font-size: 1rem; margin: 2.25rem 0 0.75rem; }
p { margin: 0; max-width: 46rem; }
a { color: var(--link); text-underline-offset: 0.18em; text-decoration-thickness: 0.06em; }
a:focus-visible, button:focus-visible, .box:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
code, .mono { font-family: ui-monospace, SFMono-Regular, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: 0.86em; overflow-wrap: anywhere; }
.muted { color: var(--muted); }
.note { color: var(--muted); font-size: 0.875rem; margin-top: 0.75rem; }
.skip { position: absolute; left: -99rem; } .skip:focus { left: 1rem; top: 1rem; background: var(--paper); }

.masthead { padding: 3.5rem 0 2.5rem; }
.eyebrow, .balance span { overflow-wrap: anywhere; min-width: 0; }
.balance b { flex: none; }
.eyebrow { color: var(--muted); font-size: 0.8125rem; letter-spacing: 0.02em; margin-bottom: 0.6rem; }
.lede { font-size: 1.125rem; line-height: 1.5; margin-top: 1rem; max-width: 50rem; color: var(--muted); }
.lede b { color: var(--ink); font-weight: 600; }
.headline { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 10.5rem), 1fr));
  margin: 2.5rem 0 0;
  border-top: 2px solid var(--ink); border-bottom: 1px solid var(--line); }
.headline div { padding: 1rem 1rem 1.1rem 0; }
.headline dt { color: var(--muted); font-size: 0.8125rem; }
.headline dd { margin: 0.15rem 0 0; }
.headline .big { font-size: 1.75rem; line-height: 1.15; font-weight: 560; letter-spacing: -0.025em;
  overflow-wrap: anywhere; }
.headline .small { font-size: 0.8125rem; color: var(--muted); }
.facts { display: flex; flex-wrap: wrap; gap: 0.25rem 1.75rem; margin: 1rem 0 0; font-size: 0.8125rem;
  color: var(--muted); }
.facts div { display: flex; gap: 0.45rem; min-width: 0; } .facts dt::after { content: ":"; }
.facts dd { margin: 0; color: var(--ink); min-width: 0; overflow-wrap: anywhere; }

nav { position: sticky; top: 0; z-index: 5; background: var(--paper); border-bottom: 1px solid var(--line); }
nav ul { display: flex; gap: 1.6rem; margin: 0; padding: 0; list-style: none; overflow-x: auto;
  scrollbar-width: none; }
nav a { display: block; padding: 0.8rem 0; color: var(--muted); text-decoration: none; white-space: nowrap;
  font-size: 0.875rem; }
nav a:hover { color: var(--ink); box-shadow: inset 0 -2px 0 var(--ink); }

section { padding: 3.25rem 0 0; }
section > .intro { color: var(--muted); margin-top: 0.5rem; }
section > .intro + * { margin-top: 1.5rem; } section > h3 + .intro { margin-top: 0; }
footer { margin: 4rem 0 0; padding: 1.25rem 0 3rem; border-top: 1px solid var(--line); color: var(--muted);
  font-size: 0.8125rem; }
.balance { display: flex; gap: 0.6rem; align-items: baseline; margin-top: 1.25rem; font-size: 0.875rem;
  max-width: none; }
.balance b { color: var(--kept); font-weight: 620; }
.balance.broken { color: var(--alert); background: var(--alert-wash); padding: 0.6rem 0.9rem; border-radius: 4px; }
.balance.broken b { color: var(--alert); }
"""

_CHARTS = """
.legend { display: flex; flex-wrap: wrap; gap: 0.3rem 1.1rem; margin: 0 0 0.9rem; padding: 0; list-style: none;
  font-size: 0.8125rem; color: var(--muted); }
.legend li { display: flex; align-items: center; gap: 0.4rem; }
i.kept, i.kept-2, i.kept-3, i.quarantine, i.filter, i.exact, i.near, i.other, i.lines, i.dropped, i.any, i.only,
  i.first, i.unseen {
  display: inline-block; width: 0.7rem; height: 0.7rem; border-radius: 2px; background: var(--c); flex: none; }
.kept { --c: var(--kept); } .kept-2 { --c: var(--kept-2); } .kept-3 { --c: var(--kept-3); }
.quarantine { --c: var(--quarantine); } .filter { --c: var(--filter); } .exact { --c: var(--exact); }
.near { --c: var(--near); } .other { --c: var(--other); } .lines { --c: var(--lines); }
.dropped { --c: var(--filter); }
.unseen { --c: var(--line-strong); } .time { --c: var(--muted); }
svg { display: block; } svg rect, svg path { fill: var(--c); }
.bar { width: 100%; min-width: 7rem; height: 0.7rem; border-radius: 2px; background: var(--wash); overflow: hidden; }
.bar .any { fill-opacity: 0.28; } .bar .first { fill-opacity: 0.62; }
i.any { opacity: 0.28; } i.first { opacity: 0.62; }

.flow { --rows: 5.25rem; }
.flow svg.level { width: 100%; height: 14rem; } .flow svg.upright { display: none; }
.flow .waiting { fill-opacity: 0.3; }
.flow ol { display: grid; grid-template-columns: repeat(var(--n), minmax(0, 1fr)); list-style: none;
  margin: 0.35rem 0 0;
  padding: 0; }
.flow li { padding: 0.5rem 0.75rem 0 0; border-top: 3px solid var(--c, var(--ink)); margin-right: 0.75rem;
  display: grid; grid-row: span 3; grid-template-rows: subgrid; }
.flow li:last-child { margin-right: 0; padding-right: 0; }
.flow .what { font-size: 0.8125rem; color: var(--muted); }
.flow .value { font-size: 1.2rem; font-weight: 560; letter-spacing: -0.015em; line-height: 1.25;
  overflow-wrap: anywhere; }
.flow .part { font-size: 0.8125rem; color: var(--muted); }

.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr)); gap: 2.25rem 2rem; }
.plots > figure { margin: 0; min-width: 0; display: flex; flex-direction: column; }
.plots figcaption { display: flex; justify-content: space-between; gap: 1rem; align-items: baseline;
  margin-bottom: 0.3rem; }
.plots figcaption b { font-weight: 600; min-width: 0; } .plots figcaption span { font-size: 0.8125rem; flex: none; }
.histogram { width: 100%; height: auto; overflow: visible; }
.histogram line.axis { stroke: var(--line-strong); }
.histogram line.grid { stroke: var(--line); stroke-dasharray: 2 3; }
.histogram line.bound { stroke: var(--ink); stroke-width: 1.25; }
.histogram rect.shade { fill: var(--ink); fill-opacity: 0.055; }
.histogram text { font-size: 11px; fill: var(--muted); paint-order: stroke; stroke: var(--paper); stroke-width: 3px;
  stroke-linejoin: round; }
.histogram text.bound { fill: var(--ink); font-weight: 600; }
.bounds { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 0 0.8rem; margin: 0.35rem 0 0;
  font-size: 0.8125rem; color: var(--muted); }
.bounds dt { color: var(--ink); } .bounds dd { margin: 0; min-width: 0; }
.bounds + .note { margin-top: 0.35rem; }
.histogram line.outside { stroke-dasharray: 3 3; }
"""

_TABLES = """
.box { overflow-x: auto; max-width: 100%; border-top: 1px solid var(--line-strong);
  border-bottom: 1px solid var(--line); }
.box.tall { max-height: 34rem; overflow-y: auto; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: 0.875rem; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
th, td { padding: 0.5rem 1.1rem 0.5rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  font-weight: 400; }
tbody tr:last-child > * { border-bottom: 0; }
th:last-child, td:last-child { padding-right: 0.25rem; }
thead th { position: sticky; top: 0; z-index: 1; background: var(--paper); color: var(--muted); font-size: 0.8125rem;
  white-space: nowrap; border-bottom: 1px solid var(--line-strong); vertical-align: bottom; }
thead button { all: unset; cursor: pointer; } thead button:hover { color: var(--ink); }
thead button:focus-visible { outline: 2px solid var(--link); outline-offset: 2px; }
thead [aria-sort] button { color: var(--ink); }
thead [aria-sort=ascending] button::after { content: " ↑"; }
thead [aria-sort=descending] button::after { content: " ↓"; }
tbody th { font-weight: 560; min-width: 5.5rem; max-width: 22rem; overflow-wrap: break-word; }
tbody tr:hover > * { background: var(--wash); }
tfoot th, tfoot td { border-top: 1px solid var(--line-strong); border-bottom: 0; font-weight: 620; }
table:not(.rules) tbody th, table:not(.rules) thead th:first-child, table:not(.rules) tfoot th { position: sticky;
  left: 0; background: var(--paper); }
table:not(.rules) thead th:first-child { z-index: 2; }
tfoot th, tfoot td { position: sticky; bottom: 0; background: var(--paper); }
.n { text-align: right; white-space: nowrap; } td.n.weak { color: var(--muted); }
td.graph { width: 30%; min-width: 9rem; padding-top: 0.82rem; }
td.zero { color: var(--muted); }
td code.sql { overflow-wrap: break-word; white-space: pre-wrap; }
td.wide { min-width: 15rem; max-width: 34rem; overflow-wrap: anywhere; }
td.mid { min-width: 10rem; max-width: 18rem; }
td.says { min-width: 16rem; overflow-wrap: anywhere; }
.rule .sub, td .sub { display: block; color: var(--muted); font-weight: 400; font-size: 0.8125rem;
  overflow-wrap: anywhere; }
.id { display: inline-block; max-width: 22rem; overflow-wrap: break-word; }
table.rules th:first-child { min-width: 13rem; } table.rules td.graph { width: 19%; }
td.tight code { white-space: nowrap; }
.small-table { max-width: 40rem; }
.stage { display: inline-flex; align-items: center; gap: 0.4rem; white-space: nowrap; }
table.heat td.cell { padding-left: 0.75rem; padding-right: 0.75rem; background: rgba(var(--heat), var(--h, 0)); }
table.heat thead th.n { padding-left: 0.75rem; padding-right: 0.75rem; }
table.heat tbody tr:hover > td.cell { background: rgba(var(--heat), var(--h, 0));
  box-shadow: inset 0 -2px 0 var(--line-strong); }

.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 0 2.5rem; }
.columns > div { min-width: 0; } .columns .intro { margin-bottom: 1rem; color: var(--muted); }
.columns figure { margin: 0; max-width: 30rem; } .columns .histogram .dropped { --c: var(--near); }
.columns figcaption { display: flex; justify-content: space-between; gap: 1rem; }

.cluster { border-top: 1px solid var(--line-strong); padding: 1.25rem 0 2rem; }
.cluster header { display: flex; flex-wrap: wrap; gap: 0.2rem 1.5rem; align-items: baseline; margin-bottom: 1rem; }
.cluster h3 { margin: 0; } .cluster header p { font-size: 0.875rem; color: var(--muted); }
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 2rem; }
.card { border-left: 3px solid var(--c); padding-left: 1.1rem; min-width: 0; }
.card h4 { margin: 0; font-size: 0.8125rem; font-weight: 620; }
.card .about { font-size: 0.8125rem; color: var(--muted); margin: 0.1rem 0 0.75rem; overflow-wrap: anywhere; }
.card .about > * { display: block; } .card .headingline { color: var(--ink); font-size: 0.9375rem; font-weight: 560; }
.card blockquote { margin: 0; font: 400 0.96rem/1.6 "Iowan Old Style", Charter, "Bitstream Charter", "Source Serif 4",
  Palatino, "Noto Serif", Georgia, serif; white-space: pre-line; overflow-wrap: anywhere; max-height: 26rem;
  overflow-y: auto; }
.card mark { color: inherit; border-radius: 2px; padding: 0.05em 0.1em; margin: 0 -0.1em; }
.card.kept mark { background: var(--mark-kept); }
.card.near mark { background: var(--mark-dropped); text-decoration: underline; text-decoration-thickness: 1px;
  text-underline-offset: 0.2em; }
.gap { color: var(--muted); font: 400 0.8125rem/1 system-ui, sans-serif; white-space: nowrap; }
.gap::before, .gap::after { content: " · · · "; letter-spacing: -0.05em; }
"""

_NARROW = """
@media screen and (max-width: 47.5rem) {
  .wrap { padding: 0 1.1rem; } .masthead { padding: 2rem 0 1.5rem; } section { padding-top: 2.5rem; }
  .headline { grid-template-columns: repeat(2, minmax(0, 1fr)); margin-top: 1.75rem; }
  .headline div { padding: 0.7rem 0.75rem 0.75rem 0; } .headline .big { font-size: 1.5rem; }
  .lede { font-size: 1rem; } .pair { grid-template-columns: minmax(0, 1fr); gap: 1.5rem; }
  .flow { display: grid; grid-template-columns: 40% minmax(0, 1fr); gap: 0 1rem; }
  .flow svg.level { display: none; }
  .flow svg.upright { display: block; width: 100%; height: calc(var(--n) * var(--rows)); }
  .flow ol { grid-template-columns: minmax(0, 1fr); grid-auto-rows: var(--rows); margin: 0; }
  .flow li { border-top: 0; border-left: 3px solid var(--c, var(--ink)); padding: 0 0 0 0.75rem; margin: 0 0 0.6rem;
    grid-row: auto; grid-template-rows: none; align-content: start; }
  td.graph { min-width: 7rem; } table.rules th:first-child { min-width: 9.5rem; } .id { max-width: 12rem; }
  .cluster h3 { font-size: 0.9375rem; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print {
  @page { margin: 14mm; }
  :root { --paper: #ffffff; }
  body { font-size: 9.5pt; } .wrap { max-width: none; padding: 0; } nav, .skip { display: none; }
  .masthead { padding-top: 0; } section { padding-top: 1.75rem; }
  .box, .box.tall, .card blockquote { overflow: visible; max-height: none; }
  thead { display: table-header-group; } tfoot { display: table-row-group; }
  table tr > *, table:not(.rules) tr > * { position: static !important; }
  tr, figure, .flow, .headline { break-inside: avoid; } h2, h3, h4 { break-after: avoid; }
  table { font-size: 8pt; } th, td { padding-right: 0.6rem; } .n { white-space: normal; }
  td.graph { min-width: 4rem; } .bar { min-width: 4rem; } td.wide { min-width: 8rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

CSS = (
    f":root {{{_LIGHT}}}\n@media screen and (prefers-color-scheme: dark) {{ :root {{{_DARK}}} }}\n"
    f"{_PAGE}{_CHARTS}{_TABLES}{_NARROW}"
)

# Headings of tables become buttons that sort; cells carry exact values in data-key, unknown ones stay last.
SCRIPT = """
for (const table of document.querySelectorAll("table[data-sort]")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  if (!body || body.rows.length < 2) continue;
  const key = (row, at) => { const k = row.cells[at].dataset.key; return k === undefined ? null : k; };
  heads.forEach((head, at) => {
    if (![...body.rows].some(row => key(row, at) !== null)) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const numeric = head.classList.contains("n");
      const up = head.getAttribute("aria-sort") === (numeric ? "descending" : "ascending") ? numeric : !numeric;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const order = (a, b) => {
        const x = key(a, at), y = key(b, at);
        if (x === null || y === null) return (x === null) - (y === null);
        const c = numeric ? Number(x) - Number(y) : x.localeCompare(y);
        return up ? c : -c;
      };
      body.append(...[...body.rows].sort(order));
    });
  });
}
"""
