"""Two and three daemons over loopback: joining, following declarations, leaving, coming back."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import ssl
from ipaddress import IPv6Network

import pytest
from daemons import MESH, Agent, Make, Operator, Run, eventually

from smegmesh.control.client import Client
from smegmesh.control.errors import Refused
from smegmesh.dataplane.plane import DeviceSettings, PlaneError
from smegmesh.identity.address import node_address
from smegmesh.identity.certificate import Authority, certificate_der
from smegmesh.identity.keys import decode_key, encode_key
from smegmesh.store import MeshState
from smegmesh.store.errors import StoreError
from smegmesh.store.keys import load_keys
from smegmesh.store.pair_keys import save_pair_keys
from smegmesh.store.static_keys import load_static_key

DEVICE = "smeg-prod"


async def pair(make: Make) -> tuple[Agent, Agent]:
    """Two peers that know each other."""
    one, two = make("p1"), make("p2")
    for agent in (one, two):
        agent.declare(one, two)
        await agent.start()
    await eventually(lambda: one.alive(2) and two.alive(2), "both know each other")
    return one, two


def test_a_mesh_of_three_forms_and_is_seen_through_the_api(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two, client = make("p1"), make("p2"), make("c1")
        for agent in (one, two, client):
            agent.declare(one, two, role="client" if agent is client else "peer")
            await agent.start()
        await eventually(lambda: all(agent.alive(3) for agent in (one, two, client)), "everybody knows everybody")
        await eventually(lambda: client.mesh().home and client.mesh().backup, "the client has named its peers")
        await eventually(lambda: len({agent.mesh().digest for agent in (one, two, client)}) == 1, "equal maps")
        members = await one.ask(lambda api: api.members(MESH))
        assert [member["name"] for member in members] == ["c1", "p1", "p2"]
        assert [member["own"] for member in members] == [False, True, False]
        await eventually(lambda: len(one.plane.devices[DEVICE].peers) == 2, "both are WireGuard peers")
        status = await two.ask(Client.status)
        assert status["node_name"] == "p2"
        assert status["problems"] == []

    run(test)


def test_who_is_revoked_through_one_member_is_out_for_all_and_stays_out(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        three = make("p3")
        three.declare(one, two)
        await three.start()
        await eventually(lambda: all(agent.alive(3) for agent in (one, two, three)), "everybody knows everybody")
        gone, revocation = encode_key(three.keys.node_key), one.operator.revoke(three.keys.node_key)
        answer = await one.ask(lambda api: api.revoke(MESH, revocation))
        assert answer == {"mesh": MESH, "node_key": gone, "changed": True}
        await eventually(lambda: one.alive(2) and two.alive(2), "it is out, for the other too")
        await eventually(lambda: three.mesh().alarms, "it knows itself")
        assert three.mesh().state == "failed" and "revoked this node" in three.mesh().problem
        assert not (await two.ask(lambda api: api.revoke(MESH, revocation)))["changed"]
        await one.stop()
        await one.start()
        await eventually(lambda: one.alive(2), "after a restart, too")
        assert not (await one.ask(lambda api: api.revoke(MESH, revocation)))["changed"]

    run(test)


def test_a_revocation_that_cannot_be_written_is_an_error(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be lost with the next restart, and nobody else has it."""

    def full(*_arguments: object) -> None:
        raise StoreError("no space left on the disk", "free some")

    async def test(make: Make) -> None:
        one, two = await pair(make)
        assert one.daemon is not None
        monkeypatch.setattr(one.daemon._meshes[MESH]._effects, "_commit", full)
        revocation = one.operator.revoke(two.keys.node_key)
        for _try in range(2):
            with pytest.raises(Refused, match="cannot be written down"):
                await one.ask(lambda api: api.revoke(MESH, revocation))

    run(test)


