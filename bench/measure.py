"""Clocks, quantiles, recall, pinning and memory: what every bench measures with.

Nothing here knows a library. Times are seconds of the monotonic clock unless a name says otherwise.
"""

import os
import pathlib
import platform
import re
import subprocess
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
CORES = sorted(os.sched_getaffinity(0))  # as the bench found them, before anything is pinned


def clock():
    return time.perf_counter()


def recall(ids, truth, k=10):
    """The share of the k true neighbours that were found, by row number."""
    if len(ids) == 0:
        return float("nan")
    ids, truth = np.asarray(ids)[:, :k].astype("i8"), np.asarray(truth)[: len(ids), :k].astype("i8")
    return float((ids[:, :, None] == truth[:, None, :]).any(1).mean())


def recall_each(ids, truth, k=10):
    """Recall per query; places that the truth leaves empty (0xFFFFFFFF) do not count."""
    ids, truth = np.asarray(ids)[:, :k].astype("i8"), np.asarray(truth)[: len(ids), :k].astype("i8")
    there = truth != 0xFFFFFFFF
    found = (ids[:, :, None] == truth[:, None, :]).any(1) & there
    return found.sum(1) / np.maximum(there.sum(1), 1)


def rate(run, count, at_least=0.25):
    """Calls per second of run(), which does `count` of them: repeated until `at_least` seconds have passed."""
    done, start = 0, clock()
    while True:
        run()
        done += count
        took = clock() - start
        if took >= at_least:
            return done / took


def each(call, queries):
    """Seconds of call(query) for each query, one by one."""
    took = np.empty(len(queries))
    for i, query in enumerate(queries):
        start = time.perf_counter_ns()
        call(query)
        took[i] = time.perf_counter_ns() - start
    return took * 1e-9


def quantile_us(seconds, share):
    return float(np.quantile(seconds, share) * 1e6)


def spread(values):
    """Median, smallest, largest."""
    return float(np.median(values)), float(np.min(values)), float(np.max(values))


def pin(cores=None):
    """Pins every thread of this process to `cores` (None: all that the bench was given)."""
    cores = set(cores or CORES)
    for thread in os.listdir("/proc/self/task"):
        try:
            os.sched_setaffinity(int(thread), cores)
        except ProcessLookupError:
            pass  # the thread ended meanwhile


def touch_memory(count=1 << 30):
    """Touches so many bytes and lets them go: the host of a virtual machine takes back what lay unused for some seconds, and gives
    it anew page by page, up to a second a gigabyte, which would be counted for whoever comes next. What was just freed is not."""
    pages = np.empty(count, "u1")
    pages[::4096] = 1
    del pages


def anonymous_bytes():
    """RssAnon: what this process holds that no file backs."""
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("RssAnon"):
                return int(line.split()[1]) * 1024
    return 0


def machine():
    """One line for a report: processor, cores, memory, system."""
    text = pathlib.Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", text)
    total = int(re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text()).group(1))
    wide = [name for name in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16") if re.search(rf"\b{name}\b", text)]
    system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return (
        f"{model.group(1) if model else platform.machine()} ({', '.join(wide) or 'no AVX2'}), {len(CORES)} cores, "
        f"{total / 2**20:.0f} GiB, {system}"
    )


def commit():
    """The commit measured, marked when the working tree differs from it."""

    def git(*words):
        return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=False).stdout.strip()

    name = git("rev-parse", "--short=12", "HEAD")
    return (
        name + (" + changes" if git("status", "--porcelain", "--untracked-files=no", ":!bench/RESULTS.md") else "")
    ) or "no git"
