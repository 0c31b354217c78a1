"""
Two faults during a transfer between the kernel's own NATs, with the real programs. They
take half a minute, and so stand apart from the other tests::

    sudo python -m twisted.trial tests.lab.fault_pairs

All there are: C{sudo atmosphere lab faults}. Here it counts that all bytes come, not how soon.
"""

from __future__ import annotations

from atmosphere.cli.client import LocalClient
from atmosphere.lab import Kind
from atmosphere.lab.fault_trial import FaultTrial
from atmosphere.lab.faults import find_faults

from .lab_case import LabTestCase

TOTAL = 4_000_000
RATE = 1_000_000.0


class FaultTests(LabTestCase):
    """
    The transfer completes and is equal.
    """

    def suffer(self, one: Kind, two: Kind, fault: str) -> tuple[str | None, str | None]:
        """
        Let something happen to a transfer.

        @return: the kinds of path before and after.
        """
        trial = FaultTrial(self.internet(one, two, delay=0.02), LocalClient, lambda *_: None)
        trial.prepare()
        (result,) = trial.suffer_all(find_faults((fault,)), TOTAL, RATE)
        self.assertTrue(result.is_complete and result.is_equal, result)
        return result.path

    def test_other_address(self) -> None:
        """
        A router that has another public address after it was switched off and on.
        """
        before, _ = self.suffer(Kind.PORT_RESTRICTED, Kind.PORT_RESTRICTED, "address-sender")
        self.assertEqual(before, "punched")

    def test_relay(self) -> None:
        """
        A relay that is killed and started again while it carries all.
        """
        path = self.suffer(Kind.SYMMETRIC, Kind.SYMMETRIC, "relay")
        self.assertEqual(path, ("relayed", "relayed"))
