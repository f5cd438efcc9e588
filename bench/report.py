"""Turns measurements into tables, plots and bench/RESULTS.md.

Each bench hands in a section with the machine, commit and date it was measured at; it takes the place of the one that
RESULTS.md has by that name, which stands in a comment above it.
"""

import base64
import csv
import json
import math
import pathlib
import re
import time

import numpy as np

from bench import data, measure, peers

RESULTS = data.ROOT / "bench" / "RESULTS.md"
ORDER = ["validity", *(f"ann-{name}" for name in data.MAKERS), "filters", "turnover", "target", "insert",
         *(f"bulk-{name}" for name in data.MAKERS | data.BUILT_ONLY), "latency", "memory", "calls", "durable", "limited", "cluster-search", "cluster-upsert",
         "cluster-peers", "cluster-servers", "cluster-killed", "cluster-failover", "cluster-restored", "cluster-restart", "cluster-idle",
         "cluster-merge"]  # fmt: skip
HEAD = (
    "# Results\n\nWritten by `make bench` and the programs in `bench/`; nothing here is typed by hand. Ratios are\n"
    "of one run on one machine; absolute figures of two machines do not compare.\n"
)
TARGETS = (0.90, 0.95, 0.99, 0.999)
# What the project set itself: (times hnswlib, times the best peer) at a recall; None where no bar was set.
BARS = {
    ("minilm-384", 0.95): (7.0, 3.5),
    ("minilm-384", 0.99): (10.0, 6.0),
    ("fashion-784", 0.95): (4.5, 1.9),
    ("fashion-784", 0.99): (6.0, 2.7),
    ("synth-128", 0.95): (5.0, 2.0),
    ("synth-128", 0.99): (5.0, 2.0),
}
BAR_GRAPH_999 = 4.0  # times the best graph peer at 0.999, any set
BAR_PGVECTOR = 40.0


def table(head, rows, align=None):
    """A Markdown table, padded so that it reads as plain text too."""
    rows = [[str(cell) for cell in row] for row in rows]
    width = [max([len(head[i])] + [len(row[i]) for row in rows]) for i in range(len(head))]
    right = [i > 0 if align is None else align[i] == "r" for i in range(len(head))]

    def line(cells):
        padded = [cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(cells, width, right)]
        return "| " + " | ".join(padded) + " |"

    rule = "|" + "|".join("-" * (w + 1) + (":" if r else "-") for w, r in zip(width, right)) + "|"
    return "\n".join([line(head), rule] + [line(row) for row in rows])


def stamp():
    day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    return f"Measured {day} at commit {measure.commit()} on {measure.machine()}."


def section(name, title, text, verdicts=(), whole=True):
    """Prints one section, keeps it and puts RESULTS.md together again. verdicts: (what, measured, bar, reached).

    Not `whole`, that is measured on a part of the data: it is only printed.
    """
    parts = [f"## {title}", stamp(), text.strip()]
    if verdicts:
        parts.append(verdict_table(verdicts))
    print("\n" + "\n\n".join(parts) + "\n", flush=True)
    if whole:
        keep(name, "\n\n".join(parts) + "\n")


def keep(name, text, target=RESULTS):
    found = sections(target.read_text()) if target.exists() else {}
    found[name] = text
    if unknown := found.keys() - set(ORDER):
        raise SystemExit(f"{target}: a section {min(unknown)!r}, which report.py does not know")
    whole = "\n".join([HEAD] + [f"<!-- {name} -->\n{found[name]}" for name in ORDER if name in found])
    target.write_text("".join(line.rstrip() + "\n" for line in whole.splitlines()))


def sections(text):
    """The sections of a RESULTS.md by name."""
    _, *rest = re.split(r"^<!-- ([\w-]+) -->\n", text, flags=re.MULTILINE)
    return {name: body.rstrip("\n") + "\n" for name, body in zip(rest[::2], rest[1::2])}


def verdict_table(verdicts):
    rows = [(what, got, bar, "reached" if reached else "missed") for what, got, bar, reached in verdicts]
    return table(["figure", "measured", "bar", ""], rows, "lrrl")


# ---- curves ----


