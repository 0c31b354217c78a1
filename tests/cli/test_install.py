"""
Tests for C{atmosphere install} and C{uninstall}, with a stand-in for systemd's programs.
"""

from __future__ import annotations

import json
import os
import shlex
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SkipTest, SynchronousTestCase
from typing_extensions import override

from atmosphere.cli.install_plan import (
    closed_to_others,
    find_program,
    with_credentials,
    with_whole_names,
)
from atmosphere.cli.systemd import check_rights
from atmosphere.cli.systemd_unit import credential, is_ours
from atmosphere.errors import ConfigurationError
from atmosphere.node.config import NodeConfig
from atmosphere.node.store import NodeStore
from tests.cli.running import Ended, atmosphere

STAND_IN = """#!/bin/sh
echo "${0##*/}" "$@" >>"$FAKE_LOG"
case "$*" in
*is-system-running) echo "${FAKE_STATE-running}" ;;
*"is-active "*) echo "${FAKE_ACTIVE-inactive}" ;;
*"restart "*) exit "${FAKE_RESTART-0}" ;;
*Linger*) echo "${FAKE_LINGER-no}" ;;
esac
"""


class InstallCase(SynchronousTestCase):
    """
    A home with a node in it, and a systemd that takes every order.
    """

    @override
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        programs = self.home / "bin"
        programs.mkdir(parents=True)
        for name in ("systemctl", "loginctl"):
            (programs / name).write_text(STAND_IN)
            (programs / name).chmod(0o755)
        self.state = self.home / ".atmosphere"
        self.log = self.home / "log"
        self.env = {
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": "",
            "PATH": f"{programs}:{os.environ['PATH']}",
            "FAKE_LOG": str(self.log),
        }
        self.unit = self.home / ".config/systemd/user/atmosphere.service"

    def make_node(self) -> None:
        """
        Make the node.
        """
        config = NodeConfig("portland")
        NodeStore.create(self.state, config, wall=lambda: 0.0, entropy=os.urandom).close()

    def ask(self, *arguments: str, env: Mapping[str, str] | None = None) -> Ended:
        """
        Run a command.
        """
        self.log.unlink(missing_ok=True)
        return atmosphere(*arguments, env={**self.env, **(env or {})})

    def refused(
        self, status: int, words: str, *arguments: str, env: Mapping[str, str] | None = None
    ) -> None:
        """
        Run a command that is refused in one line.
        """
        ended = self.ask(*arguments, env=env)
        self.assertEqual((ended.status, ended.out, ended.err.count("\n")), (status, "", 1), ended)
        self.assertIn(words, ended.err)

    def orders(self) -> list[str]:
        """
        List what systemd was asked.
        """
        return self.log.read_text().splitlines() if self.log.exists() else []

    def command(self, unit: Path | None = None) -> list[str]:
        """
        Read the command line in the unit.
        """
        for line in (unit or self.unit).read_text().splitlines():
            if line.startswith("ExecStart="):
                return shlex.split(line.removeprefix("ExecStart="))
        raise AssertionError("no ExecStart")


