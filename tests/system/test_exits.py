"""tests/system/test_exits.py -- how omend ends, by the codes of docs/OPERATING.md that can be brought about from outside.

usage: test_exits.py PATH_OF_OMEND [unittest options]

Elsewhere: 74 (test_disks.py), 70 (test_versions.py), and more of 65, 69 and 78 (test_omend.py).
"""
from __future__ import annotations

import pathlib
import shutil
import signal
import subprocess
import sys
import unittest

from node_case import NodeCase
from omend_node import Node

DONE, BAD_OPTION, BAD_DATA, NO_ADDRESS, NO_SYSTEM, NO_FOLDER, SUPERSEDED, BAD_CONFIG = 0, 64, 65, 69, 71, 73, 75, 78
ANY = ("--listen", "127.0.0.1:0", "--peer", "127.0.0.1:0")
TOO_LITTLE = 1_000_000_000  # bytes of addresses: less than the log of a node maps, and more than all that libraries take, which may not bear the lack


class Exits(NodeCase):
    def said(self, *options: str, code: int, environment: dict[str, str] | None = None, within: tuple[str, ...] = ()) -> str:
        """In one line, of a process that ends by itself with this code."""
        done = subprocess.run([*within, self.program, *options], capture_output=True, text=True, env=environment or {}, check=False, timeout=60)
        self.assertEqual(done.returncode, code, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        return done.stderr

    def data(self, name: str) -> tuple[str, str]:
        return "--data", str(self.folder / name)

    def test_what_is_wrong_in_an_option_a_variable_or_a_file_is_named(self) -> None:
        file = self.folder / "omend.yaml"
        file.write_text("name: a\nweight: 0\n")
        self.assertIn('--weight: "0" is no number', self.said(*self.data("a"), "--weight", "0", code=BAD_OPTION))
        self.assertIn('OMEN_WEIGHT: "0" is no number', self.said(*self.data("a"), environment={"OMEN_WEIGHT": "0"}, code=BAD_CONFIG))
        self.assertIn(f'{file}:2: weight: "0" is no number', self.said(*self.data("a"), "--config", str(file), code=BAD_CONFIG))
        self.assertFalse((self.folder / "a").exists())

    def test_an_address_that_another_program_has_is_no_address(self) -> None:
        first = self.made("a")
        first.start()
        self.assertIn("listen: ", self.said(*self.data("b"), "--listen", first.listen, "--peer", "127.0.0.1:0", code=NO_ADDRESS))

    def test_a_node_without_memory_for_its_log_says_so(self) -> None:
        self.said(*self.data("a"), *ANY, within=("prlimit", f"--as={TOO_LITTLE}"), code=NO_SYSTEM)
        node = self.made("a")
        self.assertEqual(node.start()["how"], "founded")  # what the first start left is in nobody's way

    def test_a_node_without_threads_says_so_however_many_it_has(self) -> None:
        """Of a user who has no others, and whose limit counts: root's does not."""
        limited = ("setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "prlimit")
        if subprocess.run([*limited, "--nproc=1000", "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("no other user can be had here")
        self.folder.chmod(0o777)  # noqa: S103
        program = self.folder / "omend"
        shutil.copy(self.program, program)
        self.program = str(program)  # where the other user can get at it
        for threads in range(1, 23):
            with self.subTest(threads):
                done = subprocess.run([*limited, f"--nproc={threads}", self.program, *self.data("a"), *ANY],
                                      capture_output=True, text=True, env={}, check=False, timeout=60)
                self.assertEqual(done.returncode, NO_SYSTEM, done.stderr)
                self.assertIn(f"event=node.refused exit={NO_SYSTEM} why=", done.stderr.splitlines()[-1])
        node = self.made("a")
        shutil.rmtree(node.data, ignore_errors=True)
        self.assertEqual(node.start()["how"], "founded")

    def test_a_folder_that_cannot_be_made_or_that_another_process_has_is_no_folder(self) -> None:
        (self.folder / "file").touch()
        self.assertIn("cannot be made: No such file", self.said(*self.data("nowhere/a"), *ANY, code=NO_FOLDER))
        self.assertIn("cannot be made: Not a directory", self.said(*self.data("file"), *ANY, code=NO_FOLDER))
        self.made("a").start()
        self.said(*self.data("a"), *ANY, code=NO_FOLDER)

    def test_a_damaged_log_is_bad_data(self) -> None:
        node = self.made("a")
        node.start()
        node.stop()
        log = node.data / "log" / "data.mdb"
        for damaged in (b"\xa5" * 8192 + log.read_bytes()[8192:], b"\xa5" * 100):
            log.write_bytes(damaged)
            self.assertIn("damaged", self.said("--data", str(node.data), *ANY, code=BAD_DATA))
            self.assertEqual(log.read_bytes(), damaged)

    def test_a_process_whose_place_a_newer_one_of_its_node_took_meanwhile_ends(self) -> None:
        """As a virtual machine does that was stopped, copied, started elsewhere, and then goes on."""
        a, b, c = (self.made(name) for name in "abc")
        a.start()
        for node in (b, c):
            node.start("--join", a.peer)
        for node in (a, b, c):
            node.stands_at("meta.nodes", nodes="3", up="3", voters="3")
        c.signal(signal.SIGSTOP)
        newer = Node(self.program, self.folder, "newer")
        self.nodes.append(newer)
        shutil.copytree(c.data, newer.data)
        try:
            self.assertEqual(newer.start()["node"], c.node)
        finally:
            c.signal(signal.SIGCONT)
        self.assertEqual(c.wait(), SUPERSEDED)
        self.assertEqual(c.lines[-1]["event"], "node.superseded")
        newer.stands_at("meta.lease", boot=newer.lines[0].get("boot", "2"))
        self.assertTrue(newer.runs())

    def test_who_is_told_to_end_or_only_asked_something_is_done(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            node = self.made(number.name)
            node.start()
            node.signal(number)
            self.assertEqual(node.wait(), DONE)
        for option in ("--help", "--version"):
            done = subprocess.run([self.program, option], capture_output=True, text=True, env={}, check=False, timeout=60)
            self.assertEqual((done.returncode, done.stderr), (DONE, ""))
            self.assertIn("omend", done.stdout)

    def test_every_code_is_in_the_manual(self) -> None:
        manual = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "OPERATING.md").read_text()
        for code in (DONE, BAD_OPTION, BAD_DATA, NO_ADDRESS, NO_SYSTEM, NO_FOLDER, SUPERSEDED, BAD_CONFIG):
            self.assertIn(f"\n| {code} | ", manual)


if __name__ == "__main__":
    NodeCase.program = sys.argv.pop(1)
    unittest.main()
