"""
The page for those who test their own applications.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unittest import TestResult

from twisted.trial.unittest import SynchronousTestCase

from atmosphere import testing

PAGE = Path(__file__).parent.parent.parent / "docs" / "TESTING_YOUR_APP.md"


class PageTests(SynchronousTestCase):
    """
    What the page says is so.
    """

    def test_examples(self) -> None:
        """
        The examples pass.
        """
        result, others = TestResult(), 0
        for text in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
            if (found := re.search(r"class (\w+)\(SynchronousTestCase\)", text)) is not None:
                names: dict[str, Any] = {"__name__": "example"}
                exec(compile(text, str(PAGE), "exec"), names)
                names[found[1]]("test_echo").run(result)
            elif "\n    assert " in text:
                exec(compile(text, str(PAGE), "exec"), {"__name__": "example"})
                others += 1
        self.assertEqual((result.errors, result.failures, result.testsRun), ([], [], 2))
        self.assertEqual(others, 1)

    def test_names(self) -> None:
        """
        Every method that the page names is there.
        """
        text = PAGE.read_text()
        for variable, kind in (
            ("network", testing.SimulatedNetwork),
            ("host", testing.Host),
            ("mesh", testing.MemoryMesh),
            ("machine", testing.Machine),
            ("home", testing.Home),
        ):
            for name in re.findall(rf"\b{variable}\.(\w+)\(", text):
                self.assertTrue(hasattr(kind, name), f"{variable}.{name}")
