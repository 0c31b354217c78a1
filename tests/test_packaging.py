"""
What the built packages hold, and that they ask for all that they import.
"""

import ast
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from importlib.util import find_spec
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase
from typing_extensions import override

import atmosphere
from tests.house_rules import imported_names, source_files

ROOT = Path(__file__).resolve().parents[1]

PARTS = (
    "atmosphere",
    "twisted",
    "tests",
    "docs",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "CONTRIBUTING.md",
)

#: Modules that a distribution brings without saying so in its metadata.
UNLISTED = {"_nvx_xormasker": ["autobahn"]}


def distribution(requirement: str) -> str:
    """
    Reduce a requirement such as C{Foo.bar[extra]>=1} to the name that indexes use: C{foo-bar}.
    """
    name = re.split(r"[\[<>=!~; ]", requirement.strip(), maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


class DependencyTests(SynchronousTestCase):
    """
    A fresh environment gets all that the code imports.
    """

    @override
    def setUp(self) -> None:
        """
        Read the project's settings.
        """
        with (ROOT / "pyproject.toml").open("rb") as file:
            self.project = tomllib.load(file)["project"]
        self.needed = {distribution(item) for item in self.project["dependencies"]}
        extra = self.project["optional-dependencies"]["test"]
        self.needed_by_tests = self.needed | {distribution(item) for item in extra}

    def missing(self, folder: str, declared: set[str]) -> list[str]:
        """
        Find imports from distributions that are not declared.

        @param folder: where to look.
        @param declared: the names of distributions that may be used.
        """
        owners = {**UNLISTED, **packages_distributions()}
        own = {"atmosphere", "tests", *sys.stdlib_module_names}
        found = set()
        for path in source_files(ROOT, folder):
            package = path.relative_to(ROOT).parent.parts
            for _, name in imported_names(ast.parse(path.read_text()), package):
                top = name.split(".")[0]
                candidates = {distribution(owner) for owner in owners.get(top, [top])}
                if top not in own and not candidates & declared:
                    found.add(f"{path.relative_to(ROOT)} imports {top}")
        return sorted(found)

    def test_package(self) -> None:
        """
        Whatever the package imports is among its dependencies.
        """
        self.assertEqual(self.missing("atmosphere", self.needed), [])
        self.assertEqual(self.missing("twisted", self.needed), [])

    def test_tests(self) -> None:
        """
        Whatever the tests import comes with the C{test} extra.
        """
        self.assertEqual(self.missing("tests", self.needed_by_tests), [])

    def test_undeclared_is_found(self) -> None:
        """
        With nothing declared, the search does find what is imported.
        """
        self.assertIn("tests/test_packaging.py imports twisted", self.missing("tests", set()))


class BuiltTests(SynchronousTestCase):
    """
    The names inside a wheel and an sdist that are built here and now.
    """

    def build(self, kind: str) -> Path:
        """
        Build from a copy of the checkout in which twistd has left its cache.

        @param kind: C{wheel} or C{sdist}.
        @return: the file that was built.
        """
        for tool in ("build", "hatchling"):
            if find_spec(tool) is None:
                raise SkipTest(f"{tool} is not installed; the extra 'dev' has it")
        work = Path(self.mktemp()).resolve()
        work.mkdir()
        rubbish = shutil.ignore_patterns("__pycache__", "_trial_temp*", ".hypothesis")
        for part in PARTS:
            if (ROOT / part).is_dir():
                shutil.copytree(ROOT / part, work / part, ignore=rubbish)
            else:
                shutil.copy(ROOT / part, work / part)
        (work / "twisted" / "plugins" / "dropin.cache").write_bytes(b"stale")
        command = [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "-o", "dist", "."]
        result = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=120)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        (built,) = (work / "dist").iterdir()
        return built

    def test_wheel(self) -> None:
        """
        A wheel holds our package with its page, the plugin and the licence, and no file that
        Twisted owns.
        """
        with zipfile.ZipFile(self.build("wheel")) as wheel:
            names = set(wheel.namelist())
        described = f"atmosphere-{atmosphere.__version__}.dist-info"
        ours = {str(path.relative_to(ROOT)) for path in source_files(ROOT, "atmosphere")}
        self.assertEqual(
            {name for name in names if not name.startswith(f"{described}/")},
            ours
            | {"atmosphere/network/README.md", "atmosphere/py.typed"}
            | {"twisted/plugins/atmosphere_plugin.py"},
        )
        self.assertIn(f"{described}/licenses/LICENSE", names)
        self.assertIn(f"{described}/entry_points.txt", names)

    def test_sdist(self) -> None:
        """
        An sdist is enough to build, read and test the project, and holds no twistd cache.
        """
        with tarfile.open(self.build("sdist")) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        self.assertLessEqual(
            {
                "LICENSE",
                "README.md",
                "CONTRIBUTING.md",
                "pyproject.toml",
                "atmosphere/__init__.py",
                "docs/index.md",
                "tests/test_packaging.py",
                "twisted/plugins/atmosphere_plugin.py",
            },
            names,
        )
        self.assertEqual([name for name in names if name.endswith("dropin.cache")], [])


class PluginTests(SynchronousTestCase):
    """
    What twistd sees of us.
    """

    def test_plugin_is_strings(self) -> None:
        """
        The plugin names its modules and imports none of ours: every twistd on the machine, and
        every program that reads an endpoint string, loads it.
        """
        path = ROOT / "twisted" / "plugins" / "atmosphere_plugin.py"
        tree = ast.parse(path.read_text())
        top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        imported = {name.split(".")[0] for each in top for _, name in imported_names(each, ())}
        self.assertEqual(imported, {"twisted", "zope"})
        offered: dict[str, object] = {}
        exec(compile(path.read_text(), path, "exec"), offered)
        maker = offered["atmosphere"]
        self.assertEqual(getattr(maker, "tapname", None), "atmosphere")
        self.assertEqual(getattr(maker, "module", None), "atmosphere.tap")
