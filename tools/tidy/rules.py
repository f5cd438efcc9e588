"""tools/tidy/rules.py -- what a tool can check about our sources, one function a rule.

Each rule takes a Source and yields (line number, message); rules see text and paths only, so that a test can give
them a bad example without a compiler or a checkout. Why the rules are what they are is in docs/STYLE.md and
docs/ARCHITECTURE.md; the tables here repeat the latter's and are the copy that is enforced.
"""
from __future__ import annotations

import ast
import dataclasses
import functools
import pathlib
import re
from collections.abc import Iterator

FILE_LINES_MAX = 1000
FUNCTION_LINES_MAX = 70

ENGINES = ("index", "raft", "gossip", "replica", "cluster", "storage")
# folder -> what it may include besides itself. A pattern with a dot names files instead of a folder.
ARROWS = {
    "base": (),
    **{engine: ("base",) for engine in ENGINES},
    "gpu": ("base", "index"),
    "shard": ("base", "index", "storage", "gpu/device.h", "gpu/build.h", "gpu/maker.h", "gpu/mirror.h", "include", "omendb.h"),
    "wire": ("base", *(f"{engine}/{engine}_msg.h" for engine in ENGINES)),
    "router": ("base", "cluster", "wire"),
    "node": ("base", *ENGINES, "shard", "wire", "router", "include", "omendb.h"),
    "clients/c": ("base", "wire", "include"),
    "clients/python": ("omendb.h",),
    "include": ("omendb.h",),
    "examples": (),
}
FREE_FOLDERS = ("tests", "bench", "tools")  # may include everything

# header -> the files (or folders, ending in a slash) that may include it. Tests, bench and tools may, too.
HOMES = {
    r"xxhash\.h": ("base/hash.c",),
    r"pthread\.h": ("base/os_", "base/pool_os.c"),
    r"(immintrin|x86intrin|nmmintrin|cpuid|arm_neon)\.h": ("index/kernel/",),
    r"roaring/.*": ("shard/",),
    r"lmdb\.h": ("storage/kv_lmdb",),
    r"zstd\.h": ("storage/",),
    r"cuda.*|cub/.*": ("gpu/",),
    r"nng/.*": (
        "wire/stream_nng.c", "wire/stream_in_nng.c", "wire/stream_out_nng.c", "wire/stream_nng_int.h", "wire/streams_nng.c",
    ),
    r"msgpack(\.h|/.*)": ("wire/encode.c",),
    r"sodium\.h": ("wire/seal.c",),
    r"microhttpd\.h": ("node/http.c",),
    r"yaml\.h": ("node/config_file.c",),
    r"Python\.h|structmember\.h|pythread\.h": ("clients/python/",),
    r"check\.h": ("tests/",),
    r"omendb\.h": ("examples/", "clients/"),
}
SYSTEM = re.compile(
    r"(assert|complex|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp|signal|stdalign|stdarg"
    r"|stdatomic|stdbool|stddef|stdint|stdio|stdlib|stdnoreturn|string|tgmath|threads|time|uchar|wchar|wctype"
    r"|dirent|dlfcn|fcntl|ftw|getopt|glob|netdb|poll|sched|strings|syslog|termios|unistd|malloc"
    r"|(sys|linux|netinet|arpa|net|asm)/.*)\.h")

OURS = ("base/", "shard/", "gpu/", "wire/", "router/", "node/", *(f"{engine}/" for engine in ENGINES))
BANNED = {
    "strcpy": "text_add or memcpy with a length",
    "strcat": "text_add",
    "sprintf": "text_add or snprintf",
    "vsprintf": "text_add_list or vsnprintf",
    "gets": "fgets",
    "strtok": "a scan of your own",
    "atoi": "strtol and a check",
    "atol": "strtol and a check",
    "atof": "strtod and a check",
    "rand": "prng_next",
    "srand": "prng_init",
    "random": "prng_next",
    "drand48": "prng_unit",
    "time": "os_clock_ns, in a shell",
    "gettimeofday": "os_clock_ns, in a shell",
    "sleep": "waiting for what you wait for",
    "usleep": "waiting for what you wait for",
    "nanosleep": "waiting for what you wait for",
}
BANNED_IN_OURS = {"assert": "ASSERT", "malloc": "mem_alloc", "calloc": "mem_alloc_zero", "realloc": "mem_resize", "free": "mem_free",
                  "aligned_alloc": "mem_alloc_aligned", "posix_memalign": "mem_alloc_aligned", "strdup": "mem_alloc",
                  "mmap": "pages_alloc"}
