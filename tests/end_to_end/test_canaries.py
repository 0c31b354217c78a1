"""
No secret is ever seen where it does not belong: all that the processes of a
session print, log, serve and show in the list of processes is searched for them.
"""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterator
from pathlib import Path

from atmosphere.mesh.join_code import JoinCode
from atmosphere.node.store import NodeStore
from tests.end_to_end.harness import EndToEndTestCase, Machine, Relay

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
    yield base64.b32encode(secret).rstrip(b"=")[:-2]
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

    def test_session(self) -> None:
        """
        A relay, two nodes, a code that is refused, one that is used, all with every
        word logged: neither the code's secret nor any private key is in what comes
        out but in the code itself, and no file holds the secret.
        """
        relay = Relay(self, "-vv")
        portland, seattle = Machine(self, "portland"), Machine(self, "seattle")
        portland.init("--relay", relay.url)
        portland.serve("-vv")
        code = portland.json("invite")["code"]
        secret = JoinCode.from_compact(code).secret
        assert secret is not None
        printed = self.ended.pop()[1].out
        self.assertIn(code, printed)
        self.assertTrue(find(secret.reveal(), base64.urlsafe_b64decode(code[5:])))

        seattle.init()
        seattle.serve("-vv", "--log-format", "json")
        damaged = code[:-8] + ("AAAA" if code[-8:-4] != "AAAA" else "BBBB") + code[-4:]
        seattle.run("join", "-", stdin=damaged, status=4)
        seattle.run("join", "-", stdin=code)
        seattle.wait_until_connected("portland")
        salem = Machine(self, "salem")
        ended = salem.run("-vv", "join", "-", "--json", stdin=code, status=4)
        self.assertNotIn("Traceback", ended.err)
        for machine in (portland, seattle):
            for command in ("status", "peers", "network"):
                machine.json(command)
            machine.run("ping", "-c", "1", "portland" if machine is seattle else "seattle")
        portland.json("invite", "list")
        pages = [self.fetch(relay.port, path) for path in ("/health", "/stats", "/", "/x")]

        seen = b"\n".join(
            [
                *(f"{each.out}\n{each.err}".encode() for each in self.programs),
                *(
                    f"{arguments}\n{each.out}\n{each.err}".encode()
                    for arguments, each in self.ended
                ),
                *pages,
                self.processes(),
            ]
        )
        self.assertGreater(len(seen), 5000)
        secrets = {"the code's secret": secret.reveal()}
        for machine in (portland, seattle, salem):
            with NodeStore.peek(machine.state, wall=lambda: 0.0) as store:
                secrets[f"the key of {machine.name}"] = store.key.seed.reveal()
                root = store.root_key()
                if root is not None:
                    secrets["the mesh's root key"] = root.seed.reveal()
        self.assertEqual(len(secrets), 5)
        for name, each in secrets.items():
            self.assertIsNone(find(each, seen), name)
        node_id = portland.json("status")["node_id"]
        for page in pages:
            self.assertNotIn(node_id.encode(), page)

        for machine in (portland, seattle, salem):
            assert machine.node is None or machine.node.stop().status == 130
            for file in machine.state.iterdir():
                if file.is_file():
                    content = file.read_bytes()
                    self.assertIsNone(find(secret.reveal(), content), file.name)
                    self.assertEqual(file.stat().st_mode & 0o077, 0, file.name)
