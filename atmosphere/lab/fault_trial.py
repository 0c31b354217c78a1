# -*- test-case-name: tests.lab.test_faults -*-
"""
One pair of homes, and one fault after the other while they transfer.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from atmosphere.errors import AtmosphereError

from .faults import Fault
from .namespaces import LabError
from .transfer import Transfer
from .trial import Trial

__all__ = ["FaultResult", "FaultTrial"]

JSON = dict[str, Any]

SERVICE = "lab"

#: Seconds of a transfer before the fault.
LEAD = 2.0

#: Seconds that a transfer may take beyond what its pace and the fault need.
PATIENCE = 60.0

#: Seconds between two looks at it, and within which a direct path has to be back.
GLANCE = 0.02
DIRECT_WITHIN = 20.0


@dataclass(frozen=True)
class FaultResult:
    """
    What became of a transfer.

    @ivar interruption: seconds in which nothing came beyond the cut itself.
    @ivar path: how the two were connected before, and after.
    """

    fault: Fault
    is_complete: bool
    is_equal: bool
    interruption: float
    path: tuple[str | None, str | None]
    error: str | None = None

    @property
    def is_held(self) -> bool | None:
        """
        Whether the target was held; C{None} if there is none.
        """
        if self.fault.target is None:
            return None
        return self.is_equal and self.interruption <= self.fault.target

    def as_json(self) -> JSON:
        """
        Write it down.
        """
        return {
            "fault": self.fault.name,
            "completed": self.is_complete,
            "equal": self.is_equal,
            "cut_s": self.fault.cut,
            "interruption_s": round(self.interruption, 3),
            "target_s": self.fault.target,
            "held": self.is_held,
            "path_before": self.path[0],
            "path_after": self.path[1],
            "error": self.error,
        }


class FaultTrial(Trial):
    """
    A pair that transfers from seattle to portland while something happens.
    """

    def meet(self) -> str | None:
        """
        Have the two connect, directly if they can soon.

        @return: how they are connected.
        @raise LabError: they are not.
        """
        run = self.run(DIRECT_WITHIN)
        if run.path is None:
            raise LabError(f"seattle does not reach portland: {run.error}")
        return str(run.path["kind"])

    def path(self) -> str | None:
        """
        Say how seattle is connected with portland now.
        """
        with contextlib.suppress(AtmosphereError):
            for peer in self._seattle.client.get("/v1/peers")["peers"]:
                if peer["path"]:
                    return str(peer["path"]["kind"])
        return None

    def _wait(self, seconds: float, transfer: Transfer) -> None:
        """
        Let time pass, but no longer than the transfer lasts.
        """
        end = self._times.elapsed() + seconds
        while self._times.elapsed() < end and not transfer.is_over():
            self._times.pause(GLANCE)

    def suffer(self, fault: Fault, total: int, rate: float, number: int) -> FaultResult:
        """
        Transfer, and let something happen meanwhile.

        @param total: bytes.
        @param rate: bytes a second.
        @param number: of this transfer, for the names of its files.
        """
        times, folder = self._times, self.internet.programs.folder
        sink, source = folder / f"sink-{number}", folder / f"source-{number}"
        transfer = Transfer(total, rate, times.elapsed)
        transfer.listen(sink)
        service = f"{SERVICE}-{number}"
        expose = {"service": service, "target": f"unix:{sink}", "to": ["seattle"], "keep": True}
        self._portland.client.post("/v1/services/expose", expose)
        forward = {"listen": f"unix:{source}", "peer": "portland", "service": service, "keep": True}
        self._seattle.client.post("/v1/services/forward", forward)
        before = self.path()
        transfer.send(source)
        self._wait(LEAD, transfer)
        begun = times.elapsed()
        try:
            fault.begin(self)
            times.pause(fault.cut)
            if fault.end is not None:
                fault.end(self)
            lasted = times.elapsed() - begun  # a relay takes a moment until it is there
            self._wait(total / rate + PATIENCE, transfer)
        finally:
            transfer.stop()
        excused = lasted if fault.cut and fault.is_interrupting else 0.0
        gap = max(0.0, transfer.longest_gap(begun) - excused)
        result = FaultResult(
            fault,
            transfer.is_over() and transfer.received == total,
            transfer.is_equal,
            gap,
            (before, self.path()),
            transfer.error,
        )
        if fault.clear is not None:
            fault.clear(self)
        return result

    def suffer_all(self, faults: Sequence[Fault], total: int, rate: float) -> Sequence[FaultResult]:
        """
        Let one thing after the other happen, each to a pair that has just met.
        """
        results = []
        for number, fault in enumerate(faults):
            if fault.prepare is not None:
                fault.prepare(self)
            self.meet()
            self._tell("fault", f"{fault.name}: {fault.words}")
            result = self.suffer(fault, total, rate, number)
            said = "completed, equal" if result.is_equal else f"NOT EQUAL: {result.error or 'late'}"
            self._tell("", f"{said}; interrupted for {result.interruption:.2f} s beyond the cut")
            results.append(result)
        return results
