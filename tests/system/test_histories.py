"""tests/system/test_histories.py -- the checker itself: what it must let through, and what it must find.

usage: test_histories.py [unittest options]
"""
from __future__ import annotations

import itertools
import random
import unittest

from histories import NEVER, Call, fault_of, faults_of


def put(begun: float, ended: float, value: int | None) -> Call:
    return Call("put", begun, ended, value)


def get(begun: float, ended: float, value: int | None) -> Call:
    return Call("get", begun, ended, value)


def by_every_order(calls: list[Call]) -> bool:
    """The dumb one: tries all orders of all that are known and every part of what is unknown."""
    known = [call for call in calls if call.ended != NEVER]
    unknown = [call for call in calls if call.ended == NEVER]
    for count in range(len(unknown) + 1):
        for happened in itertools.combinations(unknown, count):
            for order in itertools.permutations(known + list(happened)):
                if any(order[j].ended < order[i].begun for i in range(len(order)) for j in range(i + 1, len(order))):
                    continue
                held, fits = None, True
                for call in order:
                    fits, held = call.after(held)
                    if not fits:
                        break
                if fits:
                    return True
    return False


class Histories(unittest.TestCase):
    def good(self, *calls: Call) -> None:
        self.assertIsNone(fault_of(calls))

    def bad(self, *calls: Call) -> None:
        self.assertIsNotNone(fault_of(calls))

    def test_no_calls_and_one_after_another_are_fine(self) -> None:
        self.good()
        self.good(get(0, 1, None), put(2, 3, 1), get(4, 5, 1), put(6, 7, 2), get(8, 9, 2))

    def test_an_acknowledged_write_that_is_lost_is_found(self) -> None:
        self.bad(put(0, 1, 1), get(2, 3, None))
        self.bad(put(0, 1, 1), put(2, 3, 2), get(4, 5, 1))

    def test_a_delete_that_is_undone_is_found(self) -> None:
        self.bad(put(0, 1, 1), Call("delete", 2, 3), get(4, 5, 1))
        self.good(put(0, 1, 1), Call("delete", 2, 3), get(4, 5, None))

    def test_a_value_that_nobody_wrote_is_found(self) -> None:
        self.bad(get(0, 1, 7))

    def test_a_read_beside_a_write_sees_before_or_after_and_not_back_again(self) -> None:
        write = put(1, 10, 2)
        self.good(put(0, 0.5, 1), write, get(2, 3, 1), get(4, 5, 2))
        self.bad(put(0, 0.5, 1), write, get(2, 3, 2), get(4, 5, 1))

    def test_a_read_from_before_the_write_began_is_found(self) -> None:
        self.bad(get(0, 1, 1), put(2, 3, 1))

    def test_a_write_of_unknown_outcome_may_happen_late_or_never_but_once(self) -> None:
        lost = Call("put", 1, NEVER, 2, done=None)
        self.good(put(0, 0.5, 1), lost, get(2, 3, 1))
        self.good(put(0, 0.5, 1), lost, get(2, 3, 1), get(40, 50, 2))
        self.bad(put(0, 0.5, 1), lost, get(2, 3, 2), put(4, 5, 3), get(6, 7, 2))
        self.bad(get(0, 0.5, 2), lost)

    def test_inserts_deletes_and_swaps_tell_what_was_there(self) -> None:
        self.bad(put(0, 1, 1), Call("insert", 2, 3, 2))
        self.good(put(0, 1, 1), Call("insert", 2, 3, 2, done=False), get(4, 5, 1))
        self.bad(Call("insert", 2, 3, 2, done=False))
        self.bad(put(0, 1, 1), Call("delete", 2, 3, done=False))
        self.bad(Call("delete", 0, 1))
        self.good(put(0, 1, 1), Call("swap", 2, 3, 2, was=1), get(4, 5, 2))
        self.bad(put(0, 1, 1), put(2, 3, 3), Call("swap", 4, 5, 2, was=1))
        self.bad(put(0, 1, 1), Call("swap", 2, 3, 2, was=1, done=False))

    def test_two_swaps_of_one_value_are_one_too_many(self) -> None:
        self.bad(put(0, 1, 1), Call("swap", 2, 9, 2, was=1), Call("swap", 3, 8, 3, was=1))
        self.good(put(0, 1, 1), Call("swap", 2, 9, 2, was=1), Call("swap", 3, 8, 3, was=1, done=False))

    def test_it_says_what_every_order_says(self) -> None:
        found = {True: 0, False: 0}
        for seed in range(1500):
            draw = random.Random(seed)
            calls = [self.drawn(draw, row) for row in range(draw.randint(1, 6))]
            expected = by_every_order(calls)
            self.assertEqual(fault_of(calls) is None, expected, f"seed {seed}: {calls}")
            found[expected] += 1
        self.assertGreater(min(found.values()), 300)

    @staticmethod
    def drawn(draw: random.Random, row: int) -> Call:
        begun = draw.randint(0, 12)
        ended = begun + draw.randint(1, 6)
        kind = draw.choice(("get", "get", "put", "insert", "delete", "swap"))
        if kind == "get":
            return get(begun, ended, draw.choice((None, 0, 1, 2)))
        known = draw.random() < 0.8
        done = True if kind == "put" else draw.choice((True, True, False))
        return Call(kind, begun, ended if known else NEVER, row, draw.choice((None, 0, 1)) if kind == "swap" else None, done if known else None)

    def test_a_long_history_of_many_clients_takes_no_time(self) -> None:
        draw = random.Random(1)
        calls, held = [], None
        for moment in range(3000):
            if draw.random() < 0.5:
                held = moment
                calls.append(put(moment - draw.random() * 4, moment + draw.random() * 4, moment))
            else:
                calls.append(get(moment - draw.random() * 4, moment + draw.random() * 4, held))
            if moment % 300 == 0:
                calls.append(Call("put", moment, NEVER, -moment - 1, done=None))
        self.good(*calls)
        self.bad(*calls, get(5000, 5001, 0))

    def test_faults_name_their_keys(self) -> None:
        found = faults_of({"a": [put(0, 1, 1)], "b": [get(0, 1, 1)]})
        self.assertEqual(len(found), 1)
        self.assertIn("key b", found[0])
        self.assertEqual(faults_of({}), [])


if __name__ == "__main__":
    unittest.main()
