"""
C{ssh} between two machines of which neither listens publicly: Debian's sshd
and ssh, two nodes, a relay.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import random
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SkipTest
from typing_extensions import override

from .harness import Ended, EndToEndTestCase, Machine, Program, Relay, find_program, free_port
from .namespaces import RELAY, can_isolate, isolate

SERVER_SETTINGS = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PrintMotd no
UsePAM no
Subsystem sftp internal-sftp
"""


class SSHTestCase(EndToEndTestCase):
    """
    Portland has an sshd that listens on its loopback, and exposes it to seattle.
    """

    @override
    def setUp(self) -> None:
        super().setUp()
        for name in ("sshd", "ssh", "ssh-keygen"):
            if self.find(name) is None:
                raise SkipTest(f"{name} is not installed: apt-get install openssh-server")
        self.portland, self.seattle = Machine(self, "portland"), Machine(self, "seattle")
        url = self.start_relay()
        self.portland.init("--relay", url)
        self.portland.serve()
        code = self.portland.run("invite").out
        self.seattle.init()
        self.seattle.serve()
        self.seattle.run("join", "-", stdin=code)
        self.ssh_port = free_port()
        self.sshd = self.start_sshd()
        self.portland.run("expose", "ssh", f"tcp:127.0.0.1:{self.ssh_port}", "--to", "seattle")

    @staticmethod
    def find(name: str) -> str | None:
        """
        Find a program of OpenSSH: its server is where few have a path.
        """
        return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")

    def start_relay(self) -> str:
        """
        Start a relay: in a namespace of its own, and so with the machines; where
        we may not do that, on loopback with machines that use relayed paths only.

        @return: its URL.
        """
        machines = (self.portland, self.seattle)
        if not can_isolate():
            for machine in machines:
                machine.variables["ATMOSPHERE_PATHS"] = "relayed"
            self.relay = Relay(self)
            return self.relay.url
        (prefix, address), *places = isolate(self, len(machines))
        relay = ("--host", address, "--port", "8080", "--stun-port", "0")
        program = self.start("atmosphere", "relay", *relay, prefix=prefix)
        program.wait_for("--relay")
        for machine, (before, own) in zip(machines, places, strict=True):
            machine.prefix = before
            machine.variables["ATMOSPHERE_INTERFACE"] = own
        return f"ws://{RELAY}:8080"

    def start_sshd(self) -> Program:
        """
        Start portland's sshd with keys of its own.
        """
        keygen = self.find("ssh-keygen") or ""
        for name in ("host_key", "user_key"):
            path = str(self.folder / name)
            command = [keygen, "-q", "-t", "ed25519", "-N", "", "-f", path]
            subprocess.run(command, check=True, capture_output=True, timeout=20)
        settings = self.folder / "sshd_config"
        settings.write_text(SERVER_SETTINGS.format(port=self.ssh_port, folder=self.folder))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where it locks itself in
        sshd = self.find("sshd") or ""
        arguments = ("-D", "-e", "-f", str(settings))
        program = self.start(sshd, *arguments, prefix=self.portland.prefix)
        program.wait_for("Server listening")
        return program

    def ssh(self, *command: str, stdin: bytes = b"", status: int = 0) -> bytes:
        """
        Run a command on portland from seattle.

        @return: what it prints.
        """
        beside = Path(find_program("atmosphere")).parent
        options = (
            "StrictHostKeyChecking=off",
            f"UserKnownHostsFile={os.devnull}",
            f"IdentityFile={self.folder / 'user_key'}",
            "IdentitiesOnly=yes",
            "BatchMode=yes",
            "LogLevel=ERROR",
            "ProxyCommand=atmosphere forward --stdio portland:ssh",
        )
        environment = {
            **self._environment(self.seattle.environment),
            "PATH": f"{beside}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            [
                *self.seattle.prefix,
                self.find("ssh") or "",
                *("-F", os.devnull, "-l", getpass.getuser()),
                *(word for option in options for word in ("-o", option)),
                "portland",
                *command,
            ],
            env=environment,
            input=stdin,
            capture_output=True,
            timeout=60,
            check=False,
        )
        text = done.stderr.decode("utf-8", "replace")
        self.ended.append((command, Ended(done.returncode, "", text)))
        self.assertEqual(done.returncode, status, f"{text}\n{self.sshd.err}")
        return done.stdout


class SSHTests(SSHTestCase):
    """
    What people do with ssh.
    """

    def test_ssh(self) -> None:
        """
        A command runs on the other machine; its exit code, its input and its
        output come through, byte by byte; who is not let in any more learns so.
        """
        self.ssh("true")
        self.ssh("exit 7", status=7)
        data = random.Random(1).randbytes(5_000_000)
        self.assertEqual(self.ssh("cat", stdin=data), data)
        digest = self.ssh("sha256sum", stdin=data).split()[0].decode("ascii")
        self.assertEqual(digest, hashlib.sha256(data).hexdigest())
        (path,) = (peer["path"] for peer in self.seattle.json("peers")["peers"])
        self.assertEqual(path["kind"], "relayed")

        self.portland.run("expose", "ssh", str(self.ssh_port), "--to", "tacoma")
        refused = self.seattle.run("forward", "--stdio", "portland:ssh", status=4)
        self.assert_one_line(refused, 4, "portland refused ssh: it is not open to seattle")
        self.ssh("true", status=255)
        self.portland.run("expose", "ssh", "--remove")
        refused = self.seattle.run("forward", "--stdio", "portland:ssh", status=4)
        self.assert_one_line(refused, 4, "there is no such service here")
        self.assert_no_traceback()