def envelope(points):
    """(recall, qps) by rising recall, without those that another beats in both."""
    best, out = -math.inf, []
    for recall, qps in sorted(points, reverse=True):
        if qps > best:
            out.append((recall, qps))
            best = qps
    return out[::-1]


def at_recall(points, target):
    """QPS at a recall, log-linear between neighbours: (qps, sure). (nan, False) where it is never reached;
    not sure where even the lowest parameter is above the target: the true figure is at least this."""
    curve = envelope(points)
    if not curve or curve[-1][0] < target:
        return math.nan, False
    if curve[0][0] >= target:
        return curve[0][1], curve[0][0] == target
    for (r0, q0), (r1, q1) in zip(curve, curve[1:]):
        if r0 < target <= r1:
            share = (target - r0) / (r1 - r0)
            return math.exp(math.log(q0) + share * (math.log(q1) - math.log(q0))), True
    raise AssertionError("a target inside the curve lies between two of its points")


def crossings(rows, target, field="qps1"):
    """at_recall for each repetition."""
    count = min((len(row[field]) for row in rows), default=0)
    return [at_recall([(row["recall"], row[field][i]) for row in rows], target) for i in range(count)]


def show_qps(rows, target, field="qps1", with_spread=True):
    found = crossings(rows, target, field)
    values = [value for value, _ in found]
    if not values:
        return "-"
    if math.isnan(values[0]):
        return f"never ({max(row['recall'] for row in rows):.4f})" if with_spread else "never"
    middle, low, high = measure.spread(values)
    text = ("" if found[0][1] else ">= ") + f"{middle:,.0f}"
    return f"{text} ({short(low)}-{short(high)})" if with_spread else text


def short(value):
    return f"{value / 1000:.1f}K" if value < 1e5 else f"{value / 1000:.0f}K"


def ratio(ours, theirs, target, field="qps1"):
    """Median over the repetitions of our QPS over theirs; inf where they never get there."""
    pairs = list(zip(crossings(ours, target, field), crossings(theirs, target, field)))
    if not pairs or math.isnan(pairs[0][0][0]):
        return math.nan
    return float(np.median([math.inf if math.isnan(b) else a / b for (a, _), (b, _) in pairs]))


def best(result, target, names):
    """The fastest of `names` at a recall, and its median."""
    found = {}
    for name in names:
        values = [value for value, _ in crossings(result["curves"].get(name, []), target)]
        if values and not math.isnan(values[0]):
            found[name] = float(np.median(values))
    return max(found, key=found.get) if found else None


def ratio_rows(result):
    """Per target: which of our variants, and its ratio to hnswlib, the best peer, the best graph peer, pgvector."""
    curves = result["curves"]
    graph = {v.name for v in peers.VARIANTS if v.graph}
    others = [name for name in curves if name not in peers.OURS]
    for target in TARGETS:
        ours = best(result, target, [name for name in curves if name in peers.OURS])
        if ours is None:
            continue
        against = {
            "hnswlib": "hnswlib" if "hnswlib" in curves else None,
            "best peer": best(result, target, others),
            "best graph peer": best(result, target, [name for name in others if name in graph]),
            "pgvector": "pgvector" if "pgvector" in curves else None,
        }
        ratios = {key: ratio(curves[ours], curves[name], target) if name else None for key, name in against.items()}
        yield target, ours, against, ratios


def show_ratio(value, name=None):
    if value is None:
        return "-"
    text = "it never reaches" if math.isinf(value) else f"{value:.2f}x"
    return f"{text} ({name})" if name else text


def ann_verdicts(result):
    out = []
    for target, _, _, ratios in ratio_rows(result):

        def judge(key, bar, what, target=target, ratios=ratios):
            value = ratios[key]
            if value is not None and not math.isnan(value):
                out.append((f"{result['set']} @{target}: {what}", show_ratio(value), f">= {bar:g}x", value >= bar))

        if (result["set"], target) in BARS:
            over_hnswlib, over_best = BARS[result["set"], target]
            judge("hnswlib", over_hnswlib, "times hnswlib")
            judge("best peer", over_best, "times the best peer")
        if target == 0.999:
            judge("best graph peer", BAR_GRAPH_999, "times the best graph peer")
        if target in (0.95, 0.99):
            judge("pgvector", BAR_PGVECTOR, "times pgvector")
    ours = [name for name in result["curves"] if name in peers.OURS]
    pairs = [b / a for name in ours for row in result["curves"][name] for a, b in zip(row["qps1"], row["qps2"])]
    if pairs and result["threads"] == 2:
        out.append(
            (f"{result['set']}: two threads over one", f"{np.median(pairs):.2f}x", ">= 1.8x", np.median(pairs) >= 1.8)
        )
    if result["set"] == "synth-128" and ours:
        fastest = best(result, 0.95, ours)
        if fastest:
            value = float(np.median([q for q, _ in crossings(result["curves"][fastest], 0.95, "qps2")]))
            out.append((f"{result['set']}: QPS at 0.95, two threads", f"{value:,.0f}", ">= 40,000", value >= 40_000))
    return out


