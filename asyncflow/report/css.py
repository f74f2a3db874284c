"""The look of a report's page.

Pure: no clock, no I/O, no asyncio.
"""

__all__ = ["STYLE"]

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f5f6f8; --card: #fff; --ink: #1b2130; --soft: #5d6678; --line: #e3e7ed; --faint: #edf0f4;
  --succeeded: #1f9d6b; --partial: #e3a008; --no_output: #8a63d2; --failed: #d9434e; --abandoned: #6f7a8c; --accent: #2f6fed;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0f131a; --card: #171d27; --ink: #e8ecf3; --soft: #98a3b6; --line: #293241; --faint: #212937;
    --succeeded: #35b985; --partial: #f0b83a; --no_output: #a98bea; --failed: #f0646d; --abandoned: #8b97ab; --accent: #6b9cff;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 56px; }
header { margin-bottom: 24px; }
h1 { margin: 0 0 2px; font-size: 30px; line-height: 1.2; letter-spacing: -0.02em; }
h2 { margin: 0 0 14px; font-size: 16px; letter-spacing: -0.005em; }
p { margin: 0; }
.soft, small, footer { color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 20px 22px; margin-bottom: 16px; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin-bottom: 16px; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 14px; padding: 14px 18px; min-width: 0; }
.tile b { display: block; font-size: 25px; line-height: 1.25; letter-spacing: -0.02em; font-weight: 650; white-space: nowrap; }
.tile span, .tile small { display: block; color: var(--soft); font-size: 13px; line-height: 1.4; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(320px, 1fr)); gap: 16px; align-items: start; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 22px; margin: 12px 0 0; padding: 0; list-style: none; }
.legend li::before {
  content: ""; display: inline-block; width: 10px; height: 10px; border-radius: 3px; margin-right: 8px; background: var(--c);
}
.legend b { font-weight: 650; margin-right: 5px; }
svg { display: block; width: 100%; }
svg.stack { height: 22px; border-radius: 7px; }
svg.columns { height: 190px; }
svg.share { height: 10px; }
td svg.stack { height: 11px; border-radius: 4px; min-width: 110px; }
svg.plot { height: 24px; min-width: 170px; }
.succeeded { fill: var(--succeeded); --c: var(--succeeded); } .partial { fill: var(--partial); --c: var(--partial); }
.no_output { fill: var(--no_output); --c: var(--no_output); } .failed { fill: var(--failed); --c: var(--failed); }
.abandoned { fill: var(--abandoned); --c: var(--abandoned); } .accent { fill: var(--accent); }
.none { fill: var(--faint); } .grid { fill: var(--faint); } .axis { fill: var(--line); }
.line { fill: var(--accent); opacity: 0.45; } .box { fill: var(--accent); opacity: 0.55; } .tick { fill: var(--ink); }
.scale { display: flex; justify-content: space-between; color: var(--soft); font-size: 12.5px; margin-top: 7px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 12.5px; padding: 0 14px 8px 0; white-space: nowrap; }
td { padding: 9px 14px 9px 0; border-top: 1px solid var(--line); vertical-align: middle; }
th:last-child, td:last-child { padding-right: 0; }
.list td { border: 0; padding-top: 4px; padding-bottom: 4px; }
.lead { margin-bottom: 8px; }
.n { text-align: right; white-space: nowrap; }
.name { min-width: 200px; max-width: 280px; overflow-wrap: anywhere; line-height: 1.35; }
.name small { display: block; font-size: 12.5px; overflow-wrap: anywhere; }
.word { overflow-wrap: anywhere; font: 12.5px/1.45 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.bar { width: 34%; }
footer { font-size: 13px; margin-top: 22px; }
@media (max-width: 560px) { main { padding: 24px 14px 40px; } .card { padding: 16px; } h1 { font-size: 25px; } }
@media print { body { background: none; } .card, .tile { break-inside: avoid; } main { padding: 0; max-width: none; } }
"""
