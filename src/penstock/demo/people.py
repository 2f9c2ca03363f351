"""The people of the whole demonstration: who they are, what they bought and chose, and what each must get of each site.

    ada            family, with a name of her own that she refuses           RADIUS
    ada/tablet     a device of hers: hers holds for it, and a name more      RADIUS
    bruno          basic; warned of a shop, he goes on                       RADIUS
    carla          bought nothing                                            RADIUS
    dora           family; "no internet" for the evening                     RADIUS
    town library   family                                                    the configuration
    a guest        at an address of which nobody has said anything           nobody

Knows what must come of each visit. Refuses to know how it comes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from penstock.demo.operator import LISTED, MISTAKEN
from penstock.demo.topology import HOME, server_address

DOMAIN = ".example.test"
NEWS, WEATHER, GAMES, CHAT = (f"{name}{DOMAIN}" for name in ("news", "weather", "games", "chat"))
FREE = (NEWS, WEATHER)
"""In no list."""
REFUSED = {"page", "warning", "court", "empty", "refused", "reset"}
BASIC = {"phishing": "page", "malware": "page", "scam": "warning"}
FAMILY = BASIC | {"adult": "page", "gambling": "page", "advertising": "empty"}
"""What each profile refuses, and what is seen over HTTP."""
PROFILES: dict[str, dict[str, str]] = {"basic": BASIC, "family": FAMILY, "none": {}}


@dataclass(frozen=True)
class Person:
    """A subscriber: an address of each family in the client's namespace, and what he chose on his page."""

    id: str
    profile: str
    ipv4: str
    ipv6: str
    choices: dict[str, Any] = field(default_factory=dict, compare=False)
    denied: tuple[str, ...] = ()
    """What he, or whose device it is, refuses by name."""
    is_paused: bool = False
    by_radius: bool = True
    is_known: bool = True

    def expect(self, host: str, scheme: str) -> str:
        """What must come of a visit."""
        if self.is_paused:
            return "reset"
        got = self._find_answer(host)
        return "refused" if scheme == "https" and got != "site" else got

    def _find_answer(self, host: str) -> str:
        if not self.is_known:
            return "site"
        if host == LISTED["ordered"]:
            return "court"
        if host in self.denied:
            return "page"
        categories = {name: category for category, name in LISTED.items()}
        return PROFILES[self.profile].get(categories.get(host, ""), "site")


NIGHT = {"name": "night", "days": ["mon", "tue", "wed", "thu", "sun"], "begin": "22:00", "end": "07:00", "pause": True}
ADA = Person("ada", "family", "10.77.0.11", "fd77::11", {"deny": [CHAT]}, (CHAT,))
TABLET = Person("ada/tablet", "family", "10.77.0.12", "fd77::12", {"deny": [GAMES]}, (CHAT, GAMES))
BRUNO = Person("bruno", "basic", "10.77.0.13", "fd77::13")
CARLA = Person("carla", "none", "10.77.0.14", "fd77::14")
DORA = Person("dora", "family", "10.77.0.15", "fd77::15", {"schedules": [NIGHT]}, is_paused=True)
LIBRARY = Person("town library", "family", "10.77.0.3", "fd77::3", by_radius=False)
GUEST = Person("a guest", "unknown", HOME.ipv4, HOME.ipv6, by_radius=False, is_known=False)
PEOPLE = (ADA, TABLET, BRUNO, CARLA, DORA, LIBRARY, GUEST)
KNOWN = tuple(one for one in PEOPLE if one.is_known)
PAUSE_MINUTES = 240


@dataclass(frozen=True)
class Visit:
    """Somebody wants to see a site."""

    person: Person
    host: str
    scheme: str = "http"
    family: int = 4
    goes_on: bool = False

    @property
    def expected(self) -> str:
        """What must come of it."""
        return "site" if self.goes_on else self.person.expect(self.host, self.scheme)

    def write(self) -> dict[str, Any]:
        """The question of `penstock.demo.visits`."""
        source = self.person.ipv4 if self.family == 4 else self.person.ipv6
        return {
            "source": source,
            "resolver": server_address(self.family),
            "url": f"{self.scheme}://{self.host}/",
            "goes_on": self.goes_on,
        }


def list_visits() -> Iterator[Visit]:
    """What is to be seen at first: everybody asks for everything, over HTTP; and some of it over HTTPS and IPv6."""
    hosts = (NEWS, MISTAKEN, *LISTED.values(), CHAT, GAMES)
    for person in PEOPLE:
        for host in hosts[:1] if person.is_paused else hosts:
            yield Visit(person, host)
    for person in (ADA, BRUNO, CARLA):
        for host in (NEWS, LISTED["phishing"], LISTED["ordered"]):
            yield Visit(person, host, "https")
        yield Visit(person, NEWS, family=6)


def list_habits() -> list[Visit]:
    """What people ask for while the demonstration goes on: mostly what nobody refuses."""
    awake = [person for person in PEOPLE if not person.is_paused]
    everyday = [Visit(person, host, scheme) for person in awake for host in FREE for scheme in ("http", "https")]
    listed = [
        Visit(person, host) for person in awake for host in (*LISTED.values(), CHAT, GAMES) if host != LISTED["scam"]
    ]
    return everyday * 5 + listed


WENT_ON = Visit(BRUNO, LISTED["scam"], goes_on=True)
