"""What is tried again and what is not, on a clock that is wound by hand; and addresses."""

from __future__ import annotations

import pytest

from omendb import errors
from omendb.client.address import Node, Ring, parse
from omendb.client.course import Call, Course, Repeat
from omendb.client.wire import Params


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def course_of(repeat: Repeat, timeout: float = 10.0) -> tuple[Course, Clock]:
    clock = Clock()
    return Course(Call(Params("m.x", {}), dict, repeat), timeout, clock, lambda: 1.0), clock


def busy(retryable: bool = True, outcome: str | None = None) -> errors.OmenError:
    error = errors.BusyError("later")
    error.retryable = retryable
    error.outcome = outcome
    return error


@pytest.mark.parametrize("repeat", list(Repeat))
def test_what_the_server_calls_retryable_is_tried_again_after_pauses_that_double(repeat):
    course, _ = course_of(repeat)
    pauses = [course.failed(busy()) for _ in range(8)]
    assert pauses == pytest.approx([0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5])


def test_who_is_told_when_to_come_again_waits_so_long_at_least():
    for details, pause in (({"retry_after_ms": 250}, 0.26), ({"retry_after_ms": 0}, 0.01), ({"x": 1}, 0.01), ("x", 0.01)):
        error = busy()
        error.details = details
        assert course_of(Repeat.READ)[0].failed(error) == pytest.approx(pause)


def test_who_would_have_to_wait_for_longer_than_there_is_is_told_at_once():
    course, _ = course_of(Repeat.READ, timeout=1.0)
    error = busy()
    error.details = {"retry_after_ms": 1000}
    with pytest.raises(errors.BusyError) as raised:
        course.failed(error)
    assert raised.value is error and error.retry_after == 1.0


@pytest.mark.parametrize("repeat", list(Repeat))
@pytest.mark.parametrize("error", [busy(retryable=False), busy(outcome="applied"), errors.InvalidError("no")])
def test_what_is_final_is_raised(repeat, error):
    course, _ = course_of(repeat)
    with pytest.raises(type(error)) as raised:
        course.failed(error)
    assert raised.value is error


def test_an_unknown_outcome_is_tried_again_only_where_that_is_safe():
    for repeat in (Repeat.READ, Repeat.OPERATION):
        assert course_of(repeat)[0].failed(busy(outcome="unknown")) > 0
    with pytest.raises(errors.BusyError):
        course_of(Repeat.ONCE)[0].failed(busy(outcome="unknown"))


@pytest.mark.parametrize("repeat", list(Repeat))
def test_a_connection_that_could_not_be_made_has_done_nothing(repeat):
    assert course_of(repeat)[0].failed(errors.UnreachableError("refused"), sent=False) > 0


def test_a_connection_that_broke_leaves_the_outcome_open():
    for repeat in (Repeat.READ, Repeat.OPERATION):
        assert course_of(repeat)[0].failed(errors.UnreachableError("broke")) > 0
    with pytest.raises(errors.UnreachableError) as raised:
        course_of(Repeat.ONCE)[0].failed(errors.UnreachableError("broke"))
    assert raised.value.outcome == "unknown"


@pytest.mark.parametrize("opened", [errors.UnreachableError("broke"), busy(outcome="unknown")])
def test_what_an_earlier_try_left_open_stays_open(opened):
    refused, invalid = busy(outcome="not_applied"), errors.InvalidError("no")
    for last in (refused, invalid, errors.UnreachableError("refused")):
        course, clock = course_of(Repeat.OPERATION)
        course.failed(opened)
        clock.now += 9.99
        with pytest.raises(type(last)) as raised:
            course.failed(last, sent=not isinstance(last, errors.UnreachableError))
        assert raised.value.outcome == "unknown"
    for last in (errors.ExistsError("is"), errors.NotFoundError("is not"), errors.ConflictError("is another")):
        course, _ = course_of(Repeat.OPERATION)
        course.failed(opened)
        last.outcome = "not_applied"
        with pytest.raises(type(last)) as raised:
            course.failed(last)
        assert raised.value.outcome == "not_applied"


def test_what_no_try_left_open_is_not_open():
    course, clock = course_of(Repeat.OPERATION)
    course.failed(errors.UnreachableError("refused"), sent=False)
    course.failed(busy(outcome="not_applied"))
    clock.now += 9.99
    with pytest.raises(errors.BusyError) as raised:
        course.failed(busy(outcome="not_applied"))
    assert raised.value.outcome == "not_applied"


