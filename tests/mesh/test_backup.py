"""
Tests for L{atmosphere.mesh.backup}.
"""

from dataclasses import replace

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import ConfigurationError, DecodeError
from atmosphere.identity import Secret
from atmosphere.membership import (
    ADMIN,
    MEMBER,
    found_mesh,
    issue_certificate,
    issue_revocations,
    verify_chain,
)
from atmosphere.mesh.backup import MeshBackup, decode_backup, encode_backup, is_sealed
from tests.mesh_fixtures import (
    ADMIN_CHAIN,
    ADMIN_KEY,
    ALICE,
    BOB,
    MESH,
    ROOT,
    STRANGER,
    WALL,
    Counted,
)

REVOCATIONS = issue_revocations(
    ADMIN_KEY, ADMIN_CHAIN, wall=WALL, current=None, keys=[ALICE.node_id]
)
BACKUP = MeshBackup(ROOT, "home", ADMIN_CHAIN, REVOCATIONS.encoded)
PASSPHRASE = Secret(b"correct horse")
OPEN = encode_backup(BACKUP, None, entropy=Counted())
SEALED = encode_backup(BACKUP, PASSPHRASE, entropy=Counted())


class BackupTests(SynchronousTestCase):
    """
    A mesh outlives the machine that founded it.
    """

    def test_relays(self) -> None:
        """
        A backup may name relays, of reasonable number and length.
        """
        urls = tuple(f"wss://relay-{number}.example" for number in range(16))
        data = encode_backup(replace(BACKUP, relays=urls), None, entropy=Counted())
        self.assertEqual(decode_backup(data, None).relays, urls)
        data = encode_backup(replace(BACKUP, relays=("x" * 513,)), None, entropy=Counted())
        self.assertRaises(DecodeError, decode_backup, data, None)

    def assert_same(self, found: MeshBackup) -> None:
        """
        Check that a backup holds what was put in.
        """
        self.assertEqual(found.root.node_id, ROOT.node_id)
        self.assertEqual(replace(found, root=ROOT), BACKUP)
        self.assertEqual(found.mesh_id, MESH)

    def test_round_trip(self) -> None:
        """
        With a passphrase and without, what was put by comes back.
        """
        self.assertFalse(is_sealed(OPEN))
        self.assert_same(decode_backup(OPEN, None))
        self.assert_same(decode_backup(OPEN, PASSPHRASE))
        self.assertTrue(is_sealed(SEALED))
        self.assert_same(decode_backup(SEALED, PASSPHRASE))
        bare = replace(BACKUP, revocations=None)
        found = decode_backup(encode_backup(bare, None, entropy=Counted()), None)
        self.assertIsNone(found.revocations)

    def test_another_machine_admits(self) -> None:
        """
        With a backup another node becomes an admin of the same mesh.
        """
        found = decode_backup(SEALED, PASSPHRASE)
        chain = issue_certificate(
            found.root,
            found.chain,
            BOB.node_id,
            "new-portland",
            roles=frozenset({MEMBER, ADMIN}),
            wall=WALL,
            entropy=Counted(),
        )
        membership = verify_chain(
            chain, BOB.node_id, mesh_id=MESH, wall=WALL, revocations=REVOCATIONS
        )
        self.assertTrue(membership.is_admin)

    def test_passphrase(self) -> None:
        """
        No or the wrong passphrase gives nothing, and says so.
        """
        for passphrase in (None, Secret(b""), Secret(b"correct horsf")):
            self.assertRaises(ConfigurationError, decode_backup, SEALED, passphrase)
        self.assertNotIn(ROOT.seed.reveal(), SEALED)
        self.assertIn(ROOT.seed.reveal(), OPEN)
        self.assertNotIn(repr(ROOT.seed.reveal())[2:-1], repr(BACKUP))

    def test_damaged(self) -> None:
        """
        A changed, cut or foreign file is refused.
        """
        for data in (b"", b"hello", SEALED[:50], SEALED[:18], OPEN[:20], OPEN + b"\0"):
            self.assertRaises(DecodeError, decode_backup, data, PASSPHRASE)
        later = OPEN[:16] + b"\2" + OPEN[17:]
        self.assertIn("format 2", str(self.assertRaises(DecodeError, decode_backup, later, None)))
        self.assertRaises(DecodeError, is_sealed, OPEN[:17] + b"\2" + OPEN[18:])
        unsealed = SEALED[:17] + b"\0" + SEALED[18:]
        self.assertRaises(DecodeError, decode_backup, unsealed, None)
        for place in (20, 40, len(SEALED) - 1):
            changed = bytearray(SEALED)
            changed[place] ^= 1
            self.assertRaises(ConfigurationError, decode_backup, bytes(changed), PASSPHRASE)

    def test_contradictions(self) -> None:
        """
        A key that is no root of the mesh, or another mesh's list, is refused.
        """
        own = found_mesh(STRANGER, STRANGER.node_id, "x", wall=WALL, entropy=Counted())
        other = issue_revocations(STRANGER, own, wall=WALL, current=None).encoded
        for bad in (replace(BACKUP, root=STRANGER), replace(BACKUP, revocations=other)):
            data = encode_backup(bad, None, entropy=Counted())
            self.assertRaises(DecodeError, decode_backup, data, None)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=100), st.booleans())
    def test_any_bytes(self, data: bytes, has_header: bool) -> None:
        """
        Random bytes are no backup.
        """
        data = OPEN[:18] + data if has_header else data
        self.assertRaises(DecodeError, decode_backup, data, None)
