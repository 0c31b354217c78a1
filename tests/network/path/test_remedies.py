"""
Tests for what would help, and for the sentence that comes first.
"""

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from atmosphere.addresses import TransportAddress
from atmosphere.network.path.explain import ADVERTISED, LinkStory, Verdict, WayStory
from atmosphere.network.path.remedies import Side, remedies, summary
from atmosphere.network.path.selection import PathPolicy
from atmosphere.network.path.ways import DirectWay
from tests.network.path.lane import RELAY, RELAY_TO_B

PUBLIC = TransportAddress("11.0.0.2", 7777)
PRIVATE = TransportAddress("192.168.1.2", 7777)
OTHER = TransportAddress("192.168.7.2", 7777)
IPV6 = TransportAddress("2600::7", 7777)

RELAYED = WayStory(RELAY_TO_B, "relayed", None, Verdict.IN_USE, "answers", rtt=0.041)
FAILED = WayStory(DirectWay(PUBLIC), "punched", None, Verdict.FAILED, "never answered")
REFUSED = WayStory(
    DirectWay(PRIVATE), None, None, Verdict.NOT_TRIED, "a private address", is_refused=True
)

OURS = TransportAddress("11.0.0.1", 7777), TransportAddress("192.168.1.9", 7777)
HERE = Side(None, OURS, 7777, is_udp_working=True, relays=(RELAY,))
THERE = Side("portland", (PUBLIC, PRIVATE), 7777, relays=(RELAY,))


def story(*ways: WayStory, policy: PathPolicy = PathPolicy.AUTO) -> LinkStory:
    """
    Make the story of a link that is relayed.
    """
    return LinkStory((RELAYED, *ways), policy)


class SummaryTests(SynchronousTestCase):
    """
    One sentence.
    """

    def check(self, told: LinkStory | None, expected: str, here: Side = HERE) -> None:
        """
        Compare the sentence.
        """
        self.assertEqual(summary(told, here, THERE), expected)

    def test_direct(self) -> None:
        """
        A direct path is told with its time.
        """
        direct = replace(FAILED, verdict=Verdict.IN_USE, kind="direct", rtt=0.002)
        punched = replace(direct, kind="punched", rtt=None)
        self.check(LinkStory((direct,), PathPolicy.AUTO), "data goes straight to portland, 2.0 ms")
        self.check(
            LinkStory((punched,), PathPolicy.AUTO),
            "data goes to portland directly, through a hole in the NATs",
        )
        self.check(
            LinkStory((punched,), PathPolicy.AUTO),
            "data goes to portland directly, through a hole in its NAT",
            replace(HERE, addresses=OURS[:1]),
        )

    def test_no_link(self) -> None:
        """
        Without a link, or with a silent one, that is said.
        """
        self.check(None, "there is no link to portland")
        self.check(
            replace(story(FAILED), is_silent=True),
            "portland has fallen silent: no way answers at present",
        )
        self.check(
            LinkStory((), PathPolicy.AUTO), "there is a link to portland, and no way is in use"
        )

    def test_relayed(self) -> None:
        """
        A relayed path says why it is not direct.
        """
        start = "data goes to portland through a relay, 41.0 ms: "
        ready = replace(FAILED, verdict=Verdict.READY)
        for told, expected in (
            (story(FAILED), "no direct way has answered"),
            (story(FAILED, policy=PathPolicy.RELAYED), "the path policy says so"),
            (story(replace(FAILED, verdict=Verdict.TRYING)), "direct ways are still being tried"),
            (story(ready), "a direct way works and is held back or in doubt"),
            (
                story(REFUSED),
                "portland names no public address, probably because UDP is blocked there",
            ),
            (
                story(replace(REFUSED, way=DirectWay(PUBLIC))),
                "none of the addresses of portland may be tried",
            ),
            (story(), "portland names no address"),
            (
                story(replace(FAILED, is_too_small=True)),
                "a direct way answers, but loses datagrams of full size",
            ),
            (
                story(replace(FAILED, has_answered=True)),
                "the direct way worked and then fell silent",
            ),
        ):
            self.check(told, start + expected)
        blocked = replace(HERE, is_udp_working=False)
        self.check(story(FAILED), start + "no UDP gets out here", blocked)
        self.check(story(REFUSED), start + "no UDP gets out here, nor probably there", blocked)

    def test_relayed_for_nats(self) -> None:
        """
        What is known of the NATs is part of the sentence, also while the last checks are
        under way.
        """
        doubtful = replace(FAILED, verdict=Verdict.TRYING, is_doubtful=True)
        for ours, theirs, words in (
            (False, False, "both NATs take another port for each peer"),
            (False, True, "this side's NAT takes another port for each peer"),
            (None, False, "the NAT of portland takes another port for each peer"),
        ):
            here = replace(HERE, has_stable_port=ours)
            there = replace(THERE, has_stable_port=theirs)
            for told in (story(FAILED), story(doubtful)):
                self.assertEqual(
                    summary(told, here, there),
                    "data goes to portland through a relay, 41.0 ms: no direct way has"
                    f" answered, for {words}",
                )
        near = replace(story(doubtful), is_near=True)
        self.assertIn("behind the same public address", summary(near, HERE, THERE))


