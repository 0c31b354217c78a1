"""
The rules of the house that no ready-made tool checks, as functions over a tree.

Each rule takes the root of a checkout and returns its complaints, one string
for each, empty when all is well. L{tests.test_house_rules} runs them over this
checkout and over small bad samples, so that no rule can go blind unnoticed.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

MAXIMUM_LINES = 499

#: Rooms that are Twisted through and through.
TWISTED_ROOMS = ("classic", "services", "node", "testing", "cli", "lab")

#: Elsewhere, the names of the files that may import Twisted or Autobahn.
TWISTED_FILES = frozenset(
    "client server service port endpoint endpoints streams connection dial policy hole_punch"
    " lifetime_client pair_client probe_client shared_port segment_port engine_driver control"
    " cluster directory tap".split()
)

#: What a file of bytes or rules has no business with.
OUTSIDE_WORLD = frozenset(
    "twisted autobahn treq txaio asyncio socket ssl select threading subprocess logging"
    " time random secrets uuid tempfile".split()
)

#: The file that keeps a foreign library in check: it mutes its logger, replaces two of its
#: classes thread by thread, and turns whatever it raises into the end of one connection.
GUARD = "network/quic/adapter.py"
GUARD_MAY_IMPORT = frozenset({"logging", "threading"})

#: Where the impure sources are named and handed down.
IMPURE_FILES = (
    "tap.py",
    "engine_driver.py",
    "node/embed.py",
    "node/clock.py",
    "classic/world.py",
)
IMPURE_ROOMS = ("cli",)

IMPURE = re.compile(
    r"(random|secrets|uuid)\b"
    r"|time\.((time|monotonic|perf_counter)(_ns)?|sleep|localtime)$"
    r"|os\.(urandom|getrandom)$"
    r"|datetime\.(datetime|date)\.(now|utcnow|today)$"
    r"|twisted\.internet\.reactor\b"
    r"|.*25519PrivateKey\.generate$"
)

FOLDERS = ("atmosphere", "twisted", "tests", "docs", "benchmarks", ".ci")
GENERATED = re.compile(r"__pycache__|_trial_temp|\.(hypothesis|mypy_cache|ruff_cache)$")

CASE_NAME = re.compile(r"# -\*- test-case-name: (tests(?:\.\w+)*) -\*-")
FOREIGN_WORDS = re.compile(
    r"\bshare[d]/|\bissues? (?:number )?#?\d+\b|(?<!PKCS )(?<![\w&#])#\d+\b", re.IGNORECASE
)


def source_files(root: Path, *folders: str) -> Iterator[Path]:
    """
    Walk over the Python files of some folders, in a stable order.

    @param root: the root of the checkout.
    @param folders: the folders below it; those that do not exist are empty.
    """
    for path in project_files(root, *folders):
        if path.suffix == ".py":
            yield path


def project_files(root: Path, *folders: str) -> Iterator[Path]:
    """
    Walk over all files of some folders but those that tools leave behind.

    @param root: the root of the checkout.
    @param folders: the folders below it.
    """
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            parts = path.relative_to(root).parts
            if path.is_file() and not any(GENERATED.search(part) for part in parts):
                yield path


def may_use_twisted(module: Path) -> bool:
    """
    Say whether a file belongs to the Twisted kind.

    @param module: its path relative to C{atmosphere/}.
    """
    return module.parts[0] in TWISTED_ROOMS or module.stem in TWISTED_FILES


def imported_names(tree: ast.AST, package: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    """
    Find what a module imports, relative imports made absolute.

    C{from a import b} counts as C{a.b}: whether C{b} is a module or a name in
    one makes no difference to any rule here.

    @param tree: the module.
    @param package: the parts of the package that it stands in.
    @return: line numbers and dotted names.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join((*above, *(node.module.split(".") if node.module else ())))
            for alias in node.names:
                yield node.lineno, f"{start}.{alias.name}"


