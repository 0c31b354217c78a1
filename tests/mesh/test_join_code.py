"""
Tests for L{atmosphere.mesh.join_code}.
"""

import base64
import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings, strategies as st
from twisted.trial.unittest import SynchronousTestCase

from atmosphere.errors import AtmosphereError, DecodeError, JoinError
from atmosphere.identity import Secret
from atmosphere.mesh.join_code import DOMAIN, JoinCode, Ticket, check_ticket, issue_join_code
from tests.mesh_fixtures import (
    ADMIN_CHAIN,
    ADMIN_KEY,
    ALICE,
    OLD_CODE,
    STRANGER,
    WALL,
    Counted,
    admit,
    make_admin,
)

RELAYS = ["wss://relay-one.example.org:8443/", "ws://relay-two.example.org:8080"]

#: A code as it was first written; it must be readable for ever.
PINNED = (
    "eyJtZXNoX2lkIjoibWVzaC1vdHhsZGV4emI1a21vNW52YTI3ZnVzaXMzeCIsIm1lc2hfbmFtZSI6ImhvbWUiLCJt"
    "ZXNoX3B1YmxpY19rZXkiOiJya2VvaHhsdWJoeXpsN2tzM213dHpvczVvbGZnb2NuN2R3a2JlZzd0b3NlYWRuYXBu"
    "NW9hIiwiZW5kcG9pbnQiOiIxOTIuMTY4LjE3OC4yMDo3Nzc3IiwiY3JlYXRlZF9hdCI6MTgwMDAwMDAwMCwiZXhw"
    "aXJlc19hdCI6MTgwMDA4NjQwMCwicHVibGljX2VuZHBvaW50IjoiMjAzLjAuMTEzLjI1MDoxNzc3NyIsInJlbGF5"
    "X3VybHMiOlsid3NzOi8vcmVsYXktb25lLmV4YW1wbGUub3JnOjg0NDMvIiwid3M6Ly9yZWxheS10d28uZXhhbXBs"
    "ZS5vcmc6ODA4MCJdLCJ2IjoxLCJpc3N1ZXJzIjpbInFlNHhvZHZpcHVsdjZ2dmRrcnRtZ3RkNnp0ZnkzY3Vyd3R4"
    "ZHBpczU2eWh2eGQ2andva2EiXSwiaW52aXRlIjoiQUFBQUFBQUFBQUFBQUFBQUFBQUFBUSIsImNoYWluIjoiZ2xn"
    "dnBBQUJBWUZZSUlxSTQ5MTBDZkdWX1ZMYkxUeTZYWExLWndtX0haUVNHX04waUFHMEQyOWNBZ0VER210SjBnQlkx"
    "YWtBQVFGNEgyMWxjMmd0YjNSNGJHUmxlSHBpTld0dGJ6VnVkbUV5TjJaMWMybHpNM2dDVUFBQUFBQUFBQUFBQUFB"
    "QUFBQUFBQUVEV0NDQk9YY09xSDBYWDFhalZHYkRUSDdNeTQyS2tiVHVONkpkOWc5Ymo4bXpsQVJvY0c5eWRHeGhi"
    "bVFGQXdZYWEwblNBQWNhYThCNUFBaFlJSXFJNDkxMENmR1ZfVkxiTFR5NlhYTEtad21fSFpRU0dfTjBpQUcwRDI5"
    "Y2hLbzJ3eXNSMThQd2hRbTQtMkpHOGZRZmpIbEcxWXVHVm04cGsxbEVTcl8wUU1NSnFLaE1PNkdHMHFsYTRnWlN0"
    "MEVKSkMxVlRDUWU1MDlLMUxkbERRIiwic2VjcmV0IjoiQUFBQUFBQUFBQUFBQUFBQUFBQUFBZyIsInNpZ25hdHVy"
    "ZSI6ImRXaDgySVl1Q3VuRXExR3JhTDlEbzY3NzUzZHc2RlRNcmNocU1PdXlrSzlDRGpoLVF4Rm14Zl8yZXhBbWZX"
    "ak1CZ3RTN2RUbDlsZUFWOWk4UW1lckJRIn0="
)