class RemedyTests(SynchronousTestCase):
    """
    What a person can do.
    """

    def check(
        self, told: LinkStory | None, *words: str, here: Side = HERE, there: Side = THERE
    ) -> None:
        """
        See that the first piece of advice says all these words.
        """
        first, *_ = remedies(told, here, there)
        for each in words:
            self.assertIn(each, first)

    def test_nothing(self) -> None:
        """
        What is direct, or about to be, needs no help.
        """
        direct = replace(FAILED, verdict=Verdict.IN_USE)
        ready = replace(FAILED, verdict=Verdict.READY)
        for told in (LinkStory((direct,), PathPolicy.AUTO), LinkStory((), PathPolicy.AUTO)):
            self.assertEqual(remedies(told, HERE, THERE), [])
        self.assertEqual(remedies(story(ready), HERE, THERE), [])

    def test_policy(self) -> None:
        """
        Whoever is relayed because they wanted it is told where they said so.
        """
        self.check(story(FAILED, policy=PathPolicy.RELAYED), "path policy", "ATMOSPHERE_PATHS")

    def test_nats(self) -> None:
        """
        What is known of each side's NAT is said, and which port to forward.
        """
        for ours, theirs, words in (
            (
                False,
                False,
                ("both NATs are address-dependent", "forward UDP port 7777 on either router"),
            ),
            (False, True, ("this side's NAT is address-dependent", "that of portland lets in")),
            (True, False, ("the NAT of portland is address-dependent", "this side's lets in")),
            (False, None, ("this side's NAT is address-dependent", "forward")),
            (None, False, ("the NAT of portland is address-dependent", "forward")),
            (True, True, ("both NATs keep their ports", "firewall")),
            (None, None, ("lets nothing in", "atmosphere network", "forward")),
        ):
            self.check(
                story(FAILED),
                *words,
                here=replace(HERE, has_stable_port=ours),
                there=replace(THERE, has_stable_port=theirs),
            )

    def test_ports(self) -> None:
        """
        Two nodes with different ports are told which is which.
        """
        self.check(
            story(FAILED),
            "forward a UDP port on either router",
            there=replace(THERE, port=7001),
        )
        told = remedies(story(FAILED), HERE, replace(THERE, port=7001))
        self.assertIn("here: UDP port 7777 to 192.168.1.9", told[1])
        self.assertIn("or at portland: UDP port 7001 to 192.168.1.2", told[2])
        self.check(
            story(FAILED),
            "forward the node's UDP port on either router",
            here=replace(HERE, port=None),
            there=replace(THERE, port=None),
        )

    def test_places(self) -> None:
        """
        What to do on each side names the machine to forward to and the public address, as
        far as each is known and there is but one; who has no router is not sent to one.
        """
        hard = replace(HERE, has_stable_port=False), replace(THERE, has_stable_port=False)
        self.assertEqual(
            remedies(story(FAILED), *hard),
            [
                "both NATs are address-dependent: each takes another public port for each peer, and"
                " neither side can know which; forward UDP port 7777 on either router, or where"
                " one is a carrier's, on the other:",
                "here: to 192.168.1.9, and start it with `atmosphere serve --advertise 11.0.0.1`",
                "or at portland: to 192.168.1.2, and start it with `atmosphere serve --advertise"
                " 11.0.0.2`",
                "or turn on IPv6 on both sides: there no NAT is in the way",
            ],
        )
        open_one = replace(THERE, addresses=(PUBLIC,))
        self.assertEqual(
            remedies(story(FAILED), HERE, open_one)[2],
            "or at portland: there is no router; let it in through the firewall",
        )
        bare = replace(HERE, addresses=()), replace(THERE, addresses=(PRIVATE, OTHER))
        self.assertEqual(
            remedies(story(FAILED), *bare)[1:3],
            [
                "here: to the machine, and start it with `atmosphere serve --advertise"
                " PUBLIC-ADDRESS`",
                "or at portland: to the machine there, and start it with `atmosphere serve"
                " --advertise PUBLIC-ADDRESS`",
            ],
        )

    def test_ipv6(self) -> None:
        """
        Who has IPv6 already is not told to turn it on.
        """
        for ours, theirs, words in (
            ((), (IPV6,), "or turn on IPv6 here, as it is at portland"),
            ((IPV6,), (), "or turn on IPv6 at portland, as it is here"),
            ((IPV6,), (IPV6,), "which both sides have"),
        ):
            here = replace(HERE, addresses=(*HERE.addresses, *ours))
            there = replace(THERE, addresses=(*THERE.addresses, *theirs))
            self.assertIn(words, remedies(story(FAILED), here, there)[-1])

    def test_forwarded(self) -> None:
        """
        An address that somebody advertised and that does not answer is named first, with
        the port to look at.
        """
        advertised = replace(FAILED, origin=ADVERTISED)
        self.check(
            story(FAILED, advertised),
            "portland advertises 11.0.0.2:7777, and nothing answers there",
            "forwards UDP port 7777",
        )
        self.assertEqual(len(remedies(story(FAILED, advertised), HERE, THERE)), 2)

    def test_blocked(self) -> None:
        """
        Where UDP is blocked the firewall is named.
        """
        blocked = replace(HERE, is_udp_working=False)
        self.check(
            story(FAILED),
            "UDP is blocked here",
            "firewall",
            "to any address and port",
            here=blocked,
        )
        once = story(replace(FAILED, has_answered=True))
        self.check(once, "tried again for ever", here=blocked)
        self.assertEqual(len(remedies(story(FAILED), blocked, THERE)), 1)
        both = remedies(story(REFUSED), blocked, THERE)
        self.assertIn("no address but private ones", both[1])
        self.assertIn("let UDP out", both[1])

    def test_addresses(self) -> None:
        """
        A peer that names nothing useful has its trouble on its own side.
        """
        self.check(story(REFUSED), "no address but private ones of its own network")
        own = replace(REFUSED, way=DirectWay(PUBLIC))
        self.check(story(own, REFUSED), "no address that may be tried")
        self.check(story(), "names no address at all")

    def test_families(self) -> None:
        """
        A peer that has public addresses only in a family that is missing here is told as
        such, and one that has others too is not.
        """
        ipv6 = replace(REFUSED, way=DirectWay(TransportAddress("2a10::2", 7777)))
        here = replace(HERE, barred={True: "no IPv6 here"})
        (found,) = remedies(story(ipv6, REFUSED), here, THERE)
        self.assertIn("no public address but of IPv6, and there is no IPv6 here", found)
        told = summary(story(ipv6, REFUSED), here, THERE)
        self.assertIn("public addresses of IPv6 alone, and there is no IPv6 here", told)
        own = replace(REFUSED, way=DirectWay(PUBLIC))
        (found,) = remedies(story(ipv6, own), here, THERE)
        self.assertIn("no address that may be tried", found)
        (found,) = remedies(story(own), replace(HERE, barred={False: "no IPv4 here"}), THERE)
        self.assertIn("turn on IPv4", found)

    def test_small(self) -> None:
        """
        A way that is too small is one of a tunnel.
        """
        self.check(story(replace(FAILED, is_too_small=True)), "MTU")

    def test_fell_silent(self) -> None:
        """
        A way that worked may work again.
        """
        self.check(story(replace(FAILED, has_answered=True)), "tried again for ever")

    def test_trying(self) -> None:
        """
        It is too early to say anything, until several checks had no answer.
        """
        trying = replace(FAILED, verdict=Verdict.TRYING)
        self.check(story(trying), "ask again")
        doubtful = replace(trying, is_doubtful=True)
        self.check(story(doubtful), "lets nothing in")
        self.check(story(doubtful, trying), "ask again")
        self.check(replace(story(doubtful), is_near=True), "no hairpinning")

    def test_near(self) -> None:
        """
        Two behind one router that does not lead back in are told so.
        """
        self.check(replace(story(FAILED), is_near=True), "no hairpinning")

    def test_no_link(self) -> None:
        """
        Without a link, the missing relay, address or node is named.
        """
        other = replace(THERE, relays=("wss://other.example",))
        for here, there, words in (
            (
                HERE,
                replace(THERE, is_absent_at=(RELAY,)),
                f"portland is not connected to relay {RELAY}",
            ),
            (replace(HERE, relays=()), THERE, "this node has no relay"),
            (
                replace(HERE, relays=(), failed_relays=((RELAY, "refuses connections"),)),
                THERE,
                f"relay {RELAY} has not let us in: refuses connections",
            ),
            (HERE, other, "no relay in common"),
            (HERE, Side("portland"), "nothing says where portland is"),
            (HERE, THERE, "portland does not answer"),
        ):
            self.check(None, words, here=here, there=there)
        self.check(replace(story(FAILED), is_silent=True), "portland does not answer")

    def test_no_relay_at_all(self) -> None:
        """
        Two that joined without a relay are told what it takes to find each other again,
        after what is to be looked at first.
        """
        apart = [replace(each, relays=()) for each in (HERE, THERE)]
        first, second = remedies(None, *apart)
        self.assertIn("is its machine on", first)
        self.assertIn("neither this node nor portland has a relay", second)
        self.assertIn("--advertise", second)
