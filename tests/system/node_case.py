"""tests/system/node_case.py -- a test with nodes of its own, which are in its folder and end with it."""
from __future__ import annotations

import pathlib
import tempfile
import unittest

from omend_node import Node


class NodeCase(unittest.TestCase):
    program = ""  # omend; a module's main() says which

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory(prefix="omendb-test-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.nodes: list[Node] = []
        self.addCleanup(self._end)

    def _end(self) -> None:
        for node in self.nodes:
            if node.runs():
                node.kill()

    def made(self, name: str) -> Node:
        """One that is not started yet."""
        node = Node(self.program, self.folder, name)
        self.nodes.append(node)
        return node
