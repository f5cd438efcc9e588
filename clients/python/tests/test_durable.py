"""An index at a path: what was acknowledged is there again, for this process and for others."""

from __future__ import annotations

import ctypes.util
import mmap
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from conftest import nearest

from omendb import Index, errors


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process; `path` is its first argument."""
    head = "import sys\nimport numpy as np\nfrom omendb import Index, errors\npath = sys.argv[1]\n"
    return subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def run(code: str, *arguments: object) -> str:
    process = start(code, *arguments)
    out, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return out


@pytest.fixture
def path(tmp_path):
    return tmp_path / "index"


# ---- closing and opening ----


def test_everything_is_there_after_opening_again(path, vectors):
    payloads = [{"n": i, "odd": i % 2 == 1} for i in range(200)]
    with Index(dimension=8, metric="l2", dtype="f32", m=8, path=path) as index:
        assert index.path == str(path)
        index.add(vectors, np.arange(200), payloads)
        index.index_field("n", "integer")
        index.delete([3])
        index.upsert(vectors[3] + 1, 4, {"n": 4000})
    with Index(path=path) as index:
        assert (index.dimension, index.metric, index.dtype, index.algorithm) == (8, "l2", "f32", "hnsw+")
        assert index.stats()["m"] == 8 and 0 < index.stats()["open_seconds"] < 60
        assert len(index) == 199 and 3 not in index
        assert index.get(5).payload == payloads[5] and np.array_equal(index.get(5).vector, vectors[5])
        assert index.get(4).payload == {"n": 4000}
        hits = index.search(vectors[7], k=3, filter="n < 100", exact=True)
        assert hits.ids[0] == 7 and hits.warnings == ()
        index.flush()
        index.compact()
        index.verify()
        rows = np.delete(vectors, [3, 4], axis=0)
        found = index.search(vectors[9], k=5, filter="n < 4000", exact=True).ids
        assert found.tolist() == [np.delete(np.arange(200), [3, 4])[i] for i in nearest(rows, vectors[9], 5)]


@pytest.mark.parametrize("text", [False, True])
def test_the_kind_of_ids_is_known_after_opening(path, vectors, text):
    with Index(dimension=8, path=path) as index:
        index.add(vectors[:3], ["a", "b", "c"] if text else [0, 1, 2])
    for read_only in (True, False):
        with Index(path=path, read_only=read_only) as index:  # the very first call of each kind
            assert (0 in index, "a" in index) == (not text, text)
        with Index(path=path, read_only=read_only) as index, pytest.raises(errors.IdKindError):
            index.get(0 if text else "a")
        with Index(path=path, read_only=read_only) as index:
            assert index.search(vectors[1], k=1)[0][0] == ("b" if text else 1)
    with Index(path=path) as index:
        with pytest.raises(errors.IdKindError):
            index.delete([0] if text else ["a"])
        with pytest.raises(errors.IdKindError):
            index.add(vectors[3], 5 if text else "d")
        assert len(index) == 3


def test_what_is_said_at_opening_must_be_so(path):
    Index(dimension=8, metric="l2", quantization=None, path=path).close()
    for given, match in [
        ({"dimension": 9}, "dimension is 9, but the file's is 8"),
        ({"metric": "ip"}, "metric is 'ip', but the file's is l2"),
        ({"quantization": "int8"}, "quantization is 'int8', but the file's is None"),
        ({"dimension": 8, "m": 17}, "m is 17, but the file's is 16"),
        ({"dtype": "f16"}, "dtype is 'f16', but the file's is f32"),
        ({"algorithm": "flat"}, r"algorithm is 'flat', but the file's is hnsw\+"),
        ({"ef_construction": 100}, "ef_construction is 100, but the file's is 200"),
    ]:
        with pytest.raises(errors.InvalidError, match=match):
            Index(path=path, **given)
    with Index(dimension=8, metric="l2", path=path, ef_search=100, quantization=None) as index:
        assert index.stats()["ef_search"] == 100 and index.quantization is None


def test_what_is_no_index_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(errors.InvalidError, match="not a directory"):
        Index(dimension=8, path=tmp_path / "file")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "letter.txt").write_text("mine")
    with pytest.raises(errors.OmenError, match=r"letter.txt|folder"):
        Index(dimension=8, path=folder)
    assert [entry.name for entry in folder.iterdir()] == ["letter.txt"]


def test_bytes_and_names_of_any_kind_are_paths(tmp_path):
    name = os.fsencode(tmp_path / "tegn \u00f8")
    Index(dimension=2, path=name).close()
    with Index(path=os.fsdecode(name)) as index:
        assert index.path == os.fsdecode(name)


def test_a_flipped_bit_is_found(path, vectors):
    with Index(dimension=8, path=path) as index:
        index.add(np.tile(vectors, (50, 1)))
        index.flush()
    data = path / "data.mdb"
    content, row = data.read_bytes(), vectors[77].tobytes()
    assert row in content
    data.write_bytes(content.replace(row, bytes([row[0] ^ 1]) + row[1:]))  # pages that are free now have it, too
    with Index(path=path) as index, pytest.raises(errors.CorruptError) as raised:
        index.verify()
    assert isinstance(raised.value, RuntimeError)


def test_a_newer_format_is_refused(path, vectors):
    xxhash = ctypes.util.find_library("xxhash")
    if xxhash is None:
        pytest.skip("no libxxhash to make the checksum of a newer file with")
    checksum = ctypes.CDLL(xxhash).XXH3_64bits
    checksum.restype, checksum.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
    Index(dimension=8, path=path).close()
    data = path / "data.mdb"
    content = bytearray(data.read_bytes())
    magic = content.index(b"OMENDB\r\n")  # behind {checksum 8, key 4, count 4}; then {format 4, format_min 4}
    (count,) = struct.unpack_from("<I", content, magic - 4)
    struct.pack_into("<II", content, magic + 8, 77, 66)
    own = checksum(bytes(content[magic : magic + count]), count)
    head = struct.pack("<Q", own) + content[magic - 8 : magic]
    struct.pack_into("<Q", content, magic - 16, checksum(head, 16))
    data.write_bytes(content)
    with pytest.raises(errors.VersionError, match="format 77, which needs a reader of 66"):
        Index(path=path)


def test_a_short_file_is_refused(path, vectors):
    with Index(dimension=8, path=path) as index:
        index.add(vectors)
        index.flush()
    data = path / "data.mdb"
    data.write_bytes(data.read_bytes()[: 3 * mmap.PAGESIZE])  # LMDB's two heads and one page
    with pytest.raises(errors.CorruptError, match="index"):
        Index(path=path)


# ---- copies ----


@pytest.mark.parametrize("durable", [False, True])
def test_a_copy_is_an_index_of_its_own(tmp_path, vectors, durable):
    with Index(dimension=8, metric="l2", path=tmp_path / "one" if durable else None) as index:
        index.add(vectors, payloads=[{"n": i} for i in range(200)])
        index.copy(tmp_path / "two")
        index.delete(range(100))
        with pytest.raises(errors.ExistsError, match="two"):
            index.copy(tmp_path / "two")
    with Index(path=tmp_path / "two") as copy:
        assert len(copy) == 200 and copy.get(7).payload == {"n": 7}
        assert copy.search(vectors[7], k=1, exact=True)[0] == (7, 0.0)
        copy.upsert(vectors[0], 0, if_version=copy.get(0).version)
        copy.verify()


# ---- versions ----


def test_a_version_is_that_of_the_last_write(path, vectors):
    with Index(dimension=8, path=path) as index:
        index.add(vectors[:3], ["a", "b", "c"], if_version=0)
        first = index.get("a").version
        assert [point.version for point in index.get(["b", "c"])] == [first, first] and first > 0
        index.upsert(vectors[3], "a", {"n": 1}, if_version=first)
        second = index.get("a").version
        index.set_payloads("a", {"n": 2}, if_version=second)
        third = index.get("a").version
        assert first < second < third
        assert {point.id: point.version for point in index.scroll()[0]} == {"a": third, "b": first, "c": first}
        for call in (
            lambda: index.upsert(vectors[4], "a", if_version=second),
            lambda: index.set_payloads("a", {}, if_version=second),
            lambda: index.add(vectors[4], "a", if_version=0),
            lambda: index.upsert(vectors[4:7], ["a", "b", "new"], if_version=[None, first, 5]),
            lambda: index.upsert(vectors[4:6], ["b", "a"], if_version=np.array([first, first])),
        ):
            with pytest.raises(errors.ConflictError, match=r"row [012]: id .* version"):
                call()
            assert len(index) == 3 and index.get("a").payload == {"n": 2} and index.get("a").version == third


def test_if_version_is_checked(path, vectors):
    with Index(dimension=8, path=path) as index:
        index.add(vectors[:2])
        for bad, error in [
            (-1, errors.InvalidError),
            (2**63, errors.InvalidError),
            ([0], errors.InvalidError),
            ([1, 2, 3], errors.InvalidError),
            (1.5, TypeError),
            (True, TypeError),
            ([1, "x"], TypeError),
            ("1", TypeError),
        ]:
            with pytest.raises(error, match="if_version"):
                index.upsert(vectors[:2], [0, 1], if_version=bad)
        index.upsert(vectors[:2], [0, 1], if_version=[None, None])
        index.upsert(vectors[:2], [0, 1], if_version=np.uint8(index.get(0).version))


def test_in_memory_points_have_no_versions(index, vectors):
    assert index.get(0).version is None
    with pytest.raises(errors.UnsupportedError, match="in memory"):
        index.upsert(vectors[0], 0, if_version=1)


def test_threads_that_read_and_write_back_lose_nothing(path):
    with Index(dimension=2, metric="l2", path=path, durability="interval") as index:
        index.add([1.0, 0.0], 0, {"n": 0})

        def work() -> None:
            for _ in range(25):
                while True:
                    point = index.get(0, with_vector=False)
                    try:
                        index.upsert([1.0, 0.0], 0, {"n": point.payload["n"] + 1}, if_version=point.version)
                        break
                    except errors.ConflictError:
                        pass

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert index.get(0).payload == {"n": 100}


# ---- other processes ----


def test_a_second_writer_is_refused_and_readers_are_not(path, vectors):
    with Index(dimension=8, path=path) as index:
        index.add(vectors)
        with pytest.raises(errors.LockedError, match="index") as raised:
            Index(path=path)
        assert isinstance(raised.value, RuntimeError)
        code = """
            try:
                Index(path=path)
            except errors.LockedError:
                print("locked")
            with Index(path=path, read_only=True) as index:
                print(len(index), index.search(np.ones(8, np.float32), k=3).ids.size)
        """
        assert run(code, path).split() == ["locked", "200", "3"]
        with pytest.raises(errors.ConflictError):
            index.upsert(vectors[0], 0, if_version=99)


def test_a_reader_sees_what_was_acknowledged(path, vectors):
    with Index(dimension=8, metric="l2", path=path) as index:
        reader = start(
            """
            index = Index(path=path, read_only=True)
            try:
                index.add(np.ones(8, np.float32))
            except errors.ReadOnlyError:
                print("read only", flush=True)
            for line in sys.stdin:
                i = int(line)
                point = index.get(i)
                print(len(index), point.payload["n"], point.version, index.count(f"n == {i}"), flush=True)
            """,
            path,
        )
        assert reader.stdout.readline() == "read only\n"
        for i in range(30):
            index.add(vectors[i], i, {"n": i})
            if i % 10 == 7:
                index.flush()
            if i % 10 == 9:
                index.compact()
            reader.stdin.write(f"{i}\n")
            reader.stdin.flush()
            assert reader.stdout.readline().split() == [str(n) for n in (i + 1, i, index.get(i).version, 1)]
        reader.stdin.close()
        assert reader.wait(timeout=60) == 0
        reader.stdout.close()


def test_a_reader_that_was_there_first_learns_the_kind_of_ids(path, vectors):
    with Index(dimension=8, path=path) as index:
        reader = start(
            """
            index = Index(path=path, read_only=True)
            print("a" in index, 0 in index, flush=True)
            sys.stdin.readline()
            print("a" in index, 0 in index, flush=True)
            """,
            path,
        )
        assert reader.stdout.readline() == "False False\n"
        index.add(vectors[:1], ["a"])
        assert reader.communicate("go\n", timeout=60)[0] == "True False\n"
        assert reader.returncode == 0


def test_kill_9_loses_nothing_that_was_acknowledged(path):
    acknowledged = 0
    for life in range(3):
        writer = start(
            """
            index = Index(dimension=4, metric="l2", path=path)
            first = int(sys.argv[2])
            for i in range(first, 100_000):
                index.add(np.full((2, 4), i, np.float32), [2 * i, 2 * i + 1], [{"n": i}, {"n": i}])
                if i % 40 == 39:
                    index.flush()
                print(i, flush=True)
            """,
            path,
            acknowledged,
        )
        for _ in range(60 + 7 * life):
            acknowledged = int(writer.stdout.readline()) + 1
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().splitlines(keepends=True)
        acknowledged += len([line for line in rest if line.endswith("\n")])
        writer.stdout.close()
        writer.stdin.close()
        assert writer.wait(timeout=60) == -signal.SIGKILL
        with Index(path=path) as index:
            assert len(index) in (2 * acknowledged, 2 * acknowledged + 2)  # a whole batch, or none of it
            acknowledged = len(index) // 2
            assert all(point is not None for point in index.get(range(2 * acknowledged)))
            index.verify()


def test_an_interval_is_found_at_once_and_kept_by_flush(path):
    writer = start(
        """
        import os, signal
        index = Index(dimension=2, path=path, durability="interval", interval_ms=3_600_000)
        index.add([1.0, 2.0], 1)
        index.flush()
        index.add([1.0, 2.0], 2)
        print(len(index), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        path,
    )
    out, _ = writer.communicate(timeout=60)
    assert (out, writer.returncode) == ("2\n", -signal.SIGKILL)
    with Index(path=path) as index:
        assert 1 in index and 2 not in index