def too_long(root: Path) -> list[str]:
    """
    Find files that should have been split.
    """
    found = []
    for path in source_files(root, "atmosphere", "twisted", "tests"):
        count = len(path.read_text().splitlines())
        if count > MAXIMUM_LINES:
            found.append(f"{path.relative_to(root)}: {count} lines, the most is {MAXIMUM_LINES}")
    return found


def twisted_in_wrong_place(root: Path) -> list[str]:
    """
    Find files of bytes or rules that reach for the outside world.

    They import neither Twisted, sockets, clocks nor threads, nor any file of
    ours that may: so they cannot come by one in a roundabout way either.
    """
    found = []
    house = root / "atmosphere"
    for path in source_files(root, "atmosphere"):
        module = path.relative_to(house)
        if may_use_twisted(module):
            continue
        package = path.relative_to(root).parent.parts
        for line, name in imported_names(ast.parse(path.read_text()), package):
            parts = name.split(".")
            is_excused = str(module) == GUARD and name in GUARD_MAY_IMPORT
            if parts[0] in OUTSIDE_WORLD and not is_excused:
                found.append(f"atmosphere/{module}:{line}: imports {name}")
            if parts[0] != "atmosphere" or path.name == "__init__.py":
                continue
            for end in range(len(parts), 1, -1):
                target = Path(*parts[1:end]).with_suffix(".py")
                if (house / target).is_file():
                    if may_use_twisted(target):
                        found.append(f"atmosphere/{module}:{line}: imports {name}")
                    break
    return found


def meanings(tree: ast.AST, package: tuple[str, ...]) -> dict[str, str]:
    """
    Map the names that a module's imports bind to the dotted names they stand for.

    @param tree: the module.
    @param package: the parts of the package that it stands in.
    """
    bound = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                first = alias.name.split(".")[0]
                bound[alias.asname or first] = alias.name if alias.asname else first
        elif isinstance(node, ast.ImportFrom):
            names = [alias.asname or alias.name for alias in node.names]
            bound |= dict(zip(names, [n for _, n in imported_names(node, package)], strict=True))
    return bound


def impure_sources(root: Path) -> list[str]:
    """
    Find files that fetch the time, randomness or the reactor for themselves.

    A simulation may use C{random.Random}, which is as pure as its seed.
    """
    found = []
    for path in source_files(root, "atmosphere"):
        module = path.relative_to(root / "atmosphere")
        if str(module) in IMPURE_FILES or module.parts[0] in IMPURE_ROOMS:
            continue
        tree = ast.parse(path.read_text())
        package = path.relative_to(root).parent.parts
        bound = meanings(tree, package)
        used = list(imported_names(tree, package))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                first, *rest = ast.unparse(node).split(".")
                used.append((node.lineno, ".".join([bound.get(first, ""), *rest])))
        for line, name in sorted(used):
            is_seeded = module.parts[0] == "testing" and name in ("random", "random.Random")
            if IMPURE.match(name) and not is_seeded:
                found.append(f"atmosphere/{module}:{line}: uses {name}")
    return found


def wrong_first_line(root: Path) -> list[str]:
    """
    Find modules whose first line does not name an existing test module.
    """
    found = []
    for path in source_files(root, "atmosphere"):
        if path.name == "__init__.py":
            continue
        name = path.relative_to(root)
        with path.open() as lines:
            match = CASE_NAME.fullmatch(lines.readline().rstrip())
        if match is None:
            found.append(f"{name}: its first line should name its tests")
            continue
        target = root.joinpath(*match[1].split("."))
        if not target.is_dir() and not target.with_suffix(".py").is_file():
            found.append(f"{name}: there is no {match[1]}")
    return found


