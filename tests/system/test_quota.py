"""tests/system/test_quota.py -- a collection at its quota: what adds is refused by name, whoever leads, and all else goes on.

usage: test_quota.py PATH_OF_OMEND [unittest options]
"""
from __future__ import annotations

import sys
import unittest
from typing import Any

import numpy as np
import omendb

from cluster import WHOLE_SECONDS, ClusterCase, until

DIMENSION, BATCH = 64, 500
QUOTA = 8 << 20
OVER = 3 * QUOTA  # a copy is measured every few seconds, and what waits for a checkpoint lies in the log
U64_MAX = 2**64 - 1


def rows(number: int) -> np.ndarray:
    return np.random.default_rng(number).standard_normal((BATCH, DIMENSION), dtype=np.float32)


class Quota(ClusterCase):
    def collection(self, name: str, **quota: int) -> Any:
        made = self.client.create_collection(name, DIMENSION, metric="l2", shards=1, replicas=3, **quota)
        until("it is open", lambda: all(row["state"] == "open" for row in self.client.shards(name)))
        return made

    def fill(self, collection: Any, first: int = 0) -> tuple[int, omendb.errors.QuotaError]:
        """Batches that it took, and how it refused one."""
        for number in range(first, first + OVER // (BATCH * DIMENSION * 4)):
            try:
                collection.upsert(rows(number), range(number * BATCH, (number + 1) * BATCH))
            except omendb.errors.QuotaError as error:
                return number - first, error
        raise AssertionError(f"{OVER} bytes were taken: {collection.stats()}")

    def test_what_adds_beyond_a_quota_is_refused_and_all_else_goes_on(self) -> None:
        self.found()
        for quota in ("disk_quota", "memory_quota"):
            with self.subTest(quota):
                name = quota.replace("_", "-")
                full = self.collection(name, **{quota: QUOTA})
                self.assertEqual(full.info()[quota], QUOTA)
                taken, error = self.fill(full)
                self.assertGreater(taken, 0)
                self.assertIn(f"{quota} of the collection '{name}' is {QUOTA} bytes", str(error))
                self.assertEqual(full.count(), taken * BATCH)  # and nothing of the one that was refused
                self.client.update_collection(name, **{quota: 1})  # it has more than that, however it is measured
                for adds in (lambda: full.upsert(rows(0), range(BATCH)), lambda: full.patch([1], set={"a": 1}),
                             lambda: full.index_field("a", "integer")):
                    self.assertRaises(omendb.errors.QuotaError, adds)
                self.assertEqual(full.search(rows(0)[7], k=1).ids[0], 7)
                self.primary_dies(name)
                self.assertRaises(omendb.errors.QuotaError, self.fill_one, full, taken)
                full.delete(range(BATCH // 2))
                self.assertEqual(full.count(), taken * BATCH - BATCH // 2)
                self.client.update_collection(name, **{quota: 0})
                self.assertEqual(full.info().get(quota, 0), 0)
                until("it takes writes again", lambda: self.fill_one(full, taken) or True)
                self.client.drop_collection(name)
        self.until_whole()
        self.check_all()

    def fill_one(self, collection: Any, number: int) -> None:
        collection.upsert(rows(number), range(number * BATCH, (number + 1) * BATCH))

    def primary_dies(self, name: str) -> None:
        victim = self.by_id(self.client.shards(name)[0]["primary"])
        victim.kill()
        victim.start()
        until("all copies are back", lambda: len(self.client.shards(name)[0]["in_sync"]) == self.copies, WHOLE_SECONDS)

    def test_what_a_compaction_gives_back_can_be_used_again(self) -> None:
        self.found()
        full = self.collection("full", disk_quota=QUOTA)
        taken, _ = self.fill(full)
        full.delete(range(taken * BATCH - BATCH))
        job = self.client.call("collection.optimize", {"collection": "full"})
        self.assertTrue(job)
        until("there is room", lambda: self.fill_one(full, taken) or True)
        self.client.drop_collection("full")

    def test_a_quota_that_is_none_is_refused_and_changes_nothing(self) -> None:
        self.found()
        some = self.collection("some", disk_quota=U64_MAX, memory_quota=1 << 40)
        before = some.info()
        self.assertEqual((before["disk_quota"], before["memory_quota"]), (U64_MAX, 1 << 40))
        for wrong in (-1, U64_MAX + 1, 1.5, "much"):
            with self.subTest(wrong), self.assertRaises((omendb.errors.InvalidError, ValueError, TypeError, OverflowError)):
                self.client.update_collection("some", disk_quota=wrong)  # type: ignore[arg-type]
        with self.assertRaisesRegex(omendb.errors.InvalidError, "disk_quota"):
            self.client.create_collection("none", DIMENSION, disk_quota=0)
        self.assertEqual({**some.info(), "points": 0}, {**before, "points": 0})
        self.client.update_collection("some", replicas=2)  # which leaves it as it is
        self.assertEqual(some.info()["memory_quota"], 1 << 40)
        self.client.drop_collection("some")


if __name__ == "__main__":
    ClusterCase.program = sys.argv.pop(1)
    unittest.main()