class InstallTests(InstallCase):
    """
    C{install}.
    """

    def test_node(self) -> None:
        """
        The unit is written, enabled and started; who does not linger is told of it.
        """
        self.make_node()
        ended = self.ask("install")
        self.assertEqual(ended.status, 0, ended)
        self.assertIn(f"wrote {self.unit} and started atmosphere.service", ended.out)
        self.assertIn("loginctl enable-linger", ended.err)
        self.assertEqual(
            self.orders(),
            [
                "systemctl --user is-system-running",
                "systemctl --user is-active atmosphere.service",
                "systemctl --user daemon-reload",
                "systemctl --user enable atmosphere.service",
                "systemctl --user restart atmosphere.service",
                f"loginctl show-user {os.getuid()} --property=Linger --value",
            ],
        )
        self.assertTrue(is_ours(self.unit.read_text()))
        self.assertEqual(stat.S_IMODE(self.unit.stat().st_mode), 0o644)
        command = self.command()
        self.assertTrue(os.access(command[0], os.X_OK) and command[0].startswith("/"))
        self.assertEqual(command[-3:], ["--state", str(self.state), "serve"])

    def test_lingering(self) -> None:
        """
        Who lingers is not told about it.
        """
        self.make_node()
        ended = self.ask("install", "--json", env={"FAKE_LINGER": "yes"})
        answer = json.loads(ended.out)
        self.assertEqual((answer["warnings"], answer["started"]), ([], True))
        self.assertEqual(answer["path"], str(self.unit))

    def test_options(self) -> None:
        """
        Options are passed on, behind C{--} or by their names, and files by their whole names.
        """
        self.make_node()
        self.ask("install", "--", "-h", "127.0.0.1", "--relay", "ws://relay:1")
        self.assertEqual(
            self.command()[-5:], ["serve", "-h", "127.0.0.1", "--relay", "ws://relay:1"]
        )
        self.ask("install", "--udp-port", "7000", "--relay-ca=ca.pem", "--no-public-stun")
        self.assertEqual(
            self.command()[-6:],
            [
                *("serve", "--udp-port", "7000", "--relay-ca"),
                *(os.path.abspath("ca.pem"), "--no-public-stun"),
            ],
        )

    def test_relay(self) -> None:
        """
        A relay is a unit of its own, beside the node's, and needs no node.
        """
        ended = self.ask("install", "--relay", "--", "--host", "0.0.0.0", "--port", "8080")
        self.assertEqual(ended.status, 0, ended)
        unit = self.unit.with_name("atmosphere-relay.service")
        self.assertEqual(self.command(unit)[-5:], ["relay", "--host", "0.0.0.0", "--port", "8080"])
        self.assertIn("systemctl --user restart atmosphere-relay.service", self.orders())
        self.assertFalse(self.unit.exists())

    def test_wrong_options(self) -> None:
        """
        What C{serve} or C{relay} would refuse is refused now, and nothing is written.
        """
        self.make_node()
        for words, arguments in {
            "No such option": ["--bogus"],
            "is not a relay's URL": ["--", "--relay", "https://relay"],
            "not a mesh ID": ["--relay", "--mesh", "home"],
            "-- --relay ws://relay:1": ["--relay", "ws://relay:1"],
            "--user goes with --system": ["--user", "root"],
        }.items():
            self.refused(2, words, "install", *arguments)
        self.assertFalse(self.unit.exists())
        self.assertEqual(self.orders(), [])
        for words, arguments in {
            "there is no user": ["--user", "no-such-user"],
            "not below /var/lib": ["--state", str(self.state)],
        }.items():
            self.refused(2, words, "install", "--system", "--print", *arguments)

    def test_no_node(self) -> None:
        """
        Without a node the remedy is named.
        """
        self.refused(2, "init`", "install")

    def test_no_systemd(self) -> None:
        """
        Where no systemd runs that is said, with what to do, and nothing is written.
        """
        self.make_node()
        self.refused(1, "--no-start", "install", env={"FAKE_STATE": "offline"})
        self.refused(1, "`atmosphere relay`", "install", "--relay", env={"PATH": "/nonexistent"})
        self.assertFalse(self.unit.parent.exists())

    def test_no_start(self) -> None:
        """
        C{--no-start} writes and enables, also where no systemd runs, and starts nothing.
        """
        self.make_node()
        ended = self.ask("install", "--no-start", env={"FAKE_STATE": "offline"})
        self.assertEqual((ended.status, ended.out), (0, f"wrote {self.unit}\n"))
        self.assertIn("systemctl --user enable atmosphere.service", self.orders())
        self.assertNotIn("systemctl --user restart atmosphere.service", self.orders())
        ended = self.ask("install", "--no-start", env={"PATH": "/nonexistent"})
        self.assertEqual(ended.status, 0)
        self.assertIn("systemctl --user enable atmosphere.service", ended.err)

    def test_print(self) -> None:
        """
        C{--print} shows the unit, also without a node, and touches nothing.
        """
        for arguments in ((), ("--relay",), ("--system", "--user", "root")):
            ended = self.ask("install", "--print", *arguments)
            self.assertEqual(ended.status, 0, ended)
            self.assertTrue(is_ours(ended.out))
        self.assertEqual(self.orders(), [])
        self.assertFalse(self.unit.parent.exists())

    def test_print_json(self) -> None:
        """
        With C{--json} the unit is in the object, with what is to be known of it.
        """
        text = self.ask("install", "--print").out
        ended = self.ask("install", "--print", "--json")
        answer = json.loads(ended.out)
        self.assertEqual((answer["version"], answer["text"]), (1, text))
        self.assertEqual(answer["unit"], "atmosphere.service")
        self.assertEqual(set(answer), {"version", "unit", "path", "state", "text", "warnings"})
        self.assertFalse(Path(answer["path"]).exists())

    def test_not_ours(self) -> None:
        """
        A unit of somebody else's making is overwritten with C{--force} alone.
        """
        self.make_node()
        self.unit.parent.mkdir(parents=True)
        self.unit.write_text("[Service]\nExecStart=/bin/true\n")
        self.refused(1, "--force", "install")
        self.refused(1, "--force", "uninstall")
        self.assertEqual(self.unit.read_text(), "[Service]\nExecStart=/bin/true\n")
        self.assertEqual(self.ask("install", "--force").status, 0)
        self.assertTrue(is_ours(self.unit.read_text()))

    def test_another_node(self) -> None:
        """
        A unit that runs another node is not overwritten unasked.
        """
        self.make_node()
        self.ask("install")
        other = str(self.home / "other")
        self.ask("--state", other, "init")
        self.refused(1, f"runs the node in {self.state}", "--state", other, "install")

    def test_not_started(self) -> None:
        """
        A service that does not start is a failure that names the log.
        """
        self.make_node()
        ended = self.ask("install", env={"FAKE_RESTART": "1"})
        self.assertEqual((ended.status, ended.err.count("\n")), (1, 1))
        self.assertIn("journalctl --user -u atmosphere.service", ended.err)

    def test_variables(self) -> None:
        """
        A variable that a service would not see is named.
        """
        self.make_node()
        env = {"ATMOSPHERE_UDP_PORT": "7000", "ATMOSPHERE_RELAY_URL": "ws://relay:1"}
        ended = self.ask("install", env=env)
        for name in env:
            self.assertIn(f"{name} is set here", ended.err)

    def test_low_port(self) -> None:
        """
        A user's service cannot have a port below 1024, and is told so.
        """
        self.assertIn("use --system", self.ask("install", "--relay", "--port", "443").err)
        second = self.ask("install", "--relay", "--print", "--second-stun-port", "500")
        self.assertIn("use --system", second.err)

    def test_system(self) -> None:
        """
        For the system, a port below 1024 is allowed for, and the key is handed over.
        """
        ended = self.ask(
            *("install", "--system", "--relay", "--user", "root", "--print"),
            *("--", "--port=443", "--cert", "/etc/tls/cert.pem", "--key=/etc/tls/key.pem"),
        )
        self.assertIn("\nAmbientCapabilities=CAP_NET_BIND_SERVICE\n", ended.out)
        self.assertIn("\nLoadCredential=key.pem:/etc/tls/key.pem\n", ended.out)
        self.assertIn(" --key ${CREDENTIALS_DIRECTORY}/key.pem\n", ended.out)


