"""
No secret is ever seen where it does not belong: all that the processes of a
session print, log, serve and show in the list of processes is searched for them.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote_from_bytes

from atmosphere.identity import NodeKey
from atmosphere.membership import found_mesh
from atmosphere.mesh.backup import MeshBackup
from atmosphere.mesh.invitation import invitation_key, invitation_of
from atmosphere.mesh.join_code import JoinCode, issue_join_code
from atmosphere.node.control_routes import ROUTES
from atmosphere.node.store import NodeStore
from tests.end_to_end.harness import EndToEndTestCase, Machine, Relay, free_port

#: Requests with a code, given as C{None}, where it does not belong.
WRONG: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/ping", {"peer": None}),
    ("/v1/ping", {"peer": "nobody", "rubbish": None}),
    ("/v1/invite", {"mesh_name": None}),
    ("/v1/invite", {"hours": None}),
    ("/v1/mesh", {"name": None}),
    ("/v1/network", {"stun": [None]}),
    ("/v1/invitations/revoke", {"invite_id": None}),
    ("/v1/requests/approve", {"request": None}),
    ("/v1/requests/deny", {"request": None}),
    ("/v1/join", {"code": None, "timeout": None}),
    ("/v1/join", {"code": [None]}),
    ("/v1/join", {"code": None}),
    ("/v1/services/unexpose", {"service": None}),
    ("/v1/services/unforward", {"listen": None}),
    ("/v1/services/expose", {"service": None, "target": "9", "to": ["portland"]}),
    ("/v1/services/expose", {"service": "web", "target": None, "to": ["portland"]}),
    ("/v1/services/expose", {"service": "web", "target": "9", "to": [None]}),
    ("/v1/services/forward", {"listen": None, "peer": "portland", "service": "web"}),
    ("/v1/services/forward", {"listen": "1", "peer": None, "service": "web"}),
    ("/v1/services/forward", {"listen": "1", "peer": "portland", "service": None}),
)

#: The shortest piece of a secret that counts as found.
PIECE = 12


def spellings(secret: bytes) -> Iterator[bytes]:
    """
    List the ways in which a secret may stand in a text: as it is, in hexadecimal,
    as Python writes bytes, in base32, and in base64, also amid other bytes.
    """
    yield secret
    yield secret.hex().encode()
    yield secret.hex(" ").encode()
    yield repr(secret)[2:-1].encode()
    yield repr(list(secret))[1:-1].encode()
    yield quote_from_bytes(secret, safe="").encode()
    yield str(int.from_bytes(secret, "big")).encode()
    yield str(int.from_bytes(secret, "little")).encode()
    for offset in range(5):
        text = base64.b32encode(bytes(offset) + secret).rstrip(b"=")
        yield text[-(-offset * 8 // 5) : -2]
    for offset in range(3):
        text = base64.b64encode(bytes(offset) + secret)
        yield text[4 if offset else 0 : -4]


def find(secret: bytes, text: bytes) -> bytes | None:
    """
    Find a secret, or a good piece of one, in some spelling, in capitals or not.

    @return: how it is spelled.
    """
    folded = text.lower()
    for spelling in spellings(secret):
        for url_safe in (spelling, spelling.replace(b"+", b"-").replace(b"/", b"_")):
            piece = url_safe[: max(PIECE, len(url_safe) // 2)].lower()
            if piece in folded:
                return url_safe
    return None


def fill(value: Any, text: str) -> Any:
    """
    Put a text in the place of each C{None}.
    """
    match value:
        case None:
            return text
        case dict():
            return {fill(key, text): fill(each, text) for key, each in value.items()}
        case list():
            return [fill(each, text) for each in value]
        case _:
            return value


def core(code: str) -> bytes:
    """
    Cut out of a code that part of its text in which the secret is.
    """
    place = base64.urlsafe_b64decode(code[5:]).index(b'"secret":"') + 10
    start = 5 + -(-place // 3) * 4
    return code[start : start + 20].encode()


class CanaryTests(EndToEndTestCase):
    """
    A session that logs all it can.
    """

    def processes(self) -> bytes:
        """
        Collect what the list of processes shows of those that run.
        """
        found = b""
        for program in self.programs:
            path = Path(f"/proc/{program.pid}/cmdline")
            if program.is_running() and path.exists():
                found += path.read_bytes() + b"\n"
        return found

    def fetch(self, port: int, path: str) -> bytes:
        """
        Ask a relay's web pages.
        """
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            head = repr(response.getheaders()).encode()
            return head + response.read()
        finally:
            connection.close()

    def test_search(self) -> None:
        """
        The search itself finds a secret in each spelling, and nothing in other text.
        """
        secret = bytes(range(7, 23))
        for spelling in spellings(secret):
            self.assertTrue(find(secret, b"x" + spelling + b"y"), spelling)
        self.assertTrue(find(secret, base64.urlsafe_b64encode(b'{"a":"' + secret + b'"}')))
        self.assertIsNone(find(secret, bytes(range(8, 24)).hex().encode()))
        body = b'{"a":"","secret":"' + base64.urlsafe_b64encode(secret) + b'"}'
        code = "atm1-" + base64.urlsafe_b64encode(body).decode()
        self.assertIn(base64.urlsafe_b64decode(core(code)), base64.urlsafe_b64encode(secret))

    def ask(self, machine: Machine, path: str, body: dict[str, Any] | None = None) -> bytes:
        """
        Ask a local API, and hand out all that comes back.
        """
        client = http.client.HTTPConnection("localhost", timeout=20)
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.settimeout(20)
        client.sock.connect(str(machine.state / "control.sock"))
        with closing(client):
            text = None if body is None else json.dumps(body)
            client.request("GET" if body is None else "POST", path, text)
            response = client.getresponse()
            return repr(response.getheaders()).encode() + response.read()

    def ask_all(self, machine: Machine, code: str) -> list[bytes]:
        """
        Ask all that can be asked, and give the code where it does not belong.
        """
        self.assertLessEqual({each for each, _ in WRONG}, {each.decode() for each in ROUTES})
        found = [
            self.ask(machine, path.decode())
            for path, methods in ROUTES.items()
            if b"GET" in methods
        ]
        for path, body in WRONG:
            for text in (code, code[5:]):
                found.append(self.ask(machine, path, fill(body, text)))
        found.append(self.ask(machine, "/v1/status?" + code))
        found.append(self.ask(machine, "/" + code))
        return found

    def environments(self) -> bytes:
        """
        Collect the environments of those that run.
        """
        running = [each for each in self.programs if each.is_running()]
        return b"\n".join(Path(f"/proc/{each.pid}/environ").read_bytes() for each in running)

    def backup(self, portland: Machine, salem: Machine) -> list[bytes]:
        """
        Make a sealed backup, and restore it with the wrong and the right passphrase.

        @return: its passphrases.
        """
        words = [b"canary of the coal mine", b"some other little bird"]
        files = []
        for number, each in enumerate(words):
            files.append(self.folder / f"passphrase-{number}")
            files[-1].write_bytes(each + b"\n")
        backup = str(self.folder / "home.backup")
        option = "--passphrase-file"
        portland.run("mesh", "backup", backup, option, str(files[0]))
        salem.run("mesh", "restore", backup, option, str(files[1]), status=2)
        salem.run("mesh", "restore", backup, "--json", option, str(files[0]))
        return words

    def join_slowly(self, machine: Machine, code: str, relay: Relay) -> bytes:
        """
        Join by a code in a file while the issuer does not answer, then does.

        @return: what others saw of the processes meanwhile.
        """
        file = self.folder / "code.txt"
        file.write_text(code)
        os.kill(self.programs[1].pid, signal.SIGSTOP)
        joining = self.start(
            "atmosphere", "-vv", "join", str(file), environment=machine.environment
        )
        joining.wait_for(f"{relay.url} welcomed us")
        seen = self.processes() + self.environments()
        os.kill(self.programs[1].pid, signal.SIGCONT)
        joining.wait_for("joined the mesh home")
        self.assertEqual(joining.wait().status, 0)
        self.assertIn(b"code.txt", seen)
        return seen

    def invite(self, machine: Machine, *arguments: str) -> tuple[str, dict[str, bytes]]:
        """
        Make a code, whose printing alone may show it.

        @return: it, and the secrets in it.
        """
        code: str = machine.json("invite", *arguments)["code"]
        printed = self.ended.pop()[1].out
        self.assertIn(code, printed)
        parsed = JoinCode.from_compact(code)
        assert parsed.secret is not None
        key = invitation_key(parsed.secret, parsed.invite_id)
        self.assertTrue(find(parsed.secret.reveal(), base64.urlsafe_b64decode(code[5:])))
        name = parsed.invite_id.hex()[:8]
        return code, {f"secret {name}": parsed.secret.reveal(), f"key {name}": key.reveal()}

    def keys(self, *machines: Machine) -> dict[str, bytes]:
        """
        Collect the private keys of machines.
        """
        found = {}
        for machine in machines:
            with NodeStore.peek(machine.state, wall=lambda: 0.0) as store:
                found[f"the key of {machine.name}"] = store.key.seed.reveal()
                root = store.root_key()
                if root is not None:
                    found["the mesh's root key"] = root.seed.reveal()
        return found

    def check_files(self, machine: Machine, secrets: dict[str, bytes]) -> None:
        """
        Check that no file holds a code's secret, and that none is for others.
        """
        for file in machine.state.iterdir():
            if file.is_file():
                for name, secret in secrets.items():
                    if name.startswith("secret "):
                        self.assertIsNone(find(secret, file.read_bytes()), file.name)
                self.assertEqual(file.stat().st_mode & 0o077, 0, file.name)

    def test_representations(self) -> None:
        """
        What holds a secret does not show it when it is shown itself.
        """
        key, root = NodeKey(os.urandom(32)), NodeKey(os.urandom(32))
        chain = found_mesh(root, key.node_id, "x", wall=1.8e9, entropy=os.urandom)
        code = issue_join_code(
            key, chain, mesh_name="home", endpoint="192.0.2.1:1", wall=1.8e9, entropy=os.urandom
        )
        assert code.secret is not None
        invitation = invitation_of(code)
        holders = [key, root, key.seed, code, code.secret, invitation, MeshBackup(root, "x", chain)]
        shown = "\n".join(
            text for each in holders for text in (repr(each), str(each), f"{each}", repr([each]))
        ).encode()
        for secret in (key.seed, root.seed, code.secret, invitation.key):
            self.assertIsNone(find(secret.reveal(), shown))
        self.assertNotIn(core(code.code), shown)

    def test_session(self) -> None:
        """
        A relay, three nodes, codes that are refused and used, servers, forwards, a
        backup, the local API with codes where they do not belong, all with every
        word logged: neither a code's secret, nor what is derived of it, nor a private
        key, nor a passphrase is in what comes out but in the code itself, and no file
        holds the secret.
        """
        relay = Relay(self, "-vv")
        portland, seattle, salem = (
            Machine(self, each) for each in ("portland", "seattle", "salem")
        )
        portland.init("--relay", relay.url)
        portland.serve("-vv")
        code, secrets = self.invite(portland)
        other, more = self.invite(portland, "--uses", "2")
        seattle.init()
        seattle.serve("-vv", "--log-format", "json")
        damaged = code[:-8] + ("AAAA" if code[-8:-4] != "AAAA" else "BBBB") + code[-4:]
        seattle.run("join", "-", stdin=damaged, status=4)
        seattle.run("join", "-", stdin=code)
        seattle.wait_until_connected("portland")
        seattle.run("join", "-", stdin=other, status=4)
        ended = salem.run("-vv", "join", "-", "--json", stdin=code, status=4)
        self.assertNotIn("Traceback", ended.err)
        while_joining = self.join_slowly(salem, other, relay)
        for machine in (portland, seattle):
            for command in ("status", "peers", "network", "services"):
                machine.json(command)
            machine.run("ping", "-c", "1", "portland" if machine is seattle else "seattle")
        port = str(free_port())
        portland.run("expose", "web", "9", "--to", "seattle", "--keep")
        seattle.run("forward", port, "portland:web", "--keep")
        portland.json("invite", "list")
        words = self.backup(portland, salem)
        pages = [self.fetch(relay.port, path) for path in ("/health", "/stats", "/", "/x")]
        replies = self.ask_all(seattle, other)
        seattle.run("leave")
        portland.run("invite", "revoke", JoinCode.from_compact(other).invite_id.hex()[:8])
        seattle.run("join", "-", stdin=other, status=4)

        seen = b"\n".join(
            [
                *(f"{each.out}\n{each.err}".encode() for each in self.programs),
                *(
                    f"{arguments}\n{each.out}\n{each.err}".encode()
                    for arguments, each in self.ended
                ),
                *pages,
                *replies,
                while_joining,
                self.processes(),
                self.environments(),
            ]
        )
        self.assertGreater(len(seen), 40_000)
        secrets |= {**more, **self.keys(portland, seattle, salem)}
        secrets |= {f"passphrase {each!r}": each for each in words}
        self.assertEqual(len(secrets), 10)
        for name, secret in secrets.items():
            self.assertIsNone(find(secret, seen), name)
        for each in (code, other):
            self.assertNotIn(core(each), seen)
        node_id = portland.json("status")["node_id"]
        for page in pages:
            self.assertNotIn(node_id.encode(), page)
        self.assert_no_traceback()

        for machine in (portland, seattle, salem):
            assert machine.node is None or machine.node.stop().status == 130
            self.check_files(machine, secrets)