def make(**changes: Any) -> JoinCode:
    """
    Make a code by the admin.
    """
    arguments: dict[str, Any] = {
        "mesh_name": "home",
        "endpoint": "192.168.178.20:7777",
        "public_endpoint": "203.0.113.250:17777",
        "relay_urls": RELAYS,
        "wall": WALL,
        "entropy": Counted(),
    }
    return issue_join_code(ADMIN_KEY, ADMIN_CHAIN, **(arguments | changes))


def compact(text: str) -> str:
    """
    Write any JSON as a code.
    """
    return base64.urlsafe_b64encode(text.encode()).decode()


def resign(code: JoinCode, **changes: object) -> str:
    """
    Write a code with other values, signed again by the admin.
    """
    values = code.to_dict() | changes
    secret = values.pop("secret")
    del values["signature"]
    values = {key: value for key, value in values.items() if value is not None}
    body = json.dumps(values, separators=(",", ":"))[:-1]
    signature = base64.urlsafe_b64encode(ADMIN_KEY.sign(DOMAIN + body.encode())).decode()
    return compact(f'{body},"secret":"{secret}","signature":"{signature.rstrip("=")}"}}')


class JoinCodeTests(SynchronousTestCase):
    """
    A code says where to go and carries a secret.
    """

    def test_round_trip(self) -> None:
        """
        What one machine writes the other reads, with and without prefix, wrapped or not.
        """
        code = make(endpoints=["[2001:db8::1]:7777"], uses=5)
        self.assertTrue(code.code.startswith("atm1-"))
        text = code.to_compact()
        wrapped = "\n".join(code.code[start : start + 60] for start in range(0, 2000, 60))
        for form in (text, code.code, f"  {code.code}\n", text.rstrip("="), wrapped):
            back = JoinCode.from_compact(form)
            self.assertEqual(back, code)
            assert back.secret is not None and code.secret is not None
            self.assertEqual(back.secret.reveal(), code.secret.reveal())
            self.assertEqual(back.to_compact(), text)
        self.assertEqual(JoinCode.from_dict(code.to_dict()), code)
        self.assertFalse(code.is_old)
        self.assertEqual(code.issuer, ADMIN_KEY.node_id)

    def test_pinned(self) -> None:
        """
        A code of version 1 stays readable, and is still written the same.
        """
        code = JoinCode.from_compact(PINNED)
        self.assertEqual(code.mesh_id, "mesh-otxldexzb5kmo5nva27fusis3x")
        self.assertEqual(code, make())
        self.assertEqual(code.to_compact(), PINNED)
        self.assertEqual(code.check_at(WALL).name, "portland")

    def test_original_keys_come_first(self) -> None:
        """
        The original's keys stand in its order, so its own reader would find them.
        """
        values = json.loads(base64.urlsafe_b64decode(make().to_compact()))
        self.assertEqual(list(values)[:8], [key for key in OLD_CODE if key != "code"])
        self.assertEqual(list(values)[-2:], ["secret", "signature"])

    def test_size(self) -> None:
        """
        With two relays a code has less than one and a half KiB.
        """
        code = make(relay_urls=[f"wss://relay-{n}.example.org:8443/" for n in ("one", "two")])
        self.assertLess(len(code.code), 1300)
        self.assertLess(len(code.ticket()), 1024)

    def test_secret_is_not_shown(self) -> None:
        """
        Neither the representation nor the ticket holds the secret.
        """
        code = make()
        secret = code.to_dict()["secret"]
        self.assertNotIn("secret", repr(code))
        self.assertNotIn(secret, repr(code))
        self.assertNotIn(secret.encode(), code.ticket())

    def test_expiry(self) -> None:
        """
        A code runs out to the second, and comes from no future.
        """
        code = make(lifetime=3600)
        self.assertFalse(code.is_expired_at(WALL + 3599))
        self.assertTrue(code.is_expired_at(WALL + 3600))
        self.assertIn("expired", str(self.assertRaises(JoinError, code.check_at, WALL + 3600)))
        self.assertEqual(code.check_at(WALL - 600).node, ADMIN_KEY.node_id)
        self.assertIn("future", str(self.assertRaises(JoinError, code.check_at, WALL - 601)))

    def test_only_admins_issue(self) -> None:
        """
        A member cannot make a code, nor can anybody with a chain that is not theirs.
        """
        chain = admit(ALICE.node_id, "seattle")
        arguments = {"mesh_name": "home", "endpoint": "192.0.2.1:7777", "wall": WALL}
        error = self.assertRaises(
            JoinError, issue_join_code, ALICE, chain, entropy=Counted(), **arguments
        )
        self.assertIn("no admin", str(error))
        for key, other in ((STRANGER, ADMIN_CHAIN), (ADMIN_KEY, chain)):
            self.assertRaises(
                AtmosphereError, issue_join_code, key, other, entropy=Counted(), **arguments
            )

    def test_bad_arguments(self) -> None:
        """
        What could not be read back is not written.
        """
        for changes in (
            {"mesh_name": ""},
            {"mesh_name": "x" * 64},
            {"mesh_name": "a\x1b[1m"},
            {"endpoint": "host.example:7777"},
            {"endpoint": "192.0.2.1"},
            {"public_endpoint": "[::ffff:192.0.2.1]:1"},
            {"relay_urls": ["https://example.org"]},
            {"relay_urls": ["ws://user@example.org"]},
            {"relay_urls": ["ws://"]},
            {"relay_urls": ["ws://a:99999"]},
            {"relay_urls": ["ws://a/#b"]},
            {"relay_urls": ["ws://a b"]},
            {"relay_urls": ["ws://a.example"] * 9},
            {"relay_urls": [f"ws://{'a' * 200}.example"] * 4},
            {"endpoints": ["192.0.2.1:7777"] * 9},
            {"lifetime": 7 * 86400 + 1},
            {"uses": 0},
            {"uses": 1001},
        ):
            self.assertRaises(DecodeError, make, **changes)
        self.assertRaises(JoinError, make, lifetime=0)


