"""tests/sim/gossip_plot.py -- draws docs/internals/gossip.svg from the table that gossip_sim made.

usage: python3 tests/sim/gossip_plot.py docs/internals/gossip.tsv > docs/internals/gossip.svg
"""
from __future__ import annotations

import csv
import math
import sys

WIDTH, HEIGHT, MARGIN = 360, 260, 48
PANELS = (
    ("a crash is known to all, p99 (s)", "agree_p99_s", True),
    ("bytes per second and node, no crash", "all_bytes_s", True),
)
COLOURS = {"0.0": "#1b7837", "10.0": "#2166ac", "30.0": "#b2182b"}
DASHES = {"lan": "", "fast": "5 3"}


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table, delimiter="\t") if row["fallback"] == "yes"]
    for row in rows:
        row["all_bytes_s"] = float(row["bytes_s"]) + float(row["control_bytes_s"])
    width = len(PANELS) * (WIDTH + MARGIN) + MARGIN
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{HEIGHT + 2 * MARGIN + 30}" '
          'font-family="sans-serif" font-size="11">')
    print('<rect width="100%" height="100%" fill="white"/>')
    for number, (title, column, logarithmic) in enumerate(PANELS):
        panel(rows, title, column, logarithmic, MARGIN + number * (WIDTH + MARGIN))
    legend(MARGIN, HEIGHT + 2 * MARGIN + 12)
    print("</svg>")


def panel(rows: list[dict], title: str, column: str, logarithmic: bool, left: float) -> None:
    sizes = sorted({int(row["nodes"]) for row in rows})
    values = [float(row[column]) for row in rows if float(row[column]) > 0]
    low, high = min(values), max(values)

    def x(nodes: float) -> float:
        return left + WIDTH * math.log(nodes / sizes[0]) / math.log(sizes[-1] / sizes[0])

    def y(value: float) -> float:
        part = math.log(value / low) / math.log(high / low) if logarithmic else (value - low) / (high - low)
        return MARGIN + HEIGHT * (1 - part)

    print(f'<text x="{left}" y="{MARGIN - 16}" font-weight="bold">{title}</text>')
    print(f'<rect x="{left}" y="{MARGIN}" width="{WIDTH}" height="{HEIGHT}" fill="none" stroke="#888"/>')
    for nodes in sizes:
        print(f'<text x="{x(nodes):.1f}" y="{MARGIN + HEIGHT + 14}" text-anchor="middle">{nodes}</text>')
    for tick in ticks(low, high):
        print(f'<line x1="{left}" x2="{left + WIDTH}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" stroke="#ddd"/>')
        print(f'<text x="{left - 4}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for profile, dash in DASHES.items():
        for loss, colour in COLOURS.items():
            line = sorted((int(row["nodes"]), float(row[column])) for row in rows
                          if row["profile"] == profile and row["loss_%"] == loss and float(row[column]) > 0)
            points = " ".join(f"{x(nodes):.1f},{y(value):.1f}" for nodes, value in line)
            print(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6" '
                  f'stroke-dasharray="{dash}"/>')


def ticks(low: float, high: float) -> list[float]:
    all_ticks = (digit * 10.0 ** power for power in range(-3, 7) for digit in (1, 2, 5))
    return [tick for tick in all_ticks if low <= tick <= high]


def legend(left: float, top: float) -> None:
    for number, (loss, colour) in enumerate(COLOURS.items()):
        print(f'<text x="{left + 110 * number}" y="{top}" fill="{colour}">{float(loss):g} % loss</text>')
    print(f'<text x="{left + 110 * len(COLOURS)}" y="{top}">solid: lan, dashed: fast; x: nodes</text>')


if __name__ == "__main__":
    main()