def test_a_revocation_by_anybody_else_or_of_another_mesh_is_refused(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        for revocation, words in (
            (Operator().revoke(two.keys.node_key), "not signed by the authority"),
            (one.operator.revoke(two.keys.node_key, "office"), "is for mesh office"),
            ("nonsense", "not a revocation"),
        ):
            with pytest.raises(Refused, match=words):
                await one.ask(lambda api, said=revocation: api.revoke(MESH, said))
        with pytest.raises(Refused, match="its meshes are: prod"):
            await one.ask(lambda api: api.revoke("office", one.operator.revoke(two.keys.node_key, "office")))
        assert one.alive(2)

    run(test)


def test_only_who_is_down_can_be_forgotten(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        for name in ("p2", encode_key(two.keys.node_key)):
            with pytest.raises(Refused, match=r"is not down.*revoke it"):
                await one.ask(lambda api, asked=name: api.forget(MESH, asked))
        with pytest.raises(Refused, match="no member of mesh prod has the node key, name or alias p9"):
            await one.ask(lambda api: api.forget(MESH, "p9"))
        assert two.daemon is not None
        # It dies: who announces a restart is not down for twenty seconds.
        monkeypatch.setattr(two.daemon._meshes[MESH].engine, "announce_restart", lambda _now: None)
        await two.stop()
        await eventually(lambda: one.mesh().members.down == 1, "it is down", within=15)
        assert (await one.ask(lambda api: api.forget(MESH, "p2")))["changed"]
        assert one.mesh().members.down == 0
        await two.start()
        await eventually(lambda: one.alive(2), "it is back as soon as it runs")

    run(test)


def test_who_is_heard_is_noted_for_the_routes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(make: Make) -> None:
        one, _two = await pair(make)
        assert one.daemon is not None
        heard: list[None] = []
        monkeypatch.setattr(one.daemon._host.routes, "heard", lambda: heard.append(None))
        await eventually(lambda: heard, "a frame of the other was heard")

    run(test)


def test_leaving_takes_away_interface_member_and_state(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        number = two.mesh().number
        two.file().unlink()
        assert (await two.ask(Client.reload))["changed"] == [MESH]
        assert two.plane.devices == {}
        assert two.store.devices() == []
        assert two.store.ports() == {}
        assert two.store.load(MESH, two.keys.node_key).records == {}
        assert two.store.load(MESH, two.keys.node_key).number >= number
        await eventually(lambda: one.alive(1), "the other has dropped it")
        two.declare(one)
        await two.ask(Client.reload)
        await eventually(lambda: one.alive(2) and two.alive(2), "it may come back")

    run(test)


def test_a_restart_keeps_the_interface_and_what_was_known(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        await eventually(lambda: len(two.plane.devices[DEVICE].peers) == 1, "the peer is set")
        device = two.plane.devices[DEVICE]
        await two.stop()
        assert two.plane.devices[DEVICE] is device
        await eventually(lambda: one.mesh().links == 0, "the link is gone")
        assert one.alive(2), "an announced restart is not even mute"
        await one.stop()
        await two.start()
        assert two.mesh().state == "up"
        assert two.mesh().members.alive + two.mesh().members.mute + two.mesh().members.down == 2
        assert two.plane.devices[DEVICE] == device

    run(test)


@pytest.mark.parametrize(
    "change", [{"mtu": 1380}, {"port": 51999}, {"role": "client"}, {"keepalive": 7}, {"alias": "web"}]
)
def test_a_change_keeps_the_interface(run: Run, change: dict[str, object]) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        deleted: list[str] = []
        two.plane.delete = deleted.append  # type: ignore[method-assign]
        two.declare(one, two, **change)
        reloaded = await two.daemon.reload()  # type: ignore[union-attr]
        assert reloaded.changed == [MESH]
        assert reloaded.problems == {}
        await eventually(lambda: one.alive(2) and two.alive(2), "both know each other again")
        assert deleted == []
        assert two.mesh().role == change.get("role", "peer")
        assert two.plane.devices[DEVICE].listen_port == change.get("port", 51820)

    run(test)


def test_fragments_are_published_without_a_restart(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        two.certify(prefixes=("2001:db8::/32",))
        await two.daemon.reload()  # type: ignore[union-attr]
        await eventually(lambda: two.mesh().links == 1 and one.alive(2), "linked again")
        engine = two.daemon._meshes[MESH].engine  # type: ignore[union-attr]
        fragments = two.meshes_directory / f"{MESH}.d"
        fragments.mkdir()
        (fragments / "web.yml").write_text("owner: play\nservices: {https: tcp/443}\nadvertise: ['2001:db8:1::/48']\n")
        reloaded = await two.daemon.reload()  # type: ignore[union-attr]
        assert (reloaded.changed, reloaded.problems) == ([MESH], {})
        assert two.daemon._meshes[MESH].engine is engine  # type: ignore[union-attr]
        view = one.daemon._meshes[MESH].view  # type: ignore[union-attr]
        await eventually(lambda: view().members[two.keys.node_key].entry.services, "the other has heard of it")
        assert view().members[two.keys.node_key].entry.advertise == ("2001:db8:1::/48",)
        members = await one.ask(lambda api: api.members(MESH))
        assert [member["services"] for member in members] == [{}, {"https": "tcp/443"}]

        (fragments / "web.yml").write_text("owner: play\nadvertise: ['2001:db9::/48']\n")
        refused = await two.daemon.reload()  # type: ignore[union-attr]
        said = f"advertise 2001:db9::/48, as {fragments / 'web.yml'} says (declare it in the inventory too, or take it"
        assert said in refused.problems[MESH]
        assert one.alive(2) and view().members[two.keys.node_key].entry.services, "it goes on as it was"

    run(test)


def test_another_bootstrap_changes_nothing_on_the_device(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        await eventually(lambda: len(two.plane.devices[DEVICE].peers) == 1, "the peer is set")
        device = two.plane.devices[DEVICE]
        two.declare(one)
        await two.daemon.reload()  # type: ignore[union-attr]
        assert two.plane.devices[DEVICE] is device
        await eventually(lambda: two.mesh().links == 1, "linked again")
        assert one.alive(2)
        assert two.plane.devices[DEVICE] is device

    run(test)


def test_another_interface_name_takes_the_old_one_away(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        two.declare(one, interface="wg7")
        await two.daemon.reload()  # type: ignore[union-attr]
        assert two.plane.devices.keys() == {"wg7"}
        assert [device.name for device in two.store.devices()] == ["wg7"]
        assert two.mesh().state == "up"

    run(test)


def test_a_host_gets_another_tunnel_key_in_all_its_meshes(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        both = (one, two)
        for agent in both:
            agent.declare(one, mesh="office")
            await agent.daemon.reload()  # type: ignore[union-attr]
        await eventually(lambda: all(agent.mesh("office").members.alive == 2 for agent in both), "two meshes")
        before, peers = two.daemon.status(), {mesh: two.mesh(mesh).address for mesh in ("prod", "office")}  # type: ignore[union-attr]
        assert before.tunnel_key == before.node_key
        client = Client(two.directories.run / "api.sock")
        answer = await asyncio.to_thread(client.rotate, force=False)
        assert answer["node_key"] == answer["before"] == before.node_key != answer["tunnel_key"]
        new = decode_key(answer["tunnel_key"])

        def followed() -> bool:
            return all(
                device.peers.keys() == {new} and two.plane.devices[name].public_key == new
                for name, device in one.plane.devices.items()
            )

        await eventually(followed, "the other has the new key alone")
        assert {mesh: two.mesh(mesh).address for mesh in peers} == peers
        await two.stop()
        await two.start()
        await eventually(lambda: all(agent.mesh().members.alive == 2 for agent in both), "it is back")
        assert followed()
        after = two.daemon.status()  # type: ignore[union-attr]
        assert (after.node_key, after.tunnel_key) == (before.node_key, answer["tunnel_key"])

    run(test)


def test_a_key_that_the_interface_does_not_take_is_not_told_before_it_does(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        old, configure, refusing = two.keys.tunnel_key, two.plane.configure, [True]

        def refuse(device: str, settings: DeviceSettings) -> None:
            if refusing:
                raise PlaneError(f"{device}: no such device")
            configure(device, settings)

        two.plane.configure = refuse  # type: ignore[method-assign]
        with pytest.raises(Refused, match="as soon as it can be"):
            await two.ask(lambda client: client.rotate(force=False))
        await two.daemon.reload()  # type: ignore[union-attr]
        await asyncio.sleep(0.1)
        assert one.plane.devices[DEVICE].peers.keys() == {old} == {two.plane.devices[DEVICE].public_key}
        with pytest.raises(Refused, match="no such device"):
            await two.ask(lambda client: client.rotate(force=False))
        refusing.clear()
        new = load_keys(two.directories.state).tunnel_key
        await eventually(lambda: two.plane.devices[DEVICE].public_key == new, "it takes it")
        await eventually(lambda: one.plane.devices[DEVICE].peers.keys() == {new}, "and tells the other")

    run(test)


def test_interfaces_of_an_earlier_time_are_taken_away_at_the_start(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        for mesh in ("prod", "office", "test"):
            agent.declare(mesh=mesh)
        await agent.start()
        assert agent.plane.devices.keys() == {"smeg-prod", "smeg-office", "smeg-test"}
        await agent.stop()
        agent.file("office").unlink()
        agent.declare(mesh="prod", interface="wg7")
        agent.file("test").write_text("colour: red\n")
        agent.plane.create("foreign")
        await agent.start()
        assert agent.plane.devices.keys() == {"wg7", "smeg-test", "foreign"}
        assert agent.store.ports().keys() == {"prod", "test"}
        assert agent.mesh("test").state == "failed"

    run(test)


def test_interfaces_of_another_plane_are_taken_away_at_the_start(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        agent.plane.name = "kernel"
        await agent.start()
        await agent.stop()
        before, agent.plane = agent.plane, type(agent.plane)()
        agent.other_planes["kernel"] = before
        await agent.start()
        assert before.devices == {}
        assert agent.plane.devices.keys() == {DEVICE}
        assert [device.plane for device in agent.store.devices()] == ["memory"]

    run(test)


def test_a_directory_that_cannot_be_read_makes_nobody_leave(run: Run) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        daemon = await agent.start()
        moved = agent.meshes_directory.with_name("moved")
        agent.meshes_directory.rename(moved)
        agent.meshes_directory.write_text("not a directory")
        reloaded = await daemon.reload()
        assert reloaded.changed == []
        assert agent.mesh().state == "up"
        assert "cannot be listed" in daemon.status().problems[0]
        await agent.stop()
        await agent.start()
        assert agent.plane.devices.keys() == {DEVICE}
        assert agent.store.ports() == {MESH: 51820}
        await agent.stop()
        agent.meshes_directory.unlink()
        moved.rename(agent.meshes_directory)

    run(test)


def test_a_bad_declaration_is_told_and_the_mesh_goes_on(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        two.file().write_text(two.file().read_text() + "colour: red\n")
        two.declare(mesh="office")
        reloaded = await two.ask(Client.reload)
        assert reloaded["changed"] == ["office"]
        assert "colour" in reloaded["problems"][MESH]
        assert two.mesh().state == "up"
        assert "colour" in two.mesh().problem
        assert two.mesh("office").port != two.mesh().port
        two.declare(one)
        assert (await two.ask(Client.reload))["problems"] == {}
        assert two.mesh().problem is None

    run(test)


def test_a_bad_certificate_on_reload_is_told_and_the_mesh_goes_on(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        good = (two.authority / "node.pem").read_bytes()
        for bad in (b"nonsense", one.operator.certify(one.request), Operator().certify(two.request)):
            (two.authority / "node.pem").write_bytes(bad)
            reloaded = await two.daemon.reload()  # type: ignore[union-attr]
            assert "node.pem" in reloaded.problems[MESH]
            assert two.alive(2)
            assert two.mesh().problem == reloaded.problems[MESH]
        two.declare(one, authority="missing")
        before = two.mesh().trusts
        assert "authority.pem cannot be read" in (await two.daemon.reload()).problems[MESH]  # type: ignore[union-attr]
        assert two.alive(2)
        assert (two.mesh().authority, two.mesh().trusts) == ("default", before) and before, "what it goes on with"
        two.declare(one)
        (two.authority / "node.pem").write_bytes(good)
        assert (await two.daemon.reload()).problems == {}  # type: ignore[union-attr]

    run(test)


def test_a_renewed_certificate_is_taken_while_links_stay(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        number, links = two.mesh().number, two.mesh().links
        two.certify()
        reloaded = await two.daemon.reload()  # type: ignore[union-attr]
        assert reloaded.changed == []
        await eventually(lambda: two.mesh().number > number, "the entry names the new certificate")
        assert two.mesh().links == links
        await eventually(lambda: one.mesh().digest == two.mesh().digest, "the other has taken it")

    run(test)


def test_what_the_certificate_does_not_grant_is_refused_at_home(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        two.declare(one, advertise='["2001:db8:10::/48"]')
        reloaded = await two.daemon.reload()  # type: ignore[union-attr]
        assert "advertise 2001:db8:10::/48" in reloaded.problems[MESH]
        assert two.alive(2)
        two.certify(prefixes=("2001:db8::/32",))
        assert (await two.daemon.reload()).problems == {}  # type: ignore[union-attr]
        await eventually(lambda: one.alive(2) and two.alive(2), "both know each other")

    run(test)


def test_under_another_authority_it_is_another_mesh(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = await pair(make)
        two.certify(Operator())
        reloaded = await two.daemon.reload()  # type: ignore[union-attr]
        assert reloaded.problems == {}
        await eventually(lambda: one.alive(1), "it has left the first one")
        assert two.mesh().links == 0
        assert two.plane.devices.keys() == {DEVICE}
        await two.stop()
        two.certify()
        await two.start()
        await eventually(lambda: one.alive(2) and two.alive(2), "together again")

    run(test)


def test_an_authority_takes_over_from_another(run: Run) -> None:
    """Host after host in each step, and at no time is one out of the mesh."""

    async def test(make: Make) -> None:
        one, two = await pair(make)
        both, old, new = (one, two), one.operator, Operator()
        stranger = make("p3").keys.node_key

        async def knows(operator: Operator) -> None:
            """One is told of the revocation, and the other has it then."""
            assert (await one.ask(lambda client: client.revoke(MESH, operator.revoke(stranger))))["changed"]
            await eventually(lambda: one.mesh().digest == two.mesh().digest, "equal maps")
            assert not (await two.ask(lambda client: client.revoke(MESH, operator.revoke(stranger))))["changed"]

        await knows(old)
        sessions = [dict(agent.plane.devices) for agent in both]

        async def step(*trusted: Operator, certify: bool = False) -> None:
            for agent in both:
                if certify:
                    agent.certify(new)
                agent.trust(*trusted)
                assert (await agent.daemon.reload()).problems == {}  # type: ignore[union-attr]
                shown = agent.mesh()
                assert shown.trusts == sorted(Authority(each.authority).fingerprint.hex()[:16] for each in trusted)
                certificate = certificate_der((agent.authority / "node.pem").read_bytes())
                assert shown.certificate == hashlib.sha256(certificate).hexdigest()[:32]
                await eventually(lambda: all(each.alive(2) and each.mesh().links for each in both), "all are there")

        await step(old, new)
        await step(new, old, certify=True)
        await eventually(lambda: one.mesh().digest == two.mesh().digest, "all know the new certificates")
        await step(new)
        assert [dict(agent.plane.devices) for agent in both] == sessions
        with pytest.raises(Refused, match="not signed"):
            await one.ask(lambda client: client.revoke(MESH, old.revoke(stranger)))
        await knows(new)  # anew: with its authority went all that the old one said
        held = one.store.load(MESH, one.keys.node_key).certificates.values()
        assert len(held) == 2 and all(Authority(new.authority).verify(der) for der in held)

    run(test)


def test_what_was_stored_under_another_authority_is_dropped_but_for_the_own_number(
    run: Run, operator: Operator
) -> None:
    async def test(make: Make) -> None:
        one, two = make("p1"), make("p2")
        foreign = ssl.PEM_cert_to_DER_cert(Operator().certify(two.request).decode())
        two.make()
        renewed = ssl.PEM_cert_to_DER_cert(operator.certify(two.request).decode())
        replaced = hashlib.sha256(renewed).digest()  # nothing is under it any more
        two.store.commit(MESH, two.keys.node_key, MeshState({}, {bytes(32): foreign, replaced: renewed}, 40))
        await two.stop()
        for agent in (one, two):
            agent.declare(one)
            await agent.start()
        await eventually(lambda: one.alive(2) and two.alive(2), "both know each other")
        assert two.mesh().number > 40
        assert not {bytes(32), replaced} & two.store.load(MESH, two.keys.node_key).certificates.keys()

    run(test)


def test_nothing_secret_is_shown_or_logged(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    async def test(make: Make) -> None:
        agent = make("p1")
        agent.declare()
        daemon = await agent.start()
        await agent.ask(Client.status)
        shown = f"{daemon._host!r} {daemon.status()!r} {caplog.text}"
        for form in (encode_key(agent.keys.tunnel_private), agent.keys.tunnel_private.hex()):
            assert form not in shown
        assert "PRIVATE" not in shown

    with caplog.at_level(logging.DEBUG):
        run(test)


def test_a_static_peer_is_carried_with_a_key_that_goes_with_it(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = make("p1"), make("p2")
        phone, tablet = b"p" * 32, b"t" * 32
        addresses = {name: node_address(MESH, key) for name, key in (("phone", phone), ("tablet", tablet))}
        one.certify(prefixes=tuple(f"{address}/128" for address in addresses.values()))
        static = {"phone": {"public_key": encode_key(phone), "preshared_key": True}}
        one.declare(one, two, static_peers=json.dumps(static))
        two.declare(one, two)
        for agent in (one, two):
            await agent.start()
        await eventually(lambda: one.alive(2) and two.alive(2), "both know each other")
        await eventually(lambda: phone in one.plane.devices[DEVICE].peers, "it is a WireGuard peer")
        held = one.plane.devices[DEVICE].peers[phone]
        assert held.allowed_ips == {IPv6Network(addresses["phone"])}
        assert held.preshared_key == load_static_key(one.directories.state, MESH, phone)
        carrier = one.keys.node_key
        await eventually(
            lambda: IPv6Network(addresses["phone"]) in two.plane.devices[DEVICE].peers[carrier].allowed_ips,
            "the other reaches it through its host",
        )
        static["tablet"] = {"public_key": encode_key(tablet)}
        one.declare(one, two, static_peers=json.dumps(static))
        await one.ask(Client.reload)
        await eventually(lambda: tablet in one.plane.devices[DEVICE].peers, "so is one that is declared later")
        assert one.plane.devices[DEVICE].peers[phone].preshared_key == held.preshared_key
        assert [peer["preshared_key"] for peer in await one.ask(lambda api: api.static_peers(MESH))] == [True, False]
        with pytest.raises(Refused, match="not in mesh other"):
            await one.ask(lambda api: api.static_peers("other"))
        with pytest.raises(
            Refused, match=r"nobody tells static peers \(phone, tablet\), whose configuration has the key"
        ):
            await one.ask(lambda api: api.rotate(force=False, check=True))
        answer = await one.ask(lambda api: api.rotate(force=True, check=True))
        assert answer["before"] == answer["tunnel_key"] == encode_key(one.keys.node_key), "a check replaces nothing"
        assert (await one.ask(Client.status))["tunnel_key"] == answer["tunnel_key"]
        one.file().unlink()
        await one.ask(Client.reload)
        assert not list((one.directories.state / "keys").glob("static-*"))

    run(test)


def test_a_preshared_key_that_cannot_be_read_leaves_those_in_use(run: Run) -> None:
    async def test(make: Make) -> None:
        one, two = make("p1"), make("p2")
        for agent, other in ((one, "p2"), (two, "p1")):
            save_pair_keys(agent.directories.state, {MESH: {other: (b"k" * 32,)}})
            agent.declare(one, two)
            await agent.start()

        def keys() -> set[bytes | None]:
            devices = ((one, two), (two, one))
            return {own.plane.devices[DEVICE].peers[other.keys.node_key].preshared_key for own, other in devices}

        await eventually(lambda: one.alive(2) and two.alive(2), "both know each other")
        await eventually(lambda: keys() == {b"k" * 32}, "both use their key")
        (one.directories.state / "keys" / "pairs.json").write_text("damaged")
        reloaded = await one.ask(Client.reload)
        status = await one.ask(Client.status)
        assert any("pairs.json: is damaged" in problem for problem in status["problems"]), (reloaded, status)
        assert keys() == {b"k" * 32}

    run(test)