class UninstallTests(InstallCase):
    """
    C{uninstall}.
    """

    @override
    def setUp(self) -> None:
        """
        Install the node.
        """
        super().setUp()
        self.make_node()
        self.assertEqual(self.ask("install").status, 0)

    def test_kept(self) -> None:
        """
        The service is stopped and the unit removed; the state stays.
        """
        ended = self.ask("uninstall")
        self.assertEqual((ended.status, ended.out), (0, f"removed {self.unit}\n"))
        self.assertEqual(
            self.orders(),
            [
                "systemctl --user is-system-running",
                "systemctl --user disable --now atmosphere.service",
                "systemctl --user daemon-reload",
                "systemctl --user reset-failed atmosphere.service",
            ],
        )
        self.assertFalse(self.unit.exists())
        self.assertTrue(NodeStore.exists(self.state))
        self.refused(1, "nothing is installed", "uninstall")

    def test_purged(self) -> None:
        """
        C{--purge} deletes the state too, if somebody agrees, and no node runs there.
        """
        self.refused(2, "--yes", "uninstall", "--purge")
        self.assertTrue(self.unit.exists())
        with NodeStore.open(self.state, wall=lambda: 0.0):
            self.refused(1, "in use by another process", "uninstall", "--purge", "--yes")
        self.assertTrue(self.unit.exists())
        ended = self.ask("uninstall", "--purge", "--yes", "--json")
        self.assertTrue(json.loads(ended.out)["purged"])
        self.assertFalse(self.state.exists())

    def test_no_systemd(self) -> None:
        """
        Where no systemd runs the unit is removed all the same, with the link that starts it.
        """
        wants = self.unit.parent / "default.target.wants"
        wants.mkdir()
        (wants / self.unit.name).symlink_to(self.unit)
        ended = self.ask("uninstall", env={"PATH": "/nonexistent"})
        self.assertEqual(ended.status, 0, ended)
        self.assertEqual(list(wants.iterdir()), [])

    def test_relay(self) -> None:
        """
        The relay's unit is another, and it has no state to purge.
        """
        self.refused(1, "nothing is installed", "uninstall", "--relay")
        self.refused(2, "keeps no state", "uninstall", "--relay", "--purge")
        self.assertTrue(self.unit.exists())