HEAP_HOME = "base/alloc.c"
MAP_HOME = "storage/kv_lmdb_map.c"  # of files

SHAPES = ("value", "kernel", "machine", "handle", "shell")
Finding = tuple[int, str]


@dataclasses.dataclass(frozen=True)
class Source:
    path: str  # from the root, with slashes
    text: str

    @functools.cached_property
    def lines(self) -> list[str]:
        return self.text.splitlines()

    @functools.cached_property
    def bare_lines(self) -> list[str]:
        """The lines without comments and without what is inside literals; C only."""
        return strip_c(self.text).splitlines()

    @property
    def suffix(self) -> str:
        return pathlib.PurePosixPath(self.path).suffix

    @property
    def is_c(self) -> bool:
        return self.suffix in (".c", ".h", ".cu")

    @property
    def is_ours(self) -> bool:
        """Part of the product, so that every rule holds."""
        return self.path.startswith(OURS)


C_TOKEN = re.compile(
    r"""//(?:[^\n\\]|\\.)*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'""", re.DOTALL)


def strip_c(text: str) -> str:
    def replacement(match: re.Match[str]) -> str:
        token = match.group()
        newlines = "\n" * token.count("\n")
        return token[0] + token[-1] + newlines if token[0] in "\"'" else " " + newlines

    return C_TOKEN.sub(replacement, text)


# ---- the rules ----


def folder_of(path: str) -> str | None:
    folders = sorted((*ARROWS, *FREE_FOLDERS), key=len, reverse=True)
    return next((folder for folder in folders if path.startswith(folder + "/")), None)


def includes(source: Source) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(source.lines, 1):
        if match := re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line):
            yield number, match.group(1), match.group(2)


def rule_arrows(source: Source) -> Iterator[Finding]:
    """An include between folders points down, as ARCHITECTURE's table allows."""
    folder = folder_of(source.path)
    if not source.is_c or folder in FREE_FOLDERS:
        return
    if folder is None:
        yield 1, "a C file in a folder that ARCHITECTURE's table does not have"
        return
    for number, quote, name in includes(source):
        if quote != '"':
            continue
        if name in ARROWS[folder]:
            continue
        parent = str(pathlib.PurePosixPath(source.path).parent)
        if folder.startswith("clients/") and "/" not in name:
            continue  # a client is a program of its own and has its own root
        if "/" not in name:
            yield number, f'"{name}": includes start at the root ("{parent}/{name}")'
            continue
        other = folder_of(name) or name.split("/")[0]
        if other == folder:
            continue
        if other not in ARROWS[folder]:
            allowed = ", ".join(ARROWS[folder]) or "nothing"
            yield number, f'"{name}": {folder} may include {allowed} besides itself'
        elif name.endswith("_int.h"):
            yield number, f'"{name}": private to {other}'


def rule_homes(source: Source) -> Iterator[Finding]:
    """A third-party header is included where its home is, and nowhere else."""
    if not source.is_c or source.path.startswith(tuple(f"{folder}/" for folder in FREE_FOLDERS)):
        return
    for number, quote, name in includes(source):
        if quote != "<":
            continue
        homes = next((files for pattern, files in HOMES.items() if re.fullmatch(pattern, name)), None)
        if homes is None and not SYSTEM.fullmatch(name):
            yield number, f"<{name}>: a library that has no home yet (tools/tidy/rules.py, HOMES)"
        elif homes is not None and not source.path.startswith(homes):
            yield number, f"<{name}>: its home is {' '.join(homes)}"


CALL = re.compile(r"(?<![\w.>])(\w+)\s*\(")


def rule_banned_calls(source: Source) -> Iterator[Finding]:
    """No call that is unsafe, not reproducible, or goes around base/alloc."""
    if not source.is_c:
        return
    for number, line in enumerate(source.bare_lines, 1):
        for name in CALL.findall(line):
            if name in BANNED:
                yield number, f"{name}() is banned: use {BANNED[name]}"
            elif name == "mmap" and source.path == MAP_HOME:
                continue
            elif name in BANNED_IN_OURS and source.is_ours and source.path != HEAP_HOME:
                yield number, f"{name}() is banned in the product: use {BANNED_IN_OURS[name]}"


