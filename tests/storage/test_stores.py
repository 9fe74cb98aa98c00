"""One suite for every document store: what works in one works in the others, to the letter."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crimeface_lib.core.errors import InputError, NotFoundError
from crimeface_lib.storage import DocumentStore, open_documents


@pytest.fixture
def store(place: str) -> DocumentStore:
    return open_documents(place)


def test_a_document_comes_back_as_it_was_stored(store: DocumentStore, place: str) -> None:
    assert isinstance(store, DocumentStore)
    document = {
        "name": "é\u0000 \U0001f600 ' \" \\ %s :x", "": "empty", "tags": ["a", {"b": None}], "whole": 1, "float": 1.0,
        "large": 2**70, "tiny": 5e-324, "huge": 1e300, "minus": -0.0, "yes": True, "none": None,
        "nested": {"z": 1, "a": 2},
    }  # fmt: skip
    new = store.insert("case", document)
    for reader in (store, open_documents(place)):
        back = reader.get("case", new)
        assert back == document | {"id": new}
        assert json.dumps(back) == json.dumps(document | {"id": new})  # types and order as well


@given(
    st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])).filter(lambda name: name != "id"),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
            | st.text(st.characters(exclude_categories=["Cs"])),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            max_leaves=6,
        ),
        max_size=4,
    )
)  # fmt: skip
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_object_comes_back_and_is_found_by_each_field(store: DocumentStore, document: dict) -> None:
    new = store.insert("any", document)
    assert json.dumps(store.get("any", new)) == json.dumps(document | {"id": new})
    for field, value in document.items():
        if field not in ("self", "table"):  # Python's own
            assert new in [row["id"] for row in store.find("any", **{field: value})]


def test_find_compares_as_json_does_and_in_order_of_id(store: DocumentStore) -> None:
    values = [1, 1.0, True, "1", None, [1], [True], {"a": 1}, {"a": 1.0}, "x" * 500, 10**30]
    ids = store.insert_many("case", [{"v": value, "even": not n % 2} for n, value in enumerate(values)])
    assert ids == list(range(1, 12)) == [row["id"] for row in store.find("case")]
    found = lambda value, **more: [row["id"] for row in store.find("case", v=value, **more)]  # noqa: E731
    assert found(1) == found(1.0) == [1, 2]
    assert [found(v) for v in (True, "1", None, [1], [True], {"a": 1}, "x" * 500, 10**30, 1e30)] == [
        [3], [4], [5], [6], [7], [8, 9], [10], [11], [11] if int(1e30) == 10**30 else []
    ]  # fmt: skip
    assert found(1, even=True) == [1]
    assert store.find("case", absent=None) == [] == store.find("other") == store.find("case", v="x" * 499)
    with pytest.raises(InputError, match="the store gives ids"):
        store.find("case", id=1)


def test_update_sets_fields_and_find_follows(store: DocumentStore) -> None:
    new = store.insert("case", {"a": 1, "b": "x"})
    assert store.update("case", new, {"a": 2, "c": [1]}) == {"a": 2, "b": "x", "c": [1], "id": new}
    assert store.find("case", a=1) == []
    assert store.find("case", a=2, b="x", c=[1]) == [store.get("case", new)]
    assert store.update("case", new, store.get("case", new) | {"a": 3})["a"] == 3
    assert store.update("case", new, {}) == store.get("case", new)
    store.delete("case", new)
    assert store.find("case", a=3) == []


def test_what_is_missing_is_said(store: DocumentStore) -> None:
    store.insert("case", {})
    for call in (store.get, store.delete, lambda *where: store.update(*where, {"a": 1})):
        for id in (2, 0, -1, 2**70):
            with pytest.raises(NotFoundError, match=f"no document {id} in table 'case'"):
                call("case", id)
        with pytest.raises(NotFoundError):
            call("other", 1)


@pytest.mark.parametrize(
    "document",
    [{"id": 3}, {"a": object()}, {"a": float("nan")}, {"a": float("inf")}, {"a": b"bytes"}, {"a": "\ud800"},
     {"\udfff": 1},
     {1: "a", "1": "b"}],
)  # fmt: skip
def test_what_json_cannot_hold_is_refused(store: DocumentStore, document: dict) -> None:
    for call in (
        lambda: store.insert("case", document),
        lambda: store.insert_many("case", [{"fine": 1}, document]),
    ):
        with pytest.raises(InputError):
            call()
    assert store.find("case") == []
    assert store.insert("case", {}) == 1


def test_bad_names_and_ids_are_refused(store: DocumentStore) -> None:
    new = store.insert("case", {"a": 1})
    for name in ("", "_sequence", "a\0b", "x" * 101):
        for call in (
            lambda n: store.insert(n, {}),
            store.find,
            lambda n: store.get(n, 1),
            lambda n: store.delete(n, 1),
        ):
            with pytest.raises(InputError, match="underscore"):
                call(name)
    with pytest.raises(InputError, match="can't be changed"):
        store.update("case", new, {"id": 9})


def test_ids_are_never_given_twice(store: DocumentStore, place: str) -> None:
    first = store.insert("case", {})
    store.delete("case", first)
    assert open_documents(place).insert("case", {}) == first + 1
    assert store.insert("other", {}) == 1
    assert store.insert_many("case", ({} for _ in range(3))) == [3, 4, 5]
    assert store.insert_many("case", []) == []


def test_what_was_returned_is_a_copy(store: DocumentStore) -> None:
    new = store.insert("case", {"tags": ["a"]})
    with store.transaction():
        store.update("case", new, {"n": 1})
        store.get("case", new)["tags"].append("b")
    assert store.get("case", new)["tags"] == ["a"]


def test_an_error_undoes_the_whole_transaction(store: DocumentStore) -> None:
    new = store.insert("case", {"a": 1})

    def fail() -> None:
        with store.transaction():
            store.update("case", new, {"a": 2})
            with store.transaction():  # joins the outer one
                store.insert("case", {})
            assert len(store.find("case")) == 2  # its own writes are seen
            store.delete("case", new)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert store.find("case") == [{"a": 1, "id": new}]
    assert store.insert("case", {}) == new + 1


def test_nobody_sees_half_a_transaction(store: DocumentStore) -> None:
    inside, seen = threading.Event(), threading.Event()
    with ThreadPoolExecutor(1) as pool:

        def write() -> None:
            with store.transaction():
                store.insert("case", {})
                inside.set()
                assert seen.wait(10)
                store.insert("case", {})

        done = pool.submit(write)
        assert inside.wait(10)
        assert store.find("case") == []
        seen.set()
        done.result()
    assert len(store.find("case")) == 2


def test_a_large_document_and_many_small_ones(store: DocumentStore) -> None:
    large = {"text": "é" * 2_000_000, "list": list(range(10_000))}
    assert store.get("case", store.insert("case", large))["text"] == large["text"]
    assert store.insert_many("row", ({"n": n, "kind": n % 10} for n in range(2000)))[-1] == 2000
    assert [row["n"] for row in store.find("row", kind=3)] == list(range(3, 2000, 10))


WRITER = """
import sys
from crimeface_lib.storage import open_documents
place, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = open_documents(place)
counter = store.find("counter")[0]["id"]
for i in range(count):
    new = store.insert("row", {"writer": name, "i": i})
    assert store.find("row", writer=name, i=i) == [{"writer": name, "i": i, "id": new}], "a stale read"
    with store.transaction():
        store.update("counter", counter, {"n": store.get("counter", counter)["n"] + 1})
