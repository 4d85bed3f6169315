"""Engines between themselves: two or three objects and the frames they hand each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product

import msgspec
import pytest
from gossip_table import MESH, Party, Table

from smegmesh.crdt.entry import Entry, Role
from smegmesh.crdt.entry_codec import encode_entry
from smegmesh.crdt.held import MapKind
from smegmesh.crdt.order import MAX_NUMBER
from smegmesh.crdt.record import Kind, Record, sign_record
from smegmesh.gossip.codec import (
    SOFT_FRAME,
    Hello,
    Items,
    Message,
    Nodes,
    Ping,
    Restart,
    Root,
    Same,
    Slot,
    WantCertificates,
    WantItems,
    WantNodes,
    encode,
)
from smegmesh.gossip.engine import Alarm, Close, Dial, Persist, Probe, Send, Stored, ViewChanged
from smegmesh.gossip.knowledge import LeftOut
from smegmesh.gossip.view import Liveness
from smegmesh.identity.revocation import make_revocation
from smegmesh.simulation.credentials import authority_key, credentials, node_key


def _record(name: str, entry: Entry, number: int = 1, **credential: object) -> Record:
    """An entry record as `name` signs it, whatever the entry says."""
    own = credentials(name, **credential)  # type: ignore[arg-type]
    return sign_record(
        own.identity,
        Kind.ENTRY,
        MESH,
        node_key(name),
        number,
        b"instance",
        own.certificate.fingerprint,
        encode_entry(entry),
    )


def _items(record: Record, *ders: bytes) -> bytes:
    return encode(Items([(record.header, record.signature, record.body)], certificates=list(ders)))


# Finding each other


def test_two_find_each_other(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    assert set(one.engine.view().members) == set(other.engine.view().members) == {one.key, other.key}
    assert one.engine.view().digest == other.engine.view().digest
    assert one.engine.view().leader == other.engine.view().leader == min(one.key, other.key)
    assert one.found(ViewChanged)


def test_a_hello_comes_first(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    assert isinstance(one.received[0], Hello)
    assert isinstance(other.received[0], Hello)
    assert sum(isinstance(message, Hello) for message in one.received) == 1


def test_what_comes_before_the_hello_is_bad(table: Table) -> None:
    one = table.party("p0")
    one.engine.link_up(1, credentials("p1").certificate, False, table.now)
    one.engine.receive(1, encode(Ping()), table.now)
    assert one.engine.counters["bad_frames"] == 1


def test_agents_speak_with_the_version_before_and_the_one_after_only(table: Table) -> None:
    parties = [table.party(f"p{at}", protocols=(newest - 1, newest)) for at, newest in enumerate((2, 3, 4))]
    table.link(parties[0], parties[1])
    assert len(parties[0].engine.links()) == 1
    table.link(parties[0], parties[2])
    assert len(parties[0].engine.links()) == 1
    assert parties[2].engine.counters["protocol_refused"] == 1
    assert any("protocols" in close.reason for close in parties[2].found(Close) if isinstance(close, Close))


@pytest.mark.parametrize(("oldest", "newest", "spoken"), [(1, 1, False), (1, 2, True), (2, 3, True), (3, 4, False)])
def test_protocol_2_is_spoken(table: Table, oldest: int, newest: int, spoken: bool) -> None:
    one = table.party("p0")
    one.engine.link_up(1, credentials("p1").certificate, False, table.now)
    one.engine.receive(1, encode(Hello(oldest, newest, MESH, b"8 bytes!", bytes(32), Items())), table.now)
    assert (1 in one.engine.links()) == spoken
    assert one.engine.counters["protocol_refused"] == (not spoken)


def test_a_link_with_oneself_is_closed_and_its_address_not_dialled_again(table: Table) -> None:
    one = table.party("p0", bootstrap=("elsewhere.example:4000", "nat.example:4000"))
    dials = {dial.addresses[0]: dial.dial for dial in one.found(Dial) if isinstance(dial, Dial)}
    one.engine.dial_failed(dials["elsewhere.example:4000"], table.now)
    one.engine.link_up(1, credentials("p0").certificate, True, table.now)
    one.engine.link_up(2, credentials("p0").certificate, False, table.now)
    table.pump()
    assert {close.link for close in one.found(Close) if isinstance(close, Close)} == {1, 2}
    one.events.clear()
    table.wait(120)
    assert {dial.addresses for dial in one.found(Dial) if isinstance(dial, Dial)} == {("elsewhere.example:4000",)}


def test_the_own_address_in_a_bootstrap_list_is_not_dialled(table: Table) -> None:
    one = table.party("p0", bootstrap=("p0.example:4000",))
    assert not one.found(Dial)


def test_a_member_named_in_the_bootstrap_list_is_not_dialled_as_a_stranger(table: Table) -> None:
    one, other = table.party("p0", bootstrap=("p1.example:4000",)), table.party("p1")
    table.link(one, other)
    one.events.clear()
    table.wait(120)
    assert not one.found(Dial)


def test_those_by_whom_a_node_joins_are_told_of_itself_and_of_others_once_digests_agreed(table: Table) -> None:
    """In a cold start all join by a few, who have each one's news from itself and would drown in the rest."""
    one = table.party("p0", bootstrap=("a.example:4000", "b.example:4000"))
    hubs = list(zip((1, 2), ("p1", "p2"), one.found(Dial), strict=True))
    for link, hub, dial in hubs:
        assert isinstance(dial, Dial)
        one.engine.link_up(link, credentials(hub).certificate, True, table.now, dial.dial)
        one.engine.receive(link, encode(Hello(2, 2, MESH, b"8 bytes!", bytes(32), Items())), table.now)

    def told(news: Callable[[], None]) -> set[int]:
        """The links that news go out on, of those by which it joined."""
        table.wait(0.1)
        one.sent.clear()
        news()
        table.pump()
        table.wait(0.1)
        return {link for link, message in one.sent if isinstance(message, Items)}

    def another(name: str) -> Callable[[], None]:
        frame = _items(_record(name, table.entry(name)), credentials(name).certificate.der)
        return lambda: one.engine.receive(1, frame, table.now)

    assert told(lambda: one.engine.set_entry(table.entry("p0", alias="new"), table.now)) == {1, 2}
    assert told(another("p3")) == set()
    one.engine.receive(2, encode(Same(one.engine.view().digest)), table.now)
    assert told(another("p4")) == {2}


