# -*- test-case-name: tests.node.test_program -*-
"""
How a person calls the program for a state directory: what every remedy names.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path

from .state_directory import default_state_directory

__all__ = ["program_for"]


def program_for(state: Path, environ: Mapping[str, str] | None = None) -> str:
    """
    Say how the program is called for a state directory, ready for any shell:
    also for one without the variable that may have named the directory here.

    @param environ: the environment; C{None} means that of the process.
    """
    variables = os.environ if environ is None else environ
    usual = default_state_directory({}).absolute()
    if state.absolute() == usual == default_state_directory(variables).absolute():
        return "atmosphere"
    return f"atmosphere --state {shlex.quote(str(state))}"