def at_first(rows, target, fields):
    """The medians of `fields` at the first parameter that reaches a recall."""
    reached = [row for row in sorted(rows, key=lambda row: row["recall"]) if row["recall"] >= target]
    if not reached or any(not reached[0][field] for field in fields):
        return None
    return [float(np.median(reached[0][field])) for field in fields]


def ann_tables(result):
    head = ["library", "version"] + [f"@{target}" for target in TARGETS] + ["p50/p99 us @0.95", "2 threads @0.95"]
    rows = []
    for name, curve in result["curves"].items():
        latency = at_first(curve, 0.95, ["p50", "p99"])
        rows.append(
            [name, result["versions"][name]]
            + [show_qps(curve, target) for target in TARGETS]
            + [f"{latency[0]:.0f}/{latency[1]:.0f}" if latency else "-", show_qps(curve, 0.95, "qps2", False)]
        )
    yield "QPS, one thread: median (smallest-largest) of the repetitions", table(head, rows)

    def one(build):
        return f"{build['vectors_per_second_1']:,.0f}" if "vectors_per_second_1" in build else "-"

    rows = [
        [name, one(build), "*" if build["reused"] else f"{build['vectors_per_second']:,.0f}",
         f"{build['bytes_per_vector']:,.0f}", build["note"]]
        for name, build in result["builds"].items()
    ]  # fmt: skip
    text = "Build rate (vectors/s) and memory the build left (anonymous resident bytes a vector, vectors included)"
    if any(build["reused"] for build in result["builds"].values()):
        text += "; * built earlier and loaded, so not timed"
    head = ["library", "1 thread", f"{result['threads']} threads", "B/vector", "remark"]
    yield text, table(head, rows, "lrrrl")
    rows = [
        [f"@{target}", ours]
        + [show_ratio(ratios[key], against[key] if key != "hnswlib" else None) if against[key] else "nobody reaches it"
           if key.startswith("best") else "-" for key in ("hnswlib", "best peer", "best graph peer", "pgvector")]
        for target, ours, against, ratios in ratio_rows(result)
    ]  # fmt: skip
    if rows:
        head = ["recall@10", "ours", "over hnswlib", "over the best peer", "over the best graph peer", "over pgvector"]
        yield "OmenDB's QPS over theirs (median of the repetitions' ratios)", table(head, rows, "llrrrr")


def ann_title(result):
    return (
        f"{result['set']}: {result['rows']:,} x {result['dim']}, {result['metric']}, {result['queries']:,} queries, "
        f"k = 10, M = {result['m']}, ef_construction = {result['ef_construction']}, {result['repeats']} repetitions"
    )


def write_ann(out, part=False):
    """CSV, PNG and HTML from all ann-*.json of this folder, and a section of RESULTS.md of each; of a part no section."""
    suffix = "-part" if part else ""
    names = [f"ann-{name}{suffix}.json" for name in data.MAKERS]
    results = [json.loads((out / name).read_text()) for name in names if (out / name).exists()]
    if not results:
        print("nothing was measured")
        return
    write_csv(results, out / f"ann{suffix}.csv")
    plot(results, out / f"ann{suffix}.png")
    parts, verdicts = [], []
    for result in results:
        text = "\n\n".join(
            [f"{ann_title(result)}.\n\nCommit {result['commit']}, {result['date']}."]
            + [f"{caption}:\n\n{text}" for caption, text in ann_tables(result)]
            + [f"Not compared: {name}: {why.strip()}" for name, why in result["missing"].items()]
        )
        found = [] if part else ann_verdicts(result)
        section(f"ann-{result['set']}", f"Recall against speed: {result['set']}", text, found, whole=not part)
        parts.append(f"### {text}")
        verdicts += found
    html(results, "\n\n".join(parts), verdicts, out / f"ann{suffix}.png", out / f"ann{suffix}.html")
    print(f"\nwritten: {out / f'ann{suffix}.html'}, .csv and .png")