def test_what_a_dead_instance_said_comes_in_bit_by_bit_and_is_answered_once(table: Table) -> None:
    """After a partition and the loss of a disk others hold different ages of it: that is no other machine."""
    one, other = table.party("p0"), table.party("p1")
    link, _far = table.link(one, other)
    table.wait(1)
    for number in range(5, 20, 2):
        one.engine.receive(link, _items(_record("p0", table.entry("p0"), number)), table.now)
        table.pump()
        table.wait(0.01)
    table.wait(2)
    assert not [alarm for alarm in one.found(Alarm) if isinstance(alarm, Alarm) and alarm.kind == "cloned"]
    for party in (one, other):
        assert party.engine.view().members[one.key].number > 19


def test_of_two_links_dialled_at_once_the_one_of_the_lower_key_stays(table: Table) -> None:
    low, high = sorted((table.party("p0"), table.party("p1")), key=lambda party: party.key)
    by_high = table.link(high, low, pump=False)
    by_low = table.link(low, high, pump=False)
    table.pump()
    assert by_low[0] in low.engine.links()
    assert by_high[1] not in low.engine.links()
    assert by_low[1] in high.engine.links()
    assert by_high[0] not in high.engine.links()


def test_another_mesh_or_a_certificate_without_the_mesh_is_refused(table: Table) -> None:
    one = table.party("p0")
    one.engine.link_up(1, credentials("p1", meshes=("office",)).certificate, False, table.now)
    one.engine.link_up(2, credentials("p1").certificate, False, table.now)
    one.engine.receive(2, encode(Hello(2, 2, "office", b"8 bytes!", bytes(32), Items())), table.now)
    assert [event.link for event in one.engine.events() if isinstance(event, Close)] == [1, 2]
    assert one.engine.links() == {}


# Own number


