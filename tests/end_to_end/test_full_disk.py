"""
A node whose state is on a file system of 64 KiB, which fills up.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest
from typing_extensions import override

from .harness import EndToEndTestCase, Machine


class FullDiskTests(EndToEndTestCase):
    """
    A small disk, mounted where nobody else can see it.
    """

    @override
    def setUp(self) -> None:
        if os.geteuid() or shutil.which("nsenter") is None:
            raise SkipTest("to mount a small disk one has to be root")
        if subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode:
            raise SkipTest("this machine has no mount namespaces for us")
        super().setUp()

    def mount(self, size: str) -> Machine:
        """
        Make a host with a disk of its own.
        """
        place = self.folder / "disk"
        place.mkdir()
        program = (
            f'mount -t tmpfs -o size={size},mode=700 tmpfs {place} && echo mounted && exec "$@"'
        )
        holder = self.start(
            "/usr/bin/tail", "-f", "/dev/null", prefix=("unshare", "-m", "sh", "-c", program, "sh")
        )
        holder.wait_for("mounted")
        machine = Machine(self, "portland")
        machine.state = place / "portland"
        machine.prefix = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt")
        self.disk = Path(f"/proc/{holder.pid}/root{place}")
        return machine

    def fill(self) -> None:
        """
        Fill the disk to its last page.
        """
        with (self.disk / "others").open("wb", buffering=0) as file:
            try:
                while file.write(bytes(4096)):
                    pass
            except OSError as error:
                self.assertIn("No space left", str(error))
        self.assertEqual(os.statvfs(self.disk).f_bavail, 0)

    def state(self) -> dict[str, bytes]:
        """
        Read what may not change.
        """
        path = self.disk / "portland"
        names = [each for each in os.listdir(path) if each.startswith(("node.key", "config"))]
        return {name: (path / name).read_bytes() for name in names}

    def refused(self, machine: Machine) -> None:
        """
        Check that there is no room for a code.
        """
        ended = machine.run("invite", status=None)
        self.assert_one_line(ended, 1, str(machine.state))
        self.assertRegex(ended.err, "disk is full|No space left on device")

    def test_small(self) -> None:
        """
        A disk that is too small for a mesh is no reason to crash: what does not fit is
        refused in one line that says why, the node runs on, starts again and stays
        who it is, and C{status} says what is the matter.
        """
        portland = self.mount("64k")
        portland.init()
        kept = self.state()
        portland.serve()
        node_id = portland.json("status")["node_id"]
        self.fill()
        self.refused(portland)
        status = portland.json("status")
        self.assertEqual(status["node_id"], node_id)
        (warning,) = status["warnings"]
        self.assertRegex(warning, "disk is full|No space left on device")
        self.assertIn("warning    the disk refuses", portland.run("status").out)
        portland.kill()
        portland.serve()
        self.refused(portland)
        self.assertEqual(portland.json("status")["node_id"], node_id)
        self.assertEqual(self.state(), kept)
        self.assert_no_traceback()

    def test_full(self) -> None:
        """
        What was printed before the disk was full is there after it, through C{kill -9},
        and with room again the node does all that it refused, without being told.
        """
        portland = self.mount("192k")
        portland.init()
        portland.serve()
        portland.run("invite")
        (before,) = portland.json("invite", "list")["invitations"]
        mesh_id = portland.json("status")["mesh_id"]
        kept = self.state()
        self.fill()
        self.refused(portland)
        portland.kill()
        portland.serve()
        self.assertEqual(portland.json("invite", "list")["invitations"], [before])
        self.assertEqual(portland.json("status")["mesh_id"], mesh_id)
        self.refused(portland)
        self.assertIn("the disk refuses", portland.json("status")["warnings"][0])
        (self.disk / "others").unlink()
        self.assertEqual(portland.json("status")["warnings"], [])
        portland.run("invite")
        self.assertEqual(len(portland.json("invite", "list")["invitations"]), 2)
        self.assertEqual(self.state(), kept)
        self.assert_no_traceback()
