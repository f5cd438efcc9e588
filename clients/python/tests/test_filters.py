"""Filters: strings, dicts and F expressions say the same."""

from __future__ import annotations

import datetime
import uuid

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omendb import F, Index, errors
from omendb.filters import to_text

UTC = datetime.UTC
PEOPLE = [
    {"name": "Ada", "age": 36, "city": "Oslo", "tags": ["a", "b"], "address": {"zip": "0150"}, "ok": True},
    {"name": "Bo", "age": 20, "city": "Bergen", "tags": [], "address": {"zip": "5003"}, "ok": False},
    {"name": "Eve \"x\" \\", "age": 41.5, "city": "Ålesund\n", "tags": ["b"],
     "when": datetime.datetime(2024, 5, 1, tzinfo=UTC)},
    {"name": None, "and": 5, "true": 1, "a b": 2, "id": str(uuid.UUID(int=9))},
    None,
]  # fmt: skip


@pytest.fixture(scope="module")
def people() -> Index:
    with Index(dimension=2, metric="l2") as index:
        index.add(np.arange(2 * len(PEOPLE), dtype=np.float32).reshape(-1, 2), range(len(PEOPLE)), PEOPLE)
        yield index


SAME = [
    ("age >= 30 and age < 40", {"age": {"gte": 30, "lt": 40}}, (F.age >= 30) & (F.age < 40), [0]),
    ('city in ["Oslo", "Bergen"]', {"city": {"in": ["Oslo", "Bergen"]}}, F.city.in_(["Oslo", "Bergen"]), [0, 1]),
    ('city == "Oslo"', {"city": "Oslo"}, F.city == "Oslo", [0]),
    ('city not in ["Oslo"]', {"city": {"nin": ["Oslo"]}}, F.city.not_in(["Oslo"]), [1, 2, 3, 4]),
    ("age != 20", {"age": {"ne": 20}}, F.age != 20, [0, 2, 3, 4]),
    ("age > 36", {"age": {"gt": 36}}, F.age > 36, [2]),
    ("age <= 36.0", {"age": {"lte": 36.0}}, F.age <= 36.0, [0, 1]),
    ("age >= 20 and age <= 36", {"age": {"gte": 20, "lte": 36}}, F.age.between(20, 36), [0, 1]),
    ("ok", {"ok": True}, F.ok == True, [0]),  # noqa: E712
    ("not ok", {"not": {"ok": True}}, ~(F.ok == True), [1, 2, 3, 4]),  # noqa: E712
    ('tags == "b"', {"tags": "b"}, F.tags == "b", [0, 2]),
    ('name prefix "A"', {"name": {"prefix": "A"}}, F.name.prefix("A"), [0]),
    ("exists(when)", {"when": {"exists": True}}, F.when.exists(), [2]),
    ("not exists(age)", {"age": {"exists": False}}, ~F.age.exists(), [3, 4]),
    ("name == null", {"name": {"eq": None}}, F.name == None, [3, 4]),  # noqa: E711
    ('address.zip == "5003"', {"address.zip": "5003"}, F.address.zip == "5003", [1]),
    ("`a b` == 2", {"a b": 2}, F["a b"] == 2, [3]),
    ("`true` == 1", {"true": 1}, F["true"] == 1, [3]),
    ('age == 20 or (city == "Oslo" and ok)', {"or": [{"age": 20}, {"and": [{"city": "Oslo"}, {"ok": True}]}]},
     (F.age == 20) | ((F.city == "Oslo") & (F.ok == True)), [0, 1]),  # noqa: E712
    ('when == time("2024-05-01T00:00:00Z")',
     {"when": datetime.datetime(2024, 5, 1, tzinfo=UTC)}, F.when == datetime.datetime(2024, 5, 1, tzinfo=UTC), [2]),
    (f'id == "{uuid.UUID(int=9)}"', {"id": uuid.UUID(int=9)}, F.id == uuid.UUID(int=9), [3]),
    ('name == "Eve \\"x\\" \\\\"', {"name": 'Eve "x" \\'}, F.name == 'Eve "x" \\', [2]),
    ('city == "Ålesund\\n"', {"city": "Ålesund\n"}, F.city == "Ålesund\n", [2]),
    ("age < 1e999", {"age": {"lt": float("inf")}}, F.age < float("inf"), [0, 1, 2]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "tree", "expression", "ids"), SAME, ids=[same[0] for same in SAME])
