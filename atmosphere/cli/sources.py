# -*- test-case-name: tests.cli.test_app -*-
"""
Where the command line gets the time and randomness that it hands down.
"""

from __future__ import annotations

import random as _random
import secrets
import time

__all__ = ["elapsed", "entropy", "pause", "random", "wall"]

wall = time.time  # noqa: TID251, handed down from here
elapsed = time.monotonic  # noqa: TID251, handed down from here
pause = time.sleep
entropy = secrets.token_bytes
random = _random.SystemRandom().random
