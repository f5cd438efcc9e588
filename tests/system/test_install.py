"""tests/system/test_install.py -- what `make install` leaves is what a user's build finds.

usage: python3 tests/system/test_install.py BUILD COMPILER

Installs into a folder of its own, then builds a user's program against it by pkg-config and by find_package, and
looks at what the library exports: every call of the header, with a version, and nothing else.
"""
from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = pathlib.Path(sys.argv[1]).resolve()
COMPILER = sys.argv[2]

PROGRAM = """
#include <omendb.h>
#include <stdio.h>
int main(void)
{
    omen_index_t index = omen_create(2);
    const float vector[2] = {1.0f, 2.0f};
    omen_batch batch = OMEN_BATCH_INIT;
    int results[10];
    batch.count = 1;
    batch.vectors = vector;
    if (index == NULL || omen_add(index, &batch) != OMEN_OK)
        return 1;
    omen_search(index, vector, results);
    omen_close(index);
    printf("%s %d %d\\n", omen_version(), results[0], results[1]);
    return 0;
}
"""
PROJECT = """
cmake_minimum_required(VERSION 3.24)
project(user LANGUAGES C)
find_package(omendb 0.1 REQUIRED)
add_executable(user user.c)
target_link_libraries(user PRIVATE omendb::omendb)
"""
EXPECTED = "0.1.0 0 -1\n"

CLIENT = """
#include <omen_client.h>
#include <stdio.h>
int main(void)
{
    omen_client_options options = OMEN_CLIENT_OPTIONS_INIT;
    omen_client_t client;
    options.endpoints = "127.0.0.1:1";
    if (omen_client_open(&options, &client) != OMEN_CLIENT_E_UNREACHABLE)
        return 1;
    omen_client_close(client);
    printf("%s\\n", omen_client_version());
    return 0;
}
"""
CLIENT_PROJECT = PROJECT.replace("user.c", "client.c").replace("omendb::omendb", "omendb::omenclient")