class PlanTests(SynchronousTestCase):
    """
    What is found out about this machine.
    """

    def test_program(self) -> None:
        """
        The program is the one that was started, else the one beside this Python,
        else this Python itself.
        """
        directory = Path(self.mktemp()).absolute()
        directory.mkdir()
        program = directory / "atmosphere"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        relative = os.path.relpath(program)
        self.assertEqual(find_program(relative, "/nonexistent"), (str(program),))
        self.assertEqual(find_program("/usr/bin/trial", str(directory)), (str(program),))
        program.chmod(0o644)
        found = find_program(str(program), "/nonexistent")
        self.assertEqual((found[0], found[1:3]), (sys.executable, ("-P", "-c")))

    def test_files(self) -> None:
        """
        Files get their whole names; what is secret is handed over by systemd.
        """
        arguments = with_whole_names(["--cert", "a.pem", "--key=b.pem", "--name", "--cert"])
        here = os.getcwd()
        self.assertEqual(arguments[:4], ["--cert", f"{here}/a.pem", "--key", f"{here}/b.pem"])
        changed, credentials = with_credentials(arguments[:4])
        self.assertEqual(changed[1::2], [credential("cert.pem"), credential("key.pem")])
        self.assertEqual(credentials, {"cert.pem": f"{here}/a.pem", "key.pem": f"{here}/b.pem"})

    def test_hostile_files(self) -> None:
        """
        The name of a file that root hands over brings no settings of its own into the unit.
        """
        for name in ("/a\nExecStartPre=+/bin/true", "/a\rb", "/a\x85b", "/a\\", "/a "):
            self.assertRaises(ConfigurationError, with_credentials, ["--cert", name])

    def test_rights(self) -> None:
        """
        A service of the system is root's to make; one of one's own is not.
        """
        check_rights(is_system=True, user=0)
        check_rights(is_system=False, user=1000)
        self.assertRaises(ConfigurationError, check_rights, is_system=True, user=1000)

    def test_closed(self) -> None:
        """
        A directory that other users cannot enter is found on the way to a program.
        """
        directory = Path(self.mktemp()).absolute()
        directory.mkdir(mode=0o700)
        file = directory / "program"
        file.write_text("")
        self.assertEqual(closed_to_others([file]), directory)
        if closed_to_others([Path("/bin/sh")]) is not None:
            raise SkipTest("this machine's programs are closed to others")