def undocumented_tests(root: Path) -> list[str]:
    """
    Find test methods that do not say what they show.
    """
    found = []
    for path in source_files(root, "tests"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ClassDef):
                continue
            for item in node.body:
                if not isinstance(item, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    continue
                if item.name.startswith("test") and not ast.get_docstring(item):
                    name = f"{path.relative_to(root)}:{item.lineno}"
                    found.append(f"{name}: {node.name}.{item.name} has no docstring")
    return found


def silenced_errors(root: Path) -> list[str]:
    """
    Find handlers that catch everything and neither log it nor raise.
    """
    found = []
    for path in source_files(root, "atmosphere"):
        is_excused = str(path.relative_to(root / "atmosphere")) == GUARD
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ExceptHandler) or is_excused:
                continue
            caught = "everything" if node.type is None else ast.unparse(node.type)
            is_empty = all(isinstance(item, ast.Pass) for item in node.body)
            if caught not in ("everything", "Exception", "BaseException") and not is_empty:
                continue
            body = [inner for item in node.body for inner in ast.walk(item)]
            is_told = any(
                isinstance(inner, ast.Raise)
                or (isinstance(inner, ast.Attribute) and inner.attr == "failure")
                for inner in body
            )
            if not is_told:
                found.append(f"{path.relative_to(root)}:{node.lineno}: {caught} is silenced")
    return found


def patched_tests(root: Path) -> list[str]:
    """
    Find tests that patch a module, or sleep, where they should pass a fake.
    """
    found = []
    for path in source_files(root, "tests"):
        package = path.relative_to(root).parent.parts
        for line, name in imported_names(ast.parse(path.read_text()), package):
            if name.startswith(("unittest.mock", "mock.")) or name == "time.sleep":
                found.append(f"{path.relative_to(root)}:{line}: imports {name}")
    return found


def closed_namespace(root: Path) -> list[str]:
    """
    Find any C{__init__.py} that would replace Twisted's own when installed.
    """
    return [
        f"{path.relative_to(root)}: would overwrite a file of Twisted"
        for path in source_files(root, "twisted")
        if path.name == "__init__.py"
    ]


def foreign_words(root: Path) -> list[str]:
    """
    Find mentions of pages and lists that whoever reads the checkout does not have.
    """
    found = []
    tops = [path for path in sorted(root.iterdir()) if path.is_file()]
    for path in [*tops, *project_files(root, *FOLDERS)]:
        if path.suffix in (".md", ".py", ".toml", ".txt", ".cfg", "") or ".ci" in path.parts:
            text = path.read_text(errors="replace")
            for number, line in enumerate(text.splitlines(), 1):
                if match := FOREIGN_WORDS.search(line):
                    found.append(f"{path.relative_to(root)}:{number}: {match[0]!r}")
    return found


def public_names(tree: ast.Module) -> set[str]:
    """
    Find what a face offers: names without underscore from our own rooms, or defined in it.
    What it hands names out with, C{atmosphere.lazy}, is none of them.

    @param tree: the face.
    """
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            if node.module == "atmosphere.lazy":
                continue
            if node.level or (node.module or "").split(".")[0] == "atmosphere":
                names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            names.add(node.name)
    return {name for name in names if not name.startswith("_")}


def listed_names(tree: ast.Module) -> list[str] | None:
    """
    Read a module's C{__all__}.

    @param tree: the module.
    @return: its names, or L{None} when there is no such list.
    """
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def loose_faces(root: Path) -> list[str]:
    """
    Find C{__all__} lists that name something twice or forget what a face offers.
    """
    found = []
    for path in source_files(root, "atmosphere"):
        tree = ast.parse(path.read_text())
        name = path.relative_to(root)
        listed = listed_names(tree) or []
        if len(set(listed)) != len(listed):
            found.append(f"{name}: __all__ names something twice")
        if path.name == "__init__.py" and name.parts[1] != "cli":
            for forgotten in sorted(public_names(tree) - set(listed)):
                found.append(f"{name}: __all__ forgets {forgotten}")
    return found


RULES = (
    too_long,
    twisted_in_wrong_place,
    impure_sources,
    wrong_first_line,
    undocumented_tests,
    silenced_errors,
    patched_tests,
    closed_namespace,
    foreign_words,
    loose_faces,
)
