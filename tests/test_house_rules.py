"""
The rules of the house hold in this checkout, and each of them can fail.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

from twisted.trial.unittest import SynchronousTestCase

import atmosphere
from tests import house_rules

ROOT = Path(__file__).resolve().parents[1]

Rule = Callable[[Path], list[str]]

GOOD_SAMPLE = {
    "README.md": "Version 2, PKCS \x238, [a link](#top), &#39;, colour #fff.\n",
    "atmosphere/__init__.py": '__all__ = ["__version__"]\n\n__version__ = "1"\n',
    "atmosphere/network/__init__.py": 'from .client import Client\n\n__all__ = ["Client"]\n',
    "atmosphere/network/client.py": (
        "# -*- test-case-name: tests.test_client -*-\n"
        "from twisted.internet.interfaces import IReactorTime\n"
        "from .message import decode\n"
        "class Client:\n"
        "    def read(self, clock: IReactorTime) -> float:\n"
        "        try:\n"
        "            decode(b'')\n"
        "        except Exception:\n"
        "            self._log.failure('unreadable')\n"
        "        return clock.seconds()\n"
    ),
    "atmosphere/network/message.py": (
        "# -*- test-case-name: tests.test_client -*-\n"
        "import struct\n"
        "from ..errors import DecodeError\n"
        "def decode(data: bytes) -> None: raise DecodeError\n"
    ),
    "atmosphere/errors.py": "# -*- test-case-name: tests -*-\nclass DecodeError(Exception): pass\n",
    "atmosphere/network/quic/adapter.py": (
        "# -*- test-case-name: tests -*-\n"
        "import logging\n"
        "try:\n    logging.getLogger()\nexcept BaseException:\n    over = True\n"
    ),
    "atmosphere/testing/network.py": (
        "# -*- test-case-name: tests -*-\nfrom random import Random\nLOSS = Random(1)\n"
    ),
    "atmosphere/tap.py": (
        "# -*- test-case-name: tests -*-\nimport secrets\nimport time\nWALL = time.time\n"
    ),
    "tests/__init__.py": "",
    "tests/test_client.py": (
        "class ClientTests:\n"
        "    def test_read(self) -> None:\n"
        '        """\n        It reads.\n        """\n'
        "    def helper(self) -> None: pass\n"
    ),
    "twisted/plugins/atmosphere_plugin.py": "",
}

NAMED = "# -*- test-case-name: tests -*-\n"

BAD_SAMPLES: list[tuple[Rule, str, str, str]] = [
    (house_rules.too_long, "atmosphere/long.py", "pass\n" * 500, "500 lines"),
    (house_rules.too_long, "tests/test_long.py", "pass\n" * 500, "500 lines"),
    (
        house_rules.twisted_in_wrong_place,
        "atmosphere/network/frames.py",
        NAMED + "from twisted.internet import defer\n",
        "imports twisted.internet.defer",
    ),
    (
        house_rules.twisted_in_wrong_place,
        "atmosphere/network/session.py",
        NAMED + "def later() -> None:\n    import autobahn.websocket\n",
        "imports autobahn.websocket",
    ),
    (
        house_rules.twisted_in_wrong_place,
        "atmosphere/addresses.py",
        NAMED + "import socket\n",
        "imports socket",
    ),
    (
        house_rules.twisted_in_wrong_place,
        "atmosphere/network/session.py",
        NAMED + "from .client import Client\n",
        "imports atmosphere.network.client.Client",
    ),
    (
        house_rules.twisted_in_wrong_place,
        "atmosphere/network/session.py",
        NAMED + "from . import client\n",
        "imports atmosphere.network.client",
    ),
    (
        house_rules.impure_sources,
        "atmosphere/node/service.py",
        NAMED + "import time\nSTARTED = time.time()\n",
        "uses time.time",
    ),
    (
        house_rules.impure_sources,
        "atmosphere/node/service.py",
        NAMED + "from time import monotonic as now\n",
        "uses time.monotonic",
    ),
    (
        house_rules.impure_sources,
        "atmosphere/node/service.py",
        NAMED + "from twisted.internet import reactor\n",
        "uses twisted.internet.reactor",
    ),
    (
        house_rules.impure_sources,
        "atmosphere/network/relay/client.py",
        NAMED + "import random\nJITTER = random.random()\n",
        "uses random.random",
    ),
    (
        house_rules.impure_sources,
        "atmosphere/testing/network.py",
        NAMED + "import random\nLOSS = random.random()\n",
        "uses random.random",
    ),
    (
        house_rules.impure_sources,
        "atmosphere/identity.py",
        NAMED + "import os\nKEY = os.urandom(32)\n",
        "uses os.urandom",
    ),
    (
        house_rules.impure_sources,
        "atmosphere/identity.py",
        NAMED + "from cryptography import Ed25519PrivateKey\nKEY = Ed25519PrivateKey.generate()\n",
        "Ed25519PrivateKey.generate",
    ),
    (
        house_rules.impure_sources,
        "atmosphere/identity.py",
        NAMED + "from datetime import datetime\nNOW = datetime.now()\n",
        "uses datetime.datetime.now",
    ),
    (
        house_rules.wrong_first_line,
        "atmosphere/engine.py",
        '"""\nNothing about tests.\n"""\n',
        "should name its tests",
    ),
    (
        house_rules.wrong_first_line,
        "atmosphere/engine.py",
        "# -*- test-case-name: tests.test_elsewhere -*-\n",
        "there is no tests.test_elsewhere",
    ),
    (
        house_rules.undocumented_tests,
        "tests/test_client.py",
        "class ClientTests:\n    async def test_silent(self) -> None: pass\n",
        "ClientTests.test_silent has no docstring",
    ),
    (
        house_rules.silenced_errors,
        "atmosphere/engine.py",
        NAMED + "try:\n    pass\nexcept ValueError:\n    pass\n",
        "ValueError is silenced",
    ),
    (
        house_rules.silenced_errors,
        "atmosphere/engine.py",
        NAMED + "try:\n    pass\nexcept Exception as error:\n    print(error)\n",
        "Exception is silenced",
    ),
    (
        house_rules.silenced_errors,
        "atmosphere/engine.py",
        NAMED + "try:\n    pass\nexcept:\n    result = None\n",
        "everything is silenced",
    ),
    (
        house_rules.patched_tests,
        "tests/test_client.py",
        "from unittest.mock import patch\n",
        "imports unittest.mock.patch",
    ),
    (
        house_rules.patched_tests,
        "tests/test_client.py",
        "from time import sleep\n",
        "imports time.sleep",
    ),
    (
        house_rules.closed_namespace,
        "twisted/plugins/__init__.py",
        "",
        "would overwrite a file of Twisted",
    ),
    # Escaped, or this file would break the rule itself.
    (house_rules.foreign_words, "docs/index.md", "see \x73hared/style.md\n", "\x73hared/"),
    (house_rules.foreign_words, "CONTRIBUTING.md", "fixes \x2312\n", "\x2312"),
    (house_rules.foreign_words, ".ci/run", "# for issu\x65 3\n", "issu\x65 3"),
    (
        house_rules.loose_faces,
        "atmosphere/network/__init__.py",
        'from .client import Client\nfrom .client import Server\n\n__all__ = ["Client"]\n',
        "__all__ forgets Server",
    ),
    (
        house_rules.loose_faces,
        "atmosphere/errors.py",
        NAMED + '__all__ = ["DecodeError", "DecodeError"]\n',
        "names something twice",
    ),
]


class CheckoutTests(SynchronousTestCase):
    """
    The rules hold here.
    """

    def complain(self, rule: Rule) -> None:
        """
        Fail with all complaints of one rule, if there are any.
        """
        complaints = rule(ROOT)
        self.assertEqual(complaints, [], "\n" + "\n".join(complaints))

    def test_length(self) -> None:
        """
        No file has grown to 500 lines.
        """
        self.complain(house_rules.too_long)

    def test_twisted(self) -> None:
        """
        Files of bytes and rules reach for nothing outside.
        """
        self.complain(house_rules.twisted_in_wrong_place)

    def test_purity(self) -> None:
        """
        Time, randomness and the reactor come in as arguments.
        """
        self.complain(house_rules.impure_sources)

    def test_first_lines(self) -> None:
        """
        Every module names the tests that belong to it.
        """
        self.complain(house_rules.wrong_first_line)

    def test_documented_tests(self) -> None:
        """
        Every test says what it shows.
        """
        self.complain(house_rules.undocumented_tests)

    def test_handlers(self) -> None:
        """
        No error is swallowed.
        """
        self.complain(house_rules.silenced_errors)

    def test_patches(self) -> None:
        """
        Tests pass fakes; they neither patch nor sleep.
        """
        self.complain(house_rules.patched_tests)

    def test_namespace(self) -> None:
        """
        Nothing that we install overwrites a file of Twisted.
        """
        self.complain(house_rules.closed_namespace)

    def test_words(self) -> None:
        """
        Nothing refers to a page that is not in the checkout.
        """
        self.complain(house_rules.foreign_words)

    def test_faces(self) -> None:
        """
        A face lists all that it offers.
        """
        self.complain(house_rules.loose_faces)


class ImportTests(SynchronousTestCase):
    """
    What importing does, and what it must not do.
    """

    def test_listed_names(self) -> None:
        """
        Every name in an C{__all__} is there.
        """
        for module in walk_packages(atmosphere.__path__, "atmosphere."):
            loaded = import_module(module.name)
            for name in getattr(loaded, "__all__", ()):
                self.assertTrue(hasattr(loaded, name), f"{module.name} has no {name}")

    def test_nothing_happens(self) -> None:
        """
        Importing every module of the package installs no reactor.
        """
        script = (
            "import sys, pkgutil, importlib, atmosphere\n"
            "for module in pkgutil.walk_packages(atmosphere.__path__, 'atmosphere.'):\n"
            "    importlib.import_module(module.name)\n"
            "    if 'twisted.internet.reactor' in sys.modules:\n"
            "        sys.exit(f'{module.name} installed a reactor')\n"
        )
        result = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual((result.returncode, result.stderr), (0, ""))

    def test_cheap(self) -> None:
        """
        C{import atmosphere} loads nothing else.
        """
        script = (
            "import sys; before = set(sys.modules); import atmosphere\n"
            "print(*sorted(set(sys.modules) - before))"
        )
        result = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(result.stdout.split(), ["atmosphere"])


class SampleTests(SynchronousTestCase):
    """
    A rule that cannot fail protects nothing.
    """

    def write(self, files: dict[str, str]) -> Path:
        """
        Make a small checkout.

        @return: its root.
        """
        root = Path(self.mktemp())
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    def test_good_sample(self) -> None:
        """
        No rule complains about a sample that keeps them all.
        """
        root = self.write(GOOD_SAMPLE)
        for rule in house_rules.RULES:
            self.assertEqual(rule(root), [], rule.__name__)

    def test_bad_samples(self) -> None:
        """
        One bad file is enough for the one rule that it breaks.
        """
        for rule, name, text, expected in BAD_SAMPLES:
            root = self.write({**GOOD_SAMPLE, name: text})
            complaints = rule(root)
            self.assertTrue(
                any(name in complaint and expected in complaint for complaint in complaints),
                f"{rule.__name__} on {name}: {complaints}",
            )

    def test_every_rule_has_a_bad_sample(self) -> None:
        """
        A new rule comes with a file that breaks it.
        """
        self.assertEqual({sample[0] for sample in BAD_SAMPLES}, set(house_rules.RULES))

    def test_generated_files(self) -> None:
        """
        What tools leave in a checkout is nobody's fault.
        """
        root = self.write({**GOOD_SAMPLE, "tests/_trial_temp/test_x.py": "pass\n" * 500})
        self.assertEqual(house_rules.too_long(root), [])