def test_nothing_is_begun_that_could_not_end():
    course, clock = course_of(Repeat.READ, timeout=1.0)
    clock.now += 0.995
    with pytest.raises(errors.BusyError):
        course.failed(busy())


def test_the_server_is_told_a_little_less_than_there_is():
    course, clock = course_of(Repeat.READ, timeout=1.0)
    assert course.deadline_ms() == 950
    clock.now += 0.75
    assert course.deadline_ms() == 237
    clock.now += 5
    assert course.deadline_ms() == 1
    assert course_of(Repeat.READ, timeout=60.0)[0].deadline_ms() == 59_900


def test_a_write_that_ran_out_of_time_says_what_is_known_of_it():
    assert course_of(Repeat.READ)[0].timed_out(sent=True).outcome is None
    course, _ = course_of(Repeat.OPERATION)
    assert course.timed_out(sent=True).outcome == "unknown"
    assert course.timed_out(sent=False).outcome == "not_applied"
    course.failed(errors.UnreachableError("broke"))
    assert course.timed_out(sent=False).outcome == "unknown"  # of an earlier try
    assert "m.x: no answer within 10 s" in str(course.timed_out(sent=True))


# ---- addresses ----


@pytest.mark.parametrize(
    ("address", "nodes"),
    [
        ("omen://a", [("a", 7700)]),
        ("a:1", [("a", 1)]),
        ("omen://a:1,b,c:65535/", [("a", 1), ("b", 7700), ("c", 65535)]),
        ("omen://[::1]:7, [fe80::2]", [("::1", 7), ("fe80::2", 7700)]),
        ("omen://a,a:7700", [("a", 7700)]),
    ],
)
def test_addresses(address, nodes):
    assert parse(address) == [Node(*node) for node in nodes]


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "no host"),
        ("omen://", "no host"),
        ("omen://a,,b", "no host"),
        ("http://a", "scheme is 'http'"),
        ("omen://a:0", "port"),
        ("omen://a:65536", "port"),
        ("omen://a:x", "port"),
        ("omen://[::1]7", "between"),
        (7, "is a int"),
    ],
)
def test_bad_addresses(address, words):
    with pytest.raises(errors.InvalidError, match=words):
        parse(address)


def test_whether_the_time_was_up_is_known_afterwards():
    late, clock = course_of(Repeat.READ, timeout=1.0)
    clock.now += 0.995
    told, _ = course_of(Repeat.READ)
    refused, _ = course_of(Repeat.READ)
    for course, error in ((late, busy()), (told, errors.OmenTimeoutError("no")), (refused, errors.InvalidError("no"))):
        with pytest.raises(type(error)):
            course.failed(error)
    assert (late.late, told.late, refused.late) == (True, True, False)


def test_a_client_leaves_a_node_that_lets_its_time_run_out_and_comes_back_when_the_next_does():
    a, b = Node("a", 1), Node("b", 2)
    ring = Ring([a, b], Clock(), lambda count: 0)
    assert ring.pick() == a
    ring.late(b)
    assert ring.pick() == a
    ring.late(a)
    assert [ring.pick(), ring.pick()] == [b, b]
    ring.late(b)
    assert ring.pick() == a


def test_a_client_stays_with_a_node_until_it_cannot_be_reached():
    clock = Clock()
    a, b, c = Node("a", 1), Node("b", 2), Node("c", 3)
    ring = Ring([a, b, c], clock, lambda count: count - 1)
    assert [ring.pick() for _ in range(3)] == [c, c, c]
    ring.failed(c)
    assert [ring.pick() for _ in range(3)] == [a, a, a]
    ring.failed(c)  # a late word about another
    assert ring.pick() == a
    ring.failed(a)
    ring.failed(b)
    assert ring.pick() in (a, b, c)  # somebody is asked
    clock.now += 1.5
    stays = ring.pick()
    assert [ring.pick() for _ in range(3)] == [stays] * 3
    ring.failed(stays)
    ring.reached(stays)
    assert ring.pick() != stays
    assert (str(Node("::1", 7)), str(a)) == ("[::1]:7", "a:1")