def test_alone_it_publishes_after_five_seconds_and_makes_its_number_durable_first(table: Table) -> None:
    one = table.party("p0")
    table.wait(4.9)
    assert not one.engine.view().members
    table.wait(0.2)
    assert one.engine.view().members[one.key].number == 1
    assert next(event.number for event in one.found(Persist) if isinstance(event, Persist)) == 1


def test_persist_comes_before_what_was_persisted_is_sent(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    table.wait(1)
    one.engine.set_entry(replace(table.entry("p0"), description="new"), table.now)
    kinds = [type(event) for event in one.engine.events()]
    assert kinds.index(Persist) < kinds.index(Send)


def test_it_starts_above_every_number_that_others_have_seen(table: Table) -> None:
    other, third = table.party("p1"), table.party("p2")
    table.link(other, third)
    before = _record("p0", table.entry("p0"), number=41)
    (link,) = [number for number, key in other.engine.links().items() if key == third.key]
    other.engine.receive(link, _items(before, credentials("p0").certificate.der), table.now)
    table.pump()
    assert other.engine.view().members[node_key("p0")].number == 41
    one = table.party("p0")
    table.link(one, other)
    assert one.engine.view().members[one.key].number >= 42
    assert min(event.number for event in one.found(Persist) if isinstance(event, Persist)) == 42
    assert third.engine.view().members[one.key].number >= 42


def test_it_starts_above_what_it_had_stored(table: Table) -> None:
    one = table.party("p0", stored=Stored(number=7))
    table.wait(6)
    assert one.engine.view().members[one.key].number == 8


def test_it_comes_up_from_what_it_stored(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    table.wait(1)
    records, certificates = one.stored()
    again = table.party("p0", stored=Stored(records, certificates, 9))
    assert set(again.engine.view().members) == {one.key, other.key}
    table.wait(5)
    assert any(dial.node_key == other.key for dial in again.found(Dial) if isinstance(dial, Dial))


def test_a_start_lets_go_of_certificates_that_were_renewed(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    old, new = credentials("p1").certificate, credentials("p1", edition=1).certificate
    other.engine.set_certificate(new, table.now)
    table.wait(1)
    records, certificates = one.stored()
    again = table.party("p0", stored=Stored(records, certificates, 9))
    assert again.engine.left_out.replaced == (old.fingerprint,)
    del certificates[old.fingerprint]
    again = table.party("p0", stored=Stored(records, certificates, 19))
    assert again.engine.left_out == LeftOut()
    assert set(again.engine.view().members) == {one.key, other.key}


def test_who_was_restored_with_an_older_certificate_is_heard_all_the_same(table: Table) -> None:
    """Others hold what it said under the newer one since."""
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    table.wait(1)
    records, certificates = one.stored()
    renewed = table.party("p0", edition=1, stored=Stored(records, certificates, 20))
    table.link(renewed, other)
    table.wait(1)
    number = other.engine.view().members[one.key].number
    restored = table.party("p0", stored=Stored(records, certificates, 9))
    table.link(restored, other)
    table.wait(6)
    assert other.engine.view().members[one.key].number > number


@pytest.mark.parametrize("damage", [{"records": {b"\x01": b"x"}}, {"certificates": {b"f": b"x"}}])
def test_a_damaged_store_is_an_error_at_the_edge(table: Table, damage: dict[str, dict[bytes, bytes]]) -> None:
    with pytest.raises(ValueError, match=r"record|certificate|removal"):
        table.party("p0", stored=Stored(**damage))  # type: ignore[arg-type]


# Who may say what


def test_an_entry_that_its_certificate_does_not_grant_is_refused(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    (link,) = one.engine.links()
    claims = {
        "another's name": replace(table.entry("p9"), name="p8"),
        "a bridge": replace(table.entry("p9"), bridge=True),
        "a prefix": replace(table.entry("p9"), advertise=("2001:db8::/32",)),
    }
    for number, entry in enumerate(claims.values(), 1):
        one.engine.receive(link, _items(_record("p9", entry), credentials("p9").certificate.der), table.now)
        assert one.engine.counters["bad_frames"] == number
    foreign = credentials("p9", issuer="another").certificate.der
    record = _record("p9", table.entry("p9"), issuer="another")
    one.engine.receive(link, _items(record, foreign), table.now)
    assert node_key("p9") not in one.engine.view().members


def test_what_is_granted_may_be_said(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    (link,) = one.engine.links()
    grants = {"bridges": ("*",), "prefixes": ("2001:db8::/32",)}
    entry = replace(table.entry("p9"), bridge=True, advertise=("2001:db8:10::/48",))
    der = credentials("p9", **grants).certificate.der  # type: ignore[arg-type]
    one.engine.receive(link, _items(_record("p9", entry, **grants), der), table.now)
    assert one.engine.view().members[node_key("p9")].entry == entry


def test_what_it_may_not_say_itself_is_an_error_of_the_caller(table: Table) -> None:
    one = table.party("p0")
    for entry in (table.entry("p1"), replace(table.entry("p0"), bridge=True)):
        with pytest.raises(ValueError, match="certificate"):
            one.engine.set_entry(entry, table.now)


def test_a_certificate_that_is_over_still_speaks_for_a_member(table: Table) -> None:
    """Membership does not depend on the clock: whoever accepts a link checks the time, nobody else."""
    one, other = table.party("p0"), table.party("p1")
    table.now += 86_400 * 365 * 10
    table.link(one, other)
    assert other.key in one.engine.view().members


def test_a_renewed_certificate_goes_along_with_what_is_first_said_under_it(table: Table) -> None:
    one, other, third = (table.party(f"p{number}") for number in range(3))
    table.link(one, other)
    table.link(other, third)
    table.wait(1)
    number = third.engine.view().members[one.key].number
    renewed = credentials("p0", edition=1).certificate
    one.engine.set_certificate(renewed, table.now)
    for certificates in ([renewed.der], []):
        for party in (one, other, third):
            party.received.clear()
        one.engine.set_entry(table.entry("p0", description=f"{len(certificates)} to come"), table.now)
        table.pump()
        table.wait(0.1)
        assert third.engine.view().members[one.key].number > number
        number = third.engine.view().members[one.key].number
        for party in (other, third):
            frames = [message for message in party.received if isinstance(message, Items)]
            assert [der for frame in frames for der in frame.certificates] == certificates
        assert not any(isinstance(message, WantCertificates) for message in one.received + other.received)


def test_a_newcomer_can_verify_a_removal_that_is_older_than_the_certificate(table: Table) -> None:
    """Entries go on under a renewed certificate while the leave of last year still names the one before."""
    one = table.party("p0")
    old, new = credentials("p9"), credentials("p9", edition=1)
    table.link(one, table.party("p9"))
    table.parties["p9"].engine.leave(table.now)
    table.pump()
    assert old.certificate.grant.node_key not in one.engine.view().members
    back = table.party("p9", edition=1)
    table.link(one, back)
    table.wait(1)
    assert back.key in one.engine.view().members
    records, certificates = one.stored()
    assert certificates.keys() >= {old.certificate.fingerprint, new.certificate.fingerprint}
    for name, stored in (("p1", None), ("p2", Stored(records, certificates, 99))):
        holder = one if stored is None else table.party("p0", stored=stored)
        newcomer = table.party(name)
        table.link(newcomer, holder)
        assert back.key in newcomer.engine.view().members
        assert newcomer.engine.view().digest == holder.engine.view().digest


# Flood and anti-entropy


def test_a_change_goes_on_to_all_other_links_at_once(table: Table) -> None:
    parties = [table.party(f"p{number}") for number in range(4)]
    for one, other in pairwise(parties):
        table.link(one, other)
    table.wait(1)
    parties[0].engine.set_entry(table.entry("p0", description="new"), table.now)
    table.pump()
    assert all(party.engine.view().members[parties[0].key].entry.description == "new" for party in parties)


def test_changes_in_quick_succession_share_a_frame(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    table.wait(1)
    other.received.clear()
    for number in range(5):
        one.engine.set_entry(table.entry("p0", description=str(number)), table.now)
        table.pump()
    table.wait(0.01)
    frames = [message for message in other.received if isinstance(message, Items)]
    assert [len(frame.records) for frame in frames] == [1, 1]
    assert other.engine.view().members[one.key].entry.description == "4"


def test_what_the_other_side_says_itself_meanwhile_is_not_sent_to_it(table: Table) -> None:
    one, left, right = table.party("p0"), table.party("p1"), table.party("p2")
    from_left, from_right = (table.link(one, other)[0] for other in (left, right))
    table.wait(1)
    one.sent.clear()
    der = credentials("p9").certificate.der
    for number in (1, 2):  # the first goes out at once, the second waits
        entry = Entry(name="p9", role=Role.PEER, tunnel_key=node_key("p9"), description=str(number))
        record = _record("p9", entry, number)
        one.engine.receive(from_left, _items(record, der), table.now)
        table.pump()
    one.engine.receive(from_right, _items(record, der), table.now)
    table.wait(0.1)
    sent = [message for link, message in one.sent if link == from_right and isinstance(message, Items)]
    assert [len(items.records) for items in sent] == [1]
    assert one.engine.view().members[node_key("p9")].entry.description == "2"


def test_a_certificate_rides_along_where_it_is_new(table: Table) -> None:
    one, other, third = (table.party(f"p{number}") for number in range(3))
    table.link(other, third)
    other.received.clear()
    table.link(one, other)
    assert one.key in third.engine.view().members
    fingerprint = credentials("p0").certificate.fingerprint
    asked = [message.wanted for message in other.received if isinstance(message, WantCertificates)]
    assert not any((one.key, fingerprint) in wanted for wanted in asked)
    late = table.party("p3")
    third.received.clear()
    table.link(third, late)
    assert not any(isinstance(message, WantCertificates) for message in third.received), "it comes with the answer"
    assert one.key in late.engine.view().members


def test_a_record_waits_for_its_certificate(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    (link,) = one.engine.links()
    one.engine.receive(link, _items(_record("p9", table.entry("p9"))), table.now)
    assert node_key("p9") not in one.engine.view().members
    one.engine.receive(link, encode(Items(certificates=[credentials("p9").certificate.der])), table.now)
    assert node_key("p9") in one.engine.view().members


def test_equal_maps_compare_roots_and_nothing_else(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    table.wait(20)
    other.received.clear()
    one.received.clear()
    table.wait(20)
    kinds = {type(message) for message in one.received + other.received}
    assert Root in kinds
    assert Nodes not in kinds


def test_a_client_hands_nothing_on(table: Table) -> None:
    client, one, other = table.party("c0", Role.CLIENT), table.party("p0"), table.party("p1")
    table.link(client, one)
    table.link(client, other)
    table.wait(1)
    one.engine.set_entry(table.entry("p0", description="new"), table.now)
    table.pump()
    assert other.engine.view().members[one.key].entry.description != "new"
    assert client.engine.view().members[one.key].entry.description == "new"


def test_who_was_a_peer_for_a_while_chooses_among_all_that_came_since(table: Table) -> None:
    client, one, other = table.party("c0", Role.CLIENT), table.party("p0"), table.party("p1")
    for party in (one, other):
        table.link(client, party)
    table.wait(5)
    assert {client.engine.view().home_of(client.key)} <= {one.key, other.key}
    client.engine.set_entry(table.entry("c0"), table.now)
    table.pump()
    late = table.party("p2")
    for party in (client, one, other):
        table.link(party, late)
    other.engine.leave(table.now)
    table.wait(1)
    client.engine.set_entry(table.entry("c0", Role.CLIENT), table.now)
    table.wait(1)
    entry = client.engine.view().members[client.key].entry
    assert {entry.home, entry.backup} == {one.key, late.key}


# Faults


def test_a_link_that_sends_rubbish_is_closed_and_the_others_stay(table: Table) -> None:
    one, other = table.party("p0", bad_frames=3), table.party("p1")
    table.link(one, other)
    one.engine.link_up(99, credentials("p2").certificate, False, table.now)
    for _ in range(3):
        one.engine.receive(99, b"rubbish", table.now)
    assert [event.link for event in one.engine.events() if isinstance(event, Close)] == [99]
    assert list(one.engine.links().values()) == [other.key]
    one.engine.receive(99, b"rubbish", table.now)
    assert one.engine.counters["bad_frames"] == 3


def test_who_says_no_hello_is_shown_out(table: Table) -> None:
    one = table.party("p0")
    one.engine.link_up(1, credentials("p1").certificate, False, table.now)
    table.wait(5.1)
    assert one.engine.links() == {}


def test_silence_asks_for_the_tunnel_then_is_down_and_the_link_is_dialled_again(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    table.wait(5)
    one.events.clear()
    alone = frozenset({"p1"})
    table.parties.pop("p1")
    one.peers.clear()
    table.wait(1.6, without=alone)
    assert Probe(frozenset({other.key}), 0.5) in one.events
    for _ in range(3):
        assert one.engine.view().members[other.key].liveness is Liveness.ALIVE
        table.wait(0.5, without=alone)
        one.engine.probe_result(other.key, False, table.now)
        table.pump()
    assert one.engine.view().members[other.key].liveness is Liveness.DOWN
    dials = [event for event in one.found(Dial) if isinstance(event, Dial)]
    assert dials[0].node_key == other.key
    assert dials[0].addresses == ("p1.example:4000",)


def test_a_client_probes_its_home_once_a_second(table: Table) -> None:
    client, home = table.party("c0", Role.CLIENT), table.party("p0")
    table.link(client, home)
    table.wait(5)
    assert client.found(Probe) == [Probe(frozenset({home.key}), 1.0)]


def test_a_restart_is_announced_on_all_links(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    one.engine.announce_restart(table.now)
    table.pump()
    assert other.received[-1] == Restart(20.0)


def test_a_late_timer_is_counted_and_accuses_nobody(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    table.link(one, other)
    table.wait(2)
    table.now += 60
    one.engine.timer(table.now)
    assert one.engine.counters["late"] == 1
    assert one.engine.view().members[other.key].liveness is Liveness.ALIVE


def test_what_follows_from_who_is_near_whom_is_found_ever_more_rarely_in_a_storm(table: Table) -> None:
    """Each client that names it as its home is one more for it to probe."""
    one, other = table.party("p0"), table.party("p1")
    link, _far = table.link(one, other)
    table.wait(2)
    assert other.engine.agrees

    def storm(first: int, clients: int) -> list[float]:
        """A new client each 5 ms; when it asked for other probes."""
        times: list[float] = []
        start = table.now
        for millisecond in range(clients * 5):
            table.now = start + millisecond / 1000
            if millisecond % 5 == 0:
                name = f"c{first + millisecond // 5}"
                entry = table.entry(name, Role.CLIENT, home=one.key)
                one.engine.receive(link, _items(_record(name, entry), credentials(name).certificate.der), table.now)
            if one.engine.next_timer() <= table.now:
                one.engine.timer(table.now)
            times += [table.now - start for event in one.engine.events() if isinstance(event, Probe)]
        return times

    assert storm(0, 260) == pytest.approx([0, 0.02, 0.06, 0.14, 0.3, 0.62, 0.94, 1.26], abs=0.003)
    table.wait(1.5)  # the last conclusion comes up to 0.32 s after the storm
    assert storm(260, 20) == pytest.approx([0, 0.02, 0.06], abs=0.003), "after a calm second as at first"


# Leaving


def test_leave_is_said_on_every_link_before_it_closes(table: Table) -> None:
    one, other, third = (table.party(f"p{number}") for number in range(3))
    table.link(one, other)
    table.link(one, third)
    one.engine.set_entry(table.entry("p0", description="a moment before"), table.now)
    one.engine.leave(table.now)
    table.pump()
    assert one.key not in other.engine.view().members
    assert one.key not in third.engine.view().members
    assert one.engine.links() == {}
    assert one.engine.next_timer() == float("inf")
    one.engine.link_up(50, credentials("p1").certificate, False, table.now)
    assert one.engine.links() == {}


def test_who_has_no_number_left_to_say_it_leaves_all_the_same(table: Table) -> None:
    one, other = table.party("p0", stored=Stored(number=MAX_NUMBER - 1)), table.party("p1")
    table.link(one, other)
    assert one.key in other.engine.view().members
    one.events.clear()
    one.engine.leave(table.now)
    table.pump()
    assert [alarm.kind for alarm in one.found(Alarm) if isinstance(alarm, Alarm)] == ["refused"]
    assert one.engine.links() == {}


def test_an_engine_that_was_told_no_entry_yet_waits_without_being_asked_over_and_over(table: Table) -> None:
    one = table.party("p0", silent=True)
    timers = 0
    while one.engine.next_timer() < table.now + 60:
        timers += 1
        one.engine.timer(one.engine.next_timer())
        assert timers < 20


def test_a_revocation_is_told_to_the_revoked_before_the_link_closes(table: Table) -> None:
    one, other, third = (table.party(f"p{number}") for number in range(3))
    table.link(one, other)
    table.link(one, third)
    other.events.clear()
    one.engine.revoke(make_revocation(authority_key(), MESH, other.key), table.now)
    table.pump()
    assert not other.found(Persist), "it has nothing more to say"
    assert [alarm.kind for alarm in other.found(Alarm) if isinstance(alarm, Alarm)] == ["revoked"]
    assert list(one.engine.links().values()) == [third.key]
    assert other.key not in third.engine.view().members
    assert other.engine.links() == {}
    table.link(other, third)
    assert other.key not in third.engine.links().values()


def _answers(party: Party, link: int, question: Message, now: float) -> list[bytes]:
    party.engine.receive(link, encode(question), now)
    return [event.frame for event in party.engine.events() if isinstance(event, Send)]


def test_what_is_asked_for_often_is_sent_once(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    link, _far = table.link(one, other)
    fingerprint = credentials("p0").certificate.fingerprint
    for question, once in (
        (WantItems([Slot(MapKind.ENTRY, one.key)] * 16_384), WantItems([Slot(MapKind.ENTRY, one.key)])),
        (WantCertificates([(one.key, fingerprint)] * 8_192), WantCertificates([(one.key, fingerprint)])),
        (WantNodes([b""] * 1024), WantNodes([b""])),
    ):
        assert _answers(one, link, question, table.now) == _answers(one, link, once, table.now) != []


def test_answers_fit_frames_whatever_is_asked(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    link, _far = table.link(one, other)
    for number in range(14):  # with these, all prefixes of a leaf's path list a nearly full leaf
        table.link(one, table.party(f"q{number}"))
    prefixes = [bytes(nibbles) for depth in range(3) for nibbles in product(range(16), repeat=depth)]
    frames = _answers(one, link, WantNodes(prefixes * 3), table.now)
    assert len(frames) > 1
    assert max(map(len, frames)) <= SOFT_FRAME


def test_what_waits_for_unknown_certificates_is_bounded_in_bytes(table: Table) -> None:
    one, other = table.party("p0"), table.party("p1")
    link, _far = table.link(one, other)
    body = encode_entry(replace(table.entry("stranger"), unknown={"later": msgspec.msgpack.encode(bytes(60_000))}))
    own = credentials("stranger")
    for number in range(320):
        record = sign_record(
            own.identity,
            Kind.ENTRY,
            MESH,
            own.certificate.grant.node_key,
            number + 1,
            b"instance",
            bytes(30) + number.to_bytes(2, "big"),
            body,
        )
        one.engine.receive(link, _items(record), table.now)
    assert 200 <= len(one.engine._replica._waiting) <= 16 * 1024 * 1024 // 60_000


def test_a_revocation_by_anybody_else_is_an_error_of_the_caller(table: Table) -> None:
    one = table.party("p0")
    for data in (b"rubbish", make_revocation(authority_key("another"), MESH, node_key("p1"))):
        with pytest.raises(ValueError, match="revocation"):
            one.engine.revoke(data, table.now)


def test_stored_removals_hold_over_a_restart(table: Table) -> None:
    one = table.party("p0")
    one.engine.revoke(make_revocation(authority_key(), MESH, node_key("p1")), table.now)
    table.pump()
    records, _certificates = one.stored()
    assert bytes([MapKind.REMOVAL]) + node_key("p1") in records
    again = table.party("p0", stored=Stored(records))
    other = table.party("p1")
    table.link(again, other)
    assert again.engine.links() == {}
