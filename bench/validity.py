"""Is the frozen 1M x 128 set worth measuring on? hnswlib at ef = 64 must give recall@10 of 0.80 to 0.97.

`python -m bench.validity` builds hnswlib over it (minutes), or loads what an earlier `--reuse` run kept.
A set that is too easy tells no two libraries apart; one that is too hard is like no embedding.
"""

from bench import data, peers, report
from bench.ann import Library, build_all, options_from, say

EFS = (16, 32, 64, 128, 256, 512)


def main():
    dataset = data.load("synth-128")
    (variant,) = peers.variants(["hnswlib"])
    options = options_from(["--reuse"])
    library = Library(variant, options.patience)
    if library.failed:
        raise SystemExit(f"hnswlib: {library.failed}")
    try:
        if not build_all([library], options, "synth-128", len(dataset.base), len(dataset.query)):
            raise SystemExit(f"hnswlib: {library.failed}")
        recall = {ef: library.ask("probe", point=ef, threads=options.threads)["recall"] for ef in EFS}
    finally:
        library.close()
    say(f"recall at ef 64: {recall[64]:.4f}")
    text = report.table(["hnswlib, M 16, ef_construction 200"] + [f"ef {ef}" for ef in EFS],
                        [["recall@10"] + [f"{recall[ef]:.4f}" for ef in EFS]])  # fmt: skip
    verdict = ("synth-128: hnswlib's recall at ef 64", f"{recall[64]:.4f}", "0.80..0.97", 0.80 <= recall[64] <= 0.97)
    report.section("validity", "The frozen 1M x 128 set is neither too easy nor too hard", text, [verdict])


if __name__ == "__main__":
    main()
