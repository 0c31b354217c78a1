"""
What tests of a real laboratory share: they skip where none can be built, and they
leave nothing behind.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase
from typing_extensions import override

from atmosphere.lab import Conditions, Internet, Kind, missing
from tests.end_to_end.namespaces import TIMES

__all__ = ["LabTestCase"]


class LabTestCase(SynchronousTestCase):
    """
    A folder for laboratories.

    @ivar folder: the folder.
    """

    @override
    def setUp(self) -> None:
        """
        See whether there can be a laboratory.
        """
        lacking = missing()
        if lacking is not None:
            raise SkipTest(lacking)
        self.folder = Path(tempfile.mkdtemp(prefix="atmosphere-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def internet(self, *kinds: Kind, delay: float = 0.002) -> Internet:
        """
        Build homes for the length of the test.
        """
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        internet = Internet(kinds, folder, TIMES, Conditions(delay))
        self.addCleanup(internet.close)
        internet.build()
        return internet