def test_three_forms_say_the_same(people, text, tree, expression, ids):
    for form in (text, tree, expression, expression.tree, str(expression), to_text(tree)):
        assert people.count(form) == len(ids), form
        assert sorted(people.search([0, 0], filter=form, exact=True).ids.tolist()) == ids, form
        points, cursor = people.scroll(form)
        assert [p.id for p in points] == ids and cursor is None
        assert len(people.range_search([0, 0], 1e9, filter=form, exact=True)) == len(ids)


def test_numpy_values_are_the_numbers_that_they_are(people):
    for form in (F.age == np.int64(20), F.age.in_(np.array([20, 21])), F.ok == np.bool_(False), F.age > np.float32(41)):
        assert people.count(form) == people.count(form.tree) == 1
        assert people.search([0, 0], filter=form, exact=True).report["matches"] == 1


def test_an_indexed_field_gives_the_same_and_no_warning(rng):
    rows = rng.standard_normal((500, 4)).astype(np.float32)
    moment = datetime.datetime(2024, 1, 1, tzinfo=UTC)
    payloads = [
        {"n": i % 10, "x": i / 7, "word": f"w{i % 13}", "flag": i % 3 == 0, "at": moment + datetime.timedelta(days=i),
         "u": uuid.UUID(int=i % 5)}
        for i in range(500)
    ]  # fmt: skip
    filters = [
        F.n == 3, F.n.in_([1, 2]), F.x < 20.5, F.word == "w3", F.word.prefix("w1"), F.flag == True,  # noqa: E712
        F.at >= moment + datetime.timedelta(days=400), F.u == uuid.UUID(int=2),
    ]  # fmt: skip
    with Index(dimension=4, metric="l2") as index:
        index.add(rows, payloads=payloads)
        before = [index.search(rows[0], k=500, filter=f, exact=True) for f in filters]
        assert all(hits.warnings for hits in before)
        for name, type_ in [("n", "integer"), ("x", "float"), ("word", "keyword"), ("flag", "bool"),
                            ("at", "datetime"), ("u", "uuid")]:  # fmt: skip
            index.index_field(name, type_)
        for hits, form in zip(before, filters, strict=True):
            after = index.search(rows[0], k=500, filter=form, exact=True)
            assert after.ids.tolist() == hits.ids.tolist() and len(after) > 0
            assert after.warnings == ()
            assert index.count(form) == len(hits)


def test_a_field_with_other_values_is_refused():
    with Index(dimension=2) as index:
        index.add([[1, 2], [2, 3]], payloads=[{"a": 1}, {"a": "one"}])
        with pytest.raises(errors.FieldTypeError):
            index.index_field("a", "integer")
        index.index_field("b", "integer")
        with pytest.raises(errors.FieldTypeError):
            index.add([1, 2], payloads={"b": "one"})
        assert len(index) == 2


def test_an_index_that_is_given_up_takes_any_value():
    with Index(dimension=2) as index:
        index.index_field("a", "integer")
        index.add([[1, 2]], payloads=[{"a": 1}])
        index.drop_field("a")
        index.add([[2, 3]], payloads=[{"a": "one"}])
        assert index.count("a == 1") == 1
        for name, error in [("a", errors.NotFoundError), (5, errors.InvalidError), ("a\0b", errors.InvalidError)]:
            with pytest.raises(error):
                index.drop_field(name)


@pytest.mark.parametrize(
    ("name", "type_", "error"),
    [("a", "number", errors.InvalidError), ("a", 5, errors.InvalidError), (5, "integer", errors.InvalidError),
     ("a\0b", "integer", errors.InvalidError), ("", "integer", errors.InvalidError)],
)  # fmt: skip
def test_bad_fields_are_refused(name, type_, error):
    with Index(dimension=2) as index, pytest.raises(error):
        index.index_field(name, type_)