class ForgeryTests(SynchronousTestCase):
    """
    Nobody changes a code unnoticed.
    """

    def test_each_changed_value(self) -> None:
        """
        Any value that was changed breaks the signature; the secret is apart.
        """
        code = make(uses=2)
        for key, value in code.to_dict().items():
            if key in ("secret", "v"):
                continue
            changed = value + 1 if isinstance(value, int) else value[:-1]
            self.assertRaises(DecodeError, JoinCode.from_dict, code.to_dict() | {key: changed})
        other = JoinCode.from_dict(code.to_dict() | {"secret": "A" * 22})
        self.assertEqual(other.ticket(), code.ticket())

    def test_signed_but_impossible(self) -> None:
        """
        Even the issuer cannot sign a code that contradicts itself.
        """
        code = make()
        other = issue_join_code(
            STRANGER,
            make_admin(STRANGER.node_id, "tacoma"),
            mesh_name="home",
            endpoint="192.0.2.1:7777",
            wall=WALL,
            entropy=Counted(),
        ).to_dict()
        bad: tuple[dict[str, object], ...] = (
            {"mesh_id": "mesh-" + "a" * 26},
            {"mesh_public_key": str(ADMIN_KEY.node_id)},
            {"chain": other["chain"]},
            {"chain": "AAAA"},
            {"chain": None},
            {"issuers": other["issuers"]},
            {"issuers": code.to_dict()["issuers"] * 4},
            {"issuers": []},
            {"issuers": ["a" * 52]},
            {"invite": "AAAA"},
            {"invite": "A" * 21 + "B"},
            {"uses": 1},
            {"uses": True},
            {"created_at": 1.5},
            {"expires_at": code.created_at},
            {"v": 2},
            {"more": 1},
            {"relay_urls": [["ws://a"]]},
        )
        for changes in bad:
            self.assertRaises(DecodeError, JoinCode.from_compact, resign(code, **changes))
        self.assertEqual(JoinCode.from_compact(resign(code)), code)

    def test_second_spelling(self) -> None:
        """
        Another text for the same values is no code, even with a good signature.
        """
        code = make()
        raw = base64.urlsafe_b64decode(code.to_compact()).decode()
        for changed in (
            raw.replace('"v":1', '"v": 1'),
            raw.replace('"v":1', '"v":1,"v":1'),
            raw + " ",
            raw[:-1] + ',"z":1}',
            raw.replace('"secret"', '"Secret"'),
        ):
            self.assertRaises(DecodeError, JoinCode.from_compact, compact(changed))
        body = code.signed_body().replace(b'"v":1', b'"v": 1')
        signature = ADMIN_KEY.sign(DOMAIN + body)
        error = self.assertRaises(
            JoinError, check_ticket, body + signature, mesh_ids=None, wall=WALL
        )
        self.assertIn("contradicts", str(error))

    def test_chain_must_hold(self) -> None:
        """
        A code whose issuer is a member only, or whose chain has ended, is of no use.
        """
        chain = admit(ALICE.node_id, "seattle")
        code = make()
        values = replace(code, issuers=(ALICE.node_id,), chain=chain)
        signed = replace(values, signature=ALICE.sign(DOMAIN + values.signed_body()))
        read = JoinCode.from_compact(signed.to_compact())
        self.assertIn("no admin", str(self.assertRaises(JoinError, read.check_at, WALL)))
        late = WALL + 90 * 86400 - 3600
        code = make(wall=late)
        self.assertIn(
            "cannot admit", str(self.assertRaises(JoinError, code.check_at, late + 2 * 3600))
        )