"""


def test_concurrent_processes_and_threads_lose_nothing(store: DocumentStore, place: str) -> None:
    processes, count = 2, 15
    store.insert("counter", {"n": 0})
    running = [subprocess.Popen([sys.executable, "-c", WRITER, place, f"p{i}", str(count)]) for i in range(processes)]
    with ThreadPoolExecutor(4) as pool:
        ids = list(pool.map(lambda i: store.insert("row", {"writer": f"t{i % 4}", "i": i}), range(20)))
    assert [process.wait(timeout=60) for process in running] == [0] * processes
    rows = store.find("row")
    assert [row["id"] for row in rows] == list(range(1, processes * count + 21))
    assert len(set(ids)) == 20
    assert len({(row["writer"], row["i"]) for row in rows}) == len(rows)
    assert store.find("counter")[0]["n"] == processes * count


def test_pages_walk_through_all_in_order_of_id(store: DocumentStore, monkeypatch) -> None:
    monkeypatch.setattr("crimeface_lib.storage.sql._PAGE", 4)
    assert list(store.pages("case")) == []
    new = store.insert_many("case", [{"n": n} for n in range(10)])
    store.insert("other", {"n": -1})
    store.delete("case", new[3])
    walked = [row for page in store.pages("case") for row in page]
    assert walked == store.find("case")
    assert [row["n"] for page in store.pages("case", after=new[6]) for row in page] == [7, 8, 9]
    walked[0]["n"] = 99
    assert store.get("case", new[0])["n"] == 0