def rule_lengths(source: Source) -> Iterator[Finding]:
    """Files and functions that a reader can hold in mind."""
    if source.suffix not in (".c", ".h", ".cu", ".py", ".sh"):
        return
    if len(source.lines) > FILE_LINES_MAX:
        yield FILE_LINES_MAX, f"the file has {len(source.lines)} lines; {FILE_LINES_MAX} are the most"
    functions = c_functions(source) if source.is_c else python_functions(source) if source.suffix == ".py" else ()
    for number, name, length in functions:
        if length > FUNCTION_LINES_MAX:
            yield number, f"{name} has {length} lines; {FUNCTION_LINES_MAX} are the most"


def c_functions(source: Source) -> Iterator[tuple[int, str, int]]:
    """Our layout makes it easy: a function's braces, and only they, stand alone in the first column."""
    head = start = 0
    for number, line in enumerate(source.bare_lines, 1):
        if start == 0 and re.match(r"\w.*\(", line):
            head = number
        if line.rstrip() == "{":
            start = head or number
        elif start and line.startswith("}"):
            named = re.search(r"(\w+)\s*\(", source.bare_lines[start - 1])
            yield start, named.group(1) if named else "a function", number - start + 1
            head = start = 0


def python_functions(source: Source) -> Iterator[tuple[int, str, int]]:
    for node in ast.walk(ast.parse(source.text, source.path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.lineno, node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def rule_first_comment(source: Source) -> Iterator[Finding]:
    """A C file begins with its path and its idea, and says which of the five shapes it has."""
    if not source.is_c or source.path.startswith("include/"):
        return
    comment = re.match(r"(?://.*\n)+|/\*.*?\*/", source.text, re.DOTALL if source.text.startswith("/*") else 0)
    text = comment.group() if comment else ""
    # An example is read by itself, in somebody else's project: there its name is enough.
    name = source.path.removeprefix("examples/")
    if not re.match(rf"(//|/\*) {re.escape(name)} -- \S", text):
        yield 1, f'the first comment begins "// {name} -- " and the idea'
    shape = re.search(r"Shape:\s*(\w+)", text)
    if source.is_ours and (shape is None or shape.group(1) not in SHAPES):
        yield 1, f'the first comment has a line "Shape:" and one of {", ".join(SHAPES)}'


UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK)\b(?!\W{0,2}#\d+)")


def rule_unfinished(source: Source) -> Iterator[Finding]:
    """What is left to do has an issue's number."""
    if source.path.startswith(("tools/tidy/", "tests/script/etcd/")) or source.suffix == ".md":
        return  # the second: data files of others, copied as they are
    for number, line in enumerate(source.lines, 1):
        if match := UNFINISHED.search(line):
            yield number, f"{match.group()} without an issue's number (#12)"


MACHINE_PATH = re.compile(r"(?<![\w.])/(?:root|home/\w+|Users/\w+)(?=/|\b)")


def rule_machine_paths(source: Source) -> Iterator[Finding]:
    """Nothing in the repository knows on whose machine it lies."""
    if source.path.startswith("tools/tidy/"):
        return
    for number, line in enumerate(source.lines, 1):
        if match := MACHINE_PATH.search(line):
            yield number, f"a path of somebody's machine: {match.group()}"


def rule_white_space(source: Source) -> Iterator[Finding]:
    """No tabs in C and Python, no blanks at line ends, one newline at the end."""
    for number, line in enumerate(source.lines, 1):
        if line != line.rstrip():
            yield number, "blanks at the end of the line"
        if "\t" in line and source.suffix in (".c", ".h", ".py"):
            yield number, "a tab"
    if source.text and (not source.text.endswith("\n") or source.text.endswith("\n\n")):
        yield len(source.lines), "the file ends in one newline"


RULES = (rule_arrows, rule_homes, rule_banned_calls, rule_lengths, rule_first_comment, rule_unfinished,
         rule_machine_paths, rule_white_space)


def check(source: Source) -> list[str]:
    return [f"{source.path}:{number}: {message}" for rule in RULES for number, message in rule(source)]
