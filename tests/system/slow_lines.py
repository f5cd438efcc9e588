"""tests/system/slow_lines.py -- the line of a host of network.py: what it sends is late, and part of it is lost.

usage: slow_lines.py INNER OUTER

Carries frames between two TAP devices, open as these descriptors: from the inner one, which is the host's, as the last line of stdin says
(milliseconds, and a part of 1), and to it at once. In order, as netem without jitter. Each line is answered by the frames lost so far;
it ends with its stdin.
"""
from __future__ import annotations

import collections
import contextlib
import os
import random
import selectors
import sys
import time

FRAME_BYTES = 65536  # and more than any
FRAMES_MAX = 64  # of one line, before the others have their turn


def carry(inner: int, outer: int, seed: int) -> None:
    draw = random.Random(seed)
    delay, loss, lost = 0.0, 0.0, 0
    late: collections.deque[tuple[float, bytes]] = collections.deque()  # and when each is due
    wakes = selectors.DefaultSelector()
    for source in (inner, outer, sys.stdin.fileno()):
        wakes.register(source, selectors.EVENT_READ)
    while True:
        ready = {key.fd for key, _ in wakes.select(max(0.0, late[0][0] - time.monotonic()) if late else None)}
        if sys.stdin.fileno() in ready:
            said = os.read(sys.stdin.fileno(), 4096).split()
            if not said:
                return
            delay, loss = float(said[-2]) / 1000, float(said[-1])
            print(lost, flush=True)
        for frame in frames(inner) if inner in ready else ():
            if draw.random() < loss:
                lost += 1
            else:
                late.append((time.monotonic() + delay, frame))
        for frame in frames(outer) if outer in ready else ():
            put(inner, frame)
        while late and late[0][0] <= time.monotonic():
            put(outer, late.popleft()[1])


def frames(device: int) -> list[bytes]:
    """Those that are there now, or a good part."""
    out = []
    with contextlib.suppress(OSError):  # no more, or the device is down
        while len(out) < FRAMES_MAX:
            out.append(os.read(device, FRAME_BYTES))
    return out


def put(device: int, frame: bytes) -> None:
    with contextlib.suppress(OSError):  # a full queue loses frames, and so does a device that is down
        os.write(device, frame)


if __name__ == "__main__":
    carry(int(sys.argv[1]), int(sys.argv[2]), seed=int(sys.argv[2]))
