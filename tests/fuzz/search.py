"""
The process that searches: C{python -m tests.fuzz.search TARGET [libFuzzer's options]},
which L{tests.fuzz.__main__} starts.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

atheris: Any = import_module("atheris")

__all__: list[str] = []


def main() -> None:
    """
    Search; atheris ends the process.
    """
    with atheris.instrument_imports(include=["atmosphere"]):
        targets = import_module("tests.fuzz.targets").TARGETS
        try_input = import_module("tests.fuzz.property").try_input
    target = targets[sys.argv.pop(1)]
    atheris.Setup(sys.argv, lambda data: try_input(target, data))
    atheris.Fuzz()


if __name__ == "__main__":
    main()