def test_a_syntax_error_says_where(people):
    with pytest.raises(errors.FilterError, match=r"\d"):
        people.count("age >= and")
    with pytest.raises(ValueError):
        people.delete(filter="(")


@pytest.mark.parametrize(
    "bad",
    [{}, {"and": []}, {"or": {"a": 1}}, {"not": 5}, {"a": {}}, {"a": {"like": 1}}, {"a": {"in": 5}}, {"a": b"x"},
     {"a": {"exists": 3}}, {5: 1}, {"a": datetime.datetime(2024, 1, 1)}, [], 5, {"a": object()}],
)  # fmt: skip
def test_bad_dicts_are_refused_in_every_call(people, bad):
    with pytest.raises(errors.FilterError):
        people.count(bad)
    with pytest.raises(errors.FilterError):
        people.delete(filter=bad)
    if bad != {"a": b"x"}:  # which msgpack can hold; it equals nothing
        with pytest.raises(errors.FilterError):
            people.search([0, 0], filter=bad)
    assert len(people) == len(PEOPLE)


def test_expressions_refuse_what_would_go_wrong_silently():
    with pytest.raises(TypeError, match="truth value"):
        (F.a == 1) and (F.b == 2)  # noqa: B018
    with pytest.raises(TypeError, match="truth value"):
        1 < F.a < 3  # noqa: B015
    with pytest.raises(TypeError):
        (F.a == 1) & {"b": 2}
    with pytest.raises(errors.FilterError, match="string form"):
        F["and"] == 1  # noqa: B015
    with pytest.raises(TypeError):
        hash(F.a)
    assert repr(F) == "F" and repr(F.a.b) == "F['a.b']" and repr(F.a > 1) == "<filter (a > 1)>"


def test_a_chain_is_one_list():
    chain = (F.a == 1) & (F.b == 2) & (F.c == 3)
    assert chain.tree == {"and": [{"a": {"eq": 1}}, {"b": {"eq": 2}}, {"c": {"eq": 3}}]}


def test_delete_where_deletes_what_count_counted(index):
    assert index.count(F.n < 50) == 50
    assert index.delete(filter=F.n < 50) == 50
    assert index.count() == 150 and 49 not in index and 50 in index
    assert index.delete(filter={"n": {"lt": 50}}) == 0


def test_scroll_goes_through_everything_once(index):
    seen, cursor, calls = [], None, 0
    while True:
        points, cursor = index.scroll(F.odd == True, limit=30, cursor=cursor, with_vector=False)  # noqa: E712
        seen += [p.id for p in points]
        calls += 1
        if cursor is None:
            break
    assert seen == list(range(1, 200, 2)) and calls in (4, 5)
    points, _ = index.scroll(limit=1)
    assert points[0].payload == {"n": 0, "odd": False} and points[0].vector.shape == (8,)
    for bad in ({"limit": 0}, {"limit": -1}, {"cursor": -1}):
        with pytest.raises(errors.InvalidError):
            index.scroll(**bad)


names = st.text(st.characters(exclude_characters=".\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda name: name not in ("and", "or", "not")
)
leaves = st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.booleans() | st.floats(allow_nan=False)


@settings(max_examples=150, deadline=None)
@given(names, leaves, leaves)
def test_any_name_and_value_survives_the_string_form(name, value, other):
    with Index(dimension=1, metric="l2") as index:
        index.add([[0.0], [1.0]], payloads=[{name: value}, {name: other}])
        for form in (F[name] == value, F[name].in_([value, other]), F[name] != value):
            by_map = sorted(index.search([0.0], filter=form, exact=True).ids.tolist())
            by_text = sorted(index.search([0.0], filter=str(form), exact=True).ids.tolist())
            assert by_map == by_text
        assert 0 in index.search([0.0], filter=F[name] == value, exact=True).ids
