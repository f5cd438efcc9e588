"""The package around the module: what it exports, says about itself, and promises to type checkers."""

from __future__ import annotations

import ast
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import omendb
from omendb import Hits, Index

STUB = ast.parse((Path(omendb.__file__).parent / "_core.pyi").read_text())


def test_versions_agree():
    import importlib.metadata

    try:
        installed = importlib.metadata.version("omendb")
    except importlib.metadata.PackageNotFoundError:
        installed = omendb.__version__  # run from a build tree
    assert omendb.__version__ == installed == "0.1.0"


def test_python_m_says_version_and_kernel():
    run = subprocess.run([sys.executable, "-m", "omendb"], capture_output=True, text=True, check=True, timeout=60)
    assert run.stdout == f"omendb {omendb.__version__}, kernel {omendb.kernel()}\n"
    assert omendb.kernel() in ("scalar", "avx2", "avx512", "neon")


def test_the_kernel_can_be_forced():
    run = subprocess.run(
        [sys.executable, "-m", "omendb"], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "OMEN_KERNEL": "scalar"},
    )  # fmt: skip
    assert "kernel scalar" in run.stdout


def test_everything_exported_is_there():
    assert sorted(omendb.__all__) == omendb.__all__
    for name in omendb.__all__:
        assert getattr(omendb, name) is not None


def test_the_package_is_typed():
    assert (Path(omendb.__file__).parent / "py.typed").exists()


LIBC = r"(linux-vdso|ld-linux.*|libc|libm|libpthread|libdl|librt)\.so\.\d+"


@pytest.fixture
def wheel() -> Path:
    """The folder of the installed package; libomendb lies in it unless the module came from a build tree."""
    folder = Path(omendb.__file__).parent
    if not (folder / "libomendb.so.0").exists():
        pytest.skip("the module was not installed from a wheel that brings the library")
    return folder


@pytest.mark.skipif(shutil.which("ldd") is None, reason="no ldd")
@pytest.mark.parametrize("library", ["_core.abi3.so", "libomendb.so.0", "liblmdb.so.0"])
def test_the_wheel_brings_every_library_but_libc(wheel, library):
    clean = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    run = subprocess.run(["ldd", wheel / library], capture_output=True, text=True, check=True, timeout=60, env=clean)
    needed = dict(re.findall(r"^\s*(\S+) => (.+?)(?: \(0x\w+\))?$", run.stdout, re.MULTILINE))
    ours = {name: path for name, path in needed.items() if not re.fullmatch(LIBC, name)}
    assert {Path(path).resolve().parent for path in ours.values()} <= {wheel.resolve()}, run.stdout
    assert set(ours) <= {"libomendb.so.0", "liblmdb.so.0"}


def test_the_process_loads_the_libraries_of_the_wheel(wheel):
    clean = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    code = "import omendb; print(open('/proc/self/maps').read())"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, env=clean, cwd="/"
    )
    loaded = set(re.findall(r"(/\S*/lib(?:omendb|lmdb)\.so\S*)", run.stdout))
    assert {Path(path).parent.resolve() for path in loaded} == {wheel.resolve()}


def test_the_licences_of_what_the_wheel_brings_are_in_it(wheel):
    import importlib.metadata

    found = {path.name: path.read_text() for path in importlib.metadata.files("omendb") if "licenses" in path.parts}
    assert "Apache License" in found["LICENSE"]
    assert "OpenLDAP Public License" in found["liblmdb.txt"]


def public(cls: type) -> set[str]:
    return {name for name in vars(cls) if not name.startswith("_")}


def stub_members(name: str) -> dict[str, ast.FunctionDef]:
    (found,) = [node for node in STUB.body if isinstance(node, ast.ClassDef) and node.name == name]
    return {node.name: node for node in found.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("cls", [Index, Hits])
def test_everything_is_documented_and_in_the_stubs(cls):
    assert public(cls) == {name for name in stub_members(cls.__name__) if not name.startswith("_")}
    for name in public(cls):
        assert inspect.getdoc(getattr(cls, name)), name


def without_annotations(function: ast.FunctionDef) -> list[tuple[str, object]]:
    arguments = [a.arg for a in function.args.args if a.arg != "self"]
    defaults = [ast.literal_eval(d) for d in function.args.defaults]
    given = [inspect.Parameter.empty] * (len(arguments) - len(defaults)) + defaults
    return list(zip(arguments, given, strict=True))


@pytest.mark.parametrize("name", sorted(n for n in public(Index) if callable(getattr(Index, n))))
def test_signatures_are_those_of_the_stubs(name):
    parameters = list(inspect.signature(getattr(Index, name)).parameters.values())[1:]
    assert [(p.name, p.default) for p in parameters] == without_annotations(stub_members("Index")[name])


def test_the_constructors_signature_is_that_of_the_stub():
    parameters = inspect.signature(Index).parameters.values()
    assert [(p.name, p.default) for p in parameters] == without_annotations(stub_members("Index")["__init__"])
