"""Opens an index in a new process, asks it one query, and says how long that took.

`python -m bench.reopen PATH < QUERY` prints JSON; the query is f32, as numpy's tobytes gives it. The clock starts when the
libraries are loaded: loading Python and numpy takes longer than what is measured.
"""

import json
import subprocess
import sys
import time

import numpy as np
import omendb


def main():
    query = np.frombuffer(sys.stdin.buffer.read(), "f4")
    start = time.perf_counter()
    with omendb.Index(path=sys.argv[1]) as index:
        opened = time.perf_counter()
        hits = index.search(query, k=10)
        answered = time.perf_counter()
        found = {"rows": len(index), "ids": hits.ids.tolist()}
    print(json.dumps({**found, "open": opened - start, "answer": answered - start}))


def in_new_process(path, query):
    """What `main` prints, as a dict."""
    run = subprocess.run(
        [sys.executable, "-m", "bench.reopen", path],
        input=np.asarray(query, "f4").tobytes(),
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(run.stdout)


if __name__ == "__main__":
    main()
