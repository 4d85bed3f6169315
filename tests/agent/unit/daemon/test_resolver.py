"""Endpoints as entries name them -> addresses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv6Network

import pytest

from smegmesh.daemon.resolver import Resolver, outside


class Names:
    """A name server under the test's hand."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}  # addresses with blanks between
        self.asked: list[str] = []
        self.now = 100.0
        self.open = threading.Event()
        self.open.set()

    def look_up(self, name: str) -> list[str]:
        self.asked.append(name)
        self.open.wait(10)
        if name not in self.known:
            raise OSError("no such name")
        return self.known[name].split()


@pytest.fixture
def names() -> Names:
    return Names()


@pytest.fixture
def make(names: Names) -> Iterator[Callable[..., Resolver]]:
    made: list[Resolver] = []

    def make_one(**options: float) -> Resolver:
        made.append(Resolver(lambda: names.now, names.look_up, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make_one
    names.open.set()
    for resolver in made:
        resolver.close()


async def test_literals_ask_nobody(names: Names, make: Callable[..., Resolver]) -> None:
    found = await make().resolve(["198.18.0.1:1", "[2001:db8::1]:2", "not an endpoint"])
    assert found == {"198.18.0.1:1": ("198.18.0.1", 1), "[2001:db8::1]:2": ("2001:db8::1", 2)}
    assert names.asked == []


async def test_a_name_is_asked_again_after_its_lifetime(names: Names, make: Callable[..., Resolver]) -> None:
    resolver = make(lifetime=60)
    names.known["a.example"] = "198.18.0.1"
    assert await resolve(resolver) == "198.18.0.1"
    names.known["a.example"] = "198.18.0.2"
    names.now += 59
    assert await resolve(resolver) == "198.18.0.1"
    names.now += 1
    assert await resolve(resolver) == "198.18.0.2"
    assert len(names.asked) == 2


async def test_the_last_good_answer_stands(names: Names, make: Callable[..., Resolver]) -> None:
    resolver = make(lifetime=60)
    names.known["a.example"] = "198.18.0.1"
    await resolve(resolver)
    names.known.clear()
    names.now += 1000
    assert await resolve(resolver) == "198.18.0.1"


async def test_a_name_without_answer_is_not_asked_at_every_change(names: Names, make: Callable[..., Resolver]) -> None:
    resolver = make(retry=4)
    assert await resolve(resolver) is None
    assert await resolve(resolver) is None
    assert len(names.asked) == 1
    names.now += 4
    names.known["a.example"] = "198.18.0.1"
    assert await resolve(resolver) == "198.18.0.1"


async def test_of_several_addresses_the_first_of_the_own_families_and_the_same_as_long_as_it_is_one_of_them(
    names: Names, make: Callable[..., Resolver]
) -> None:
    resolver = make(lifetime=60)
    four, six, other = "198.18.0.1", "2001:db8::1", "198.18.0.2"
    for known, families, address in (
        (f"{six} {four}", {4, 6}, six),
        (f"{six} {four}", {4}, four),
        (f"{other} {four} {six}", {4, 6}, six),
        (f"{other} {four} {six}", {4}, four),
        (f"{other} {six}", {4}, other),
        (six, {4}, six),
    ):
        names.known["a.example"] = known
        found = await resolver.resolve(["a.example:1"], frozenset(families))
        assert found == {"a.example:1": (address, 1)}
        names.now += 60
    names.known["a.example"] = f"{four} {six}"
    assert await resolver.resolve_all(["a.example:1", "198.18.0.9:2"]) == {
        "a.example:1": ((six, four), 1),
        "198.18.0.9:2": (("198.18.0.9",), 2),
    }


async def test_a_dead_name_server_holds_nobody_up(names: Names, make: Callable[..., Resolver]) -> None:
    resolver = make(timeout=0.05)
    names.open.clear()
    assert await resolver.resolve(["a.example:1", "198.18.0.1:1"]) == {"198.18.0.1:1": ("198.18.0.1", 1)}


async def test_a_name_that_can_be_none_is_left_out() -> None:
    resolver = Resolver(lambda: 0.0)
    assert await resolver.resolve(["a..b:1", f"{'x' * 70}.example:1"]) == {}
    resolver.close()


async def resolve(resolver: Resolver) -> str | None:
    found = await resolver.resolve(["a.example:1"])
    return found["a.example:1"][0] if found else None


def test_an_endpoint_within_the_mesh_itself_is_none() -> None:
    found = {"[fd00::1]:1": ("fd00::1", 1), "[fd01::1]:1": ("fd01::1", 1), "198.18.0.1:1": ("198.18.0.1", 1)}
    kept = outside([IPv6Network("fd00::/64")], found)
    assert kept == {"[fd01::1]:1": ("fd01::1", 1), "198.18.0.1:1": ("198.18.0.1", 1)}