def run(*command: str | os.PathLike[str], **extra: str) -> str:
    done = subprocess.run(command, env=os.environ | extra, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


class TestInstall(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = pathlib.Path(tempfile.mkdtemp())
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.prefix = cls.folder / "prefix"
        run("cmake", "--install", BUILD, "--prefix", cls.prefix)
        (cls.folder / "user.c").write_text(PROGRAM)
        (cls.folder / "CMakeLists.txt").write_text(PROJECT)

    def find(self, pattern: str) -> pathlib.Path:
        found = sorted(self.prefix.rglob(pattern))
        self.assertTrue(found, f"{pattern} was not installed")
        return found[0]

    def test_pkg_config_builds_a_program_that_runs(self) -> None:
        package = self.find("omendb.pc").parent
        flags = run("pkg-config", "--cflags", "--libs", "omendb", PKG_CONFIG_PATH=str(package))
        program = self.folder / "by_pkg_config"
        run(COMPILER, self.folder / "user.c", "-o", program, *flags.split())
        self.assertEqual(run(program, LD_LIBRARY_PATH=str(self.find("libomendb.so").parent)), EXPECTED)

    def test_find_package_builds_a_program_that_runs(self) -> None:
        build = self.folder / "build"
        run("cmake", "-S", self.folder, "-B", build, f"-DCMAKE_PREFIX_PATH={self.prefix}",
            f"-DCMAKE_C_COMPILER={COMPILER}")
        run("cmake", "--build", build)
        self.assertEqual(run(build / "user"), EXPECTED)

    def test_a_program_of_the_client_builds_in_both_ways_and_needs_nothing_but_libc(self) -> None:
        folder = self.folder / "client"
        folder.mkdir()
        (folder / "client.c").write_text(CLIENT)
        (folder / "CMakeLists.txt").write_text(CLIENT_PROJECT)
        flags = run("pkg-config", "--cflags", "--libs", "omenclient", PKG_CONFIG_PATH=str(self.find("omenclient.pc").parent))
        run(COMPILER, folder / "client.c", "-o", folder / "client", *flags.split())
        self.assertEqual(run(folder / "client", LD_LIBRARY_PATH=str(self.find("libomenclient.so").parent)), "0.1.0\n")
        run("cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={self.prefix}",
            f"-DCMAKE_C_COMPILER={COMPILER}")
        run("cmake", "--build", folder / "build")
        self.assertEqual(run(folder / "build" / "user"), "0.1.0\n")
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", self.find("libomenclient.so.0")))
        self.assertEqual([name for name in needed if not name.startswith("ld-linux")], ["libc.so.6"])

    def test_every_call_of_the_headers_is_exported_with_a_version_and_nothing_else_is(self) -> None:
        for library, header, version, least in (("libomendb.so", "omendb.h", "OMENDB_0.1", 30),
                                                ("libomenclient.so", "omen_client.h", "OMENCLIENT_0.1", 25)):
            listed = run("nm", "-D", "--defined-only", self.find(library)).splitlines()
            symbols = {line.split()[2] for line in listed if line.split()[1] != "A"}
            text = re.sub(r"/\*.*?\*/", "", self.find(header).read_text(), flags=re.DOTALL)
            calls = set(re.findall(r"\b(omen_\w+)\(", text))
            self.assertGreater(len(calls), least)
            self.assertEqual(symbols, {f"{call}@@{version}" for call in calls})

    def test_omenctl_and_its_manual_are_installed(self) -> None:
        self.assertEqual(run(self.find("bin/omenctl"), "version"), f"omenctl {EXPECTED.split()[0]}\n")
        self.assertIn(".TH OMENCTL 1", self.find("man/man1/omenctl.1").read_text())

    def test_omend_its_unit_and_a_configuration_are_installed(self) -> None:
        self.assertEqual(run(self.find("bin/omend"), "--version"), f"omend {EXPECTED.split()[0]}\n")
        self.assertIn("ExecStart=omend --config", self.find("systemd/system/omend.service").read_text())
        self.assertIn("data: /var/lib/omendb", self.find("share/omendb/omend.yaml").read_text())

    def test_systemd_understands_every_line_of_the_unit(self) -> None:
        if shutil.which("systemd-analyze") is None:
            self.assertFalse(os.environ.get("OMENDB_REQUIRE_SYSTEMD"), "OMENDB_REQUIRE_SYSTEMD is set: there is no systemd-analyze")
            self.skipTest("no systemd-analyze")
        unit = self.folder / "omend.service"
        # Where systemd looks for a program without a path depends on the machine, and its manual's page is not installed there.
        text = self.find("systemd/system/omend.service").read_text().replace("=omend ", f"={self.find('bin/omend')} ")

        def complaints(of: str) -> list[str]:
            """What it passes over is said, and is no failure."""
            unit.write_text(of)
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
            said = [line for line in (done.stdout + done.stderr).splitlines() if "omend" in line]
            return said or [f"it ended with {done.returncode}"] * (done.returncode != 0)

        self.assertEqual(complaints(text), [])
        self.assertIn("Unknown key", "".join(complaints(text.replace("ProtectHome=", "ProtectHouse="))))
        self.assertIn("not executable", "".join(complaints(text.replace("bin/omend ", "bin/omendd "))))

    def test_library_knows_its_name_and_no_folder_of_the_build(self) -> None:
        for library in ("libomendb.so.0", "libomenclient.so.0"):
            dynamic = run("readelf", "-d", self.find(library))
            self.assertIn(f"[{library}]", dynamic)
            self.assertNotRegex(dynamic, "RPATH|RUNPATH")

    def test_pkg_config_names_lmdb_for_static_links_only(self) -> None:
        package = str(self.find("omendb.pc").parent)
        self.assertNotIn("lmdb", run("pkg-config", "--libs", "omendb", PKG_CONFIG_PATH=package))
        self.assertIn("-llmdb", run("pkg-config", "--libs", "--static", "omendb", PKG_CONFIG_PATH=package))

    @unittest.skipUnless(shutil.which("dpkg-shlibdeps"), "no dpkg-dev")
    def test_package_depends_on_the_packages_of_the_libraries_that_it_needs(self) -> None:
        folder = self.folder / "package"
        run("cpack", "--config", BUILD / "CPackConfig.cmake", "-B", folder, "-D", f"CPACK_PACKAGE_DIRECTORY={folder}")
        (package,) = folder.glob("*.deb")
        depends = run("dpkg-deb", "-f", package, "Depends")
        needed = re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", self.find("libomendb.so.0")))
        packages = {"libc.so.6": "libc6", "libm.so.6": "libc6", "liblmdb.so.0": "liblmdb0"}
        for library in needed:
            if not library.startswith("ld-linux"):
                self.assertRegex(depends, rf"\b{packages[library]}\b")

    def test_headers_are_good_for_older_c_and_for_cpp(self) -> None:
        strict = ("-pedantic", "-Wall", "-Wextra", "-Werror", "-fsyntax-only")
        cpp = next((name for name in ("g++", "clang++-14", "clang-14") if shutil.which(name)), None)
        for header in (self.find("omendb.h"), self.find("omen_client.h")):
            for standard in ("c99", "c11", "c17"):
                run(COMPILER, f"-std={standard}", *strict, "-x", "c", header)
            if cpp is not None:
                run(cpp, "-std=c++17", *strict, "-x", "c++", header)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