class TicketTests(SynchronousTestCase):
    """
    A relay lets a joiner in on its ticket, with no database.
    """

    def test_good(self) -> None:
        """
        The ticket names the one node that the joiner may talk to, and until when.
        """
        code = make()
        expected = Ticket(code.mesh_id, ADMIN_KEY.node_id, code.invite_id, code.expires_at)
        for mesh_ids in (None, {code.mesh_id}, [code.mesh_id, "mesh-other"]):
            self.assertEqual(check_ticket(code.ticket(), mesh_ids=mesh_ids, wall=WALL), expected)

    def test_refused(self) -> None:
        """
        Another mesh, an end, a changed byte, an old code: not let in.
        """
        code = make()
        ticket = code.ticket()
        for bad, mesh_ids, wall in (
            (ticket, {"mesh-other"}, WALL),
            (ticket, set(), WALL),
            (ticket, None, code.expires_at),
            (ticket[:-1] + bytes([ticket[-1] ^ 1]), None, WALL),
            (ticket.replace(b'"v":1', b'"v":2'), None, WALL),
            (b"", None, WALL),
            (b"{" * 100, None, WALL),
        ):
            self.assertRaises(JoinError, check_ticket, bad, mesh_ids=mesh_ids, wall=wall)
        old = JoinCode.from_dict(OLD_CODE)
        self.assertRaises(JoinError, old.ticket)

    def test_no_code_from_a_ticket(self) -> None:
        """
        Without the secret no code can be written.
        """
        self.assertRaises(ValueError, replace(make(), secret=None).to_compact)