def write_csv(results, path):
    with open(path, "w", newline="") as file:
        write = csv.writer(file)
        write.writerow(
            ["set", "rows", "library", "version", "parameter", "recall", "qps_1", "qps_1_min", "qps_1_max", "qps_2",
             "qps_2_min", "qps_2_max", "p50_us", "p99_us", "build_s", "bytes_per_vector"]
        )  # fmt: skip
        for result in results:
            for name, rows in result["curves"].items():
                build = result["builds"][name]
                for row in rows:
                    two = measure.spread(row["qps2"]) if row["qps2"] else ("", "", "")
                    quantiles = [np.median(row[key]) if row[key] else "" for key in ("p50", "p99")]
                    write.writerow(
                        [result["set"], result["rows"], name, result["versions"][name], row["point"], row["recall"],
                         *measure.spread(row["qps1"]), *two, *quantiles, build["seconds"], build["bytes_per_vector"]]
                    )  # fmt: skip


def plot(results, path):
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(results), figsize=(7.2 * len(results), 5.6), squeeze=False)
    names = [variant.name for variant in peers.VARIANTS]
    colour = {name: pyplot.get_cmap("tab20")(i % 20) for i, name in enumerate(names)}
    for axis, result in zip(axes[0], results):
        for name, rows in result["curves"].items():
            rows = sorted(rows, key=lambda row: row["recall"])
            x = [-math.log10(max(1 - row["recall"], 1e-4)) for row in rows]
            middle, low, high = zip(*(measure.spread(row["qps1"]) for row in rows))
            ours = name in peers.OURS
            axis.plot(
                x,
                middle,
                "o-" if ours else ".-",
                label=name,
                color=colour[name],
                lw=2.4 if ours else 1.2,
                zorder=3 if ours else 2,
            )
            axis.fill_between(x, low, high, color=colour[name], alpha=0.15, lw=0)
        axis.set_yscale("log")
        ticks = (0.8, 0.9, 0.95, 0.99, 0.999, 0.9999)
        axis.set_xticks([-math.log10(1 - t) for t in ticks], [f"{t:g}" for t in ticks])
        axis.set_title(f"{result['set']}: {result['rows']:,} x {result['dim']}, {result['metric']}")
        axis.set_xlabel("recall@10")
        axis.set_ylabel("queries/s, one thread")
        axis.grid(True, which="both", alpha=0.25)
        axis.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def html(results, text, verdicts, png, path):
    picture = base64.b64encode(pathlib.Path(png).read_bytes()).decode()
    body = text + ("\n\n" + verdict_table(verdicts) if verdicts else "")
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>OmenDB: recall against speed</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222}}
img{{max-width:100%}}table{{border-collapse:collapse;margin:1em 0;font-size:13px}}
td,th{{padding:3px 10px;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}}
td:first-child,th:first-child{{text-align:left}}tr:hover{{background:#f4f6fa}}</style>
<h1>Recall against speed</h1><p>{escape(results[0]['machine'])}</p>
<img alt="queries per second over recall, one curve per library" src="data:image/png;base64,{picture}">
{markdown(body)}</html>
"""
    path.write_text(page)


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def markdown(text):
    """The little Markdown that the reports use: headings, paragraphs and tables."""
    out = []
    for block in text.split("\n\n"):
        lines = block.strip().split("\n")
        if lines[0].startswith("#"):
            out.append(f"<h2>{escape(lines[0].lstrip('# '))}</h2>")
        elif lines[0].startswith("|"):
            cells = [[escape(cell.strip()) for cell in line.strip("|").split("|")] for line in lines]
            head = "".join(f"<th>{cell}</th>" for cell in cells[0])
            rows = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in cells[2:])
            out.append(f"<table><tr>{head}</tr>{rows}</table>")
        else:
            out.append(f"<p>{escape(block)}</p>")
    return "\n".join(out)