class OldCodeTests(SynchronousTestCase):
    """
    Codes of the original program are read for what they are.
    """

    def test_read(self) -> None:
        """
        The first six keys are enough; the rest is kept when it is there.
        """
        code = JoinCode.from_compact(compact(json.dumps(OLD_CODE)))
        self.assertTrue(code.is_old)
        self.assertEqual(code.code, "HOME-1234")
        self.assertEqual(code.expires_at, 1700086400.25)
        self.assertEqual(code.relay_urls, ["wss://relay.example.org"])
        self.assertIsNone(code.public_endpoint)
        self.assertEqual(JoinCode.from_compact(code.to_compact()), code)
        first = {key: OLD_CODE[key] for key in list(OLD_CODE)[:6]}
        bare = JoinCode.from_dict(first)
        self.assertEqual(bare.to_dict(), first)
        self.assertEqual(bare.code, bare.to_compact())
        self.assertEqual(bare, JoinCode(*first.values()))  # type: ignore[arg-type]
        self.assertRaises(JoinError, bare.check_at, 1700000001)
        for key in first:
            rest = {other: value for other, value in OLD_CODE.items() if other != key}
            self.assertRaises(DecodeError, JoinCode.from_dict, rest)

    def test_no_relays(self) -> None:
        """
        A program without relays may say so by leaving them out, or by an empty list.
        """
        nothing: tuple[list[str] | None, ...] = (None, [])
        for relays in nothing:
            code = JoinCode.from_dict({**OLD_CODE, "relay_urls": relays})
            self.assertIsNone(code.relay_urls)
            self.assertNotIn("relay_urls", code.to_dict())

    def test_bad_values(self) -> None:
        """
        What JSON lets through, such as endless numbers, is refused.
        """
        text = json.dumps(OLD_CODE)
        for old, new in (
            ("1700000000.25", "NaN"),
            ("1700000000.25", "1e999"),
            ("1700000000.25", "-1"),
            ("1700000000.25", "true"),
            ('"Home"', '"Ho\\ud800me"'),
            ('"Home"', '"\\u001b[2J"'),
            ('"Home"', "[" * 9 + "]" * 9),
            ('"Home"', "[" * 700 + "]" * 700),
            ('"mesh_name"', '"mesh_id"'),
            ('["wss://relay.example.org"]', "[1]"),
            ('["wss://relay.example.org"]', '"wss://relay.example.org"'),
        ):
            self.assertIn(old, text)
            self.assertRaises(DecodeError, JoinCode.from_compact, compact(text.replace(old, new)))
        self.assertRaises(DecodeError, JoinCode.from_dict, OLD_CODE | {"mesh_id": object()})
        self.assertRaises(DecodeError, JoinCode.from_dict, OLD_CODE | {"mesh_id": float("nan")})


class AnyTextTests(SynchronousTestCase):
    """
    Whatever is pasted is a code or a clear error.
    """

    def test_not_codes(self) -> None:
        """
        Words, halves and floods are refused.
        """
        code = make().code
        for text in ("", "hello", "atm1-", code[:-9], code[5:200], "A" * 5000, "A" * 2500, "é"):
            self.assertRaises(DecodeError, JoinCode.from_compact, text)
        for text in ("[]", "1", '"a"', "null", "{}", "{", "[" * 1400):
            self.assertRaises(DecodeError, JoinCode.from_compact, compact(text))

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(
        st.text(max_size=200) | st.binary(max_size=150).map(lambda b: base64.b64encode(b).decode())
    )
    def test_any_text(self, text: str) -> None:
        """
        Any text is a code or a L{DecodeError}.
        """
        self.assertRaises(DecodeError, JoinCode.from_compact, text)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from([*OLD_CODE, "v", "issuers", "invite", "chain", "secret", "signature"]),
            st.none() | st.integers() | st.text(max_size=20) | st.lists(st.text(max_size=9)),
        )
    )
    def test_any_values(self, values: dict[str, object]) -> None:
        """
        Any values are a code or a L{DecodeError}.
        """
        try:
            code = JoinCode.from_dict(OLD_CODE | values)
        except DecodeError:
            return
        self.assertEqual(JoinCode.from_compact(code.to_compact()), code)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.integers(0, 2000), st.integers(1, 255))
    def test_any_flipped_byte(self, place: int, change: int) -> None:
        """
        A flipped byte anywhere makes a ticket useless.
        """
        ticket = bytearray(make().ticket())
        ticket[place % len(ticket)] ^= change
        self.assertRaises(JoinError, check_ticket, bytes(ticket), mesh_ids=None, wall=WALL)

    @settings(derandomize=True, max_examples=200, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_ticket(self, ticket: bytes) -> None:
        """
        Any bytes are a ticket or a L{JoinError}.
        """
        self.assertRaises(JoinError, check_ticket, ticket, mesh_ids=None, wall=WALL)

    def test_secret_type(self) -> None:
        """
        The secret is held in a type that does not show itself.
        """
        self.assertIsInstance(make().secret, Secret)
