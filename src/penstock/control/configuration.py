"""The configuration: one YAML file, checked whole before anything starts.

It knows which keys there are, what they hold and which of them contradict each other; `examples/inline.yaml` describes
each. It does not know what the packet path makes of them (`snapshot`), and opens none of the files that it names.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainValidator,
    PrivateAttr,
    Strict,
    ValidationError,
    ValidationInfo,
)

from penstock.control.fields import (
    Category,
    Count,
    File,
    Label,
    Model,
    Switch,
    Url,
    check_power_of_two,
    make_absolute,
)
from penstock.control.hooks.settings import PolicySettings
from penstock.control.lists.feed_settings import Feeds, check_feeds, place_feeds
from penstock.control.lists.settings import ListSource
from penstock.control.marks import MarkedError, read_document
from penstock.control.portal.settings import ApiSettings
from penstock.control.problems import (
    ConfigurationError,
    Location,
    Problem,
    build_problem,
    format_location,
    suggest_name,
    translate_error,
)
from penstock.control.subscribers.settings import Radius, Scope, check_radius, check_scopes
from penstock.control.subscribers.settings_register import NUMBERS_KEPT, RegisterSettings
from penstock.control.values import (
    Address,
    Network,
    parse_address,
    parse_listen,
    parse_ports,
    parse_prefix,
)
from penstock.kernel.tables import SHAPE_LIMIT
from penstock.policy.judge import SERVICE_LIMIT
from penstock.policy.layout import profile_tag
from penstock.policy.names import CATEGORY_LIMIT
from penstock.policy.switches import pack_switches

__all__ = ["Configuration", "ConfigurationError", "load_configuration"]

DATABASE = Path("/var/lib/penstock/names.db")
SCOPE_LIMIT = 4096
PREFIX_LIMIT = 1 << 20  # prefixes of all subscribers; 32 bytes each in tables that are at most half full


def _make_output(value: str, information: ValidationInfo) -> str:
    return value if value == "-" else str(make_absolute(Path(value), information))


def _read_off(value: Any) -> Any:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


Ports = Annotated[tuple[tuple[int, int], ...], PlainValidator(parse_ports)]
Action = Literal["block", "redirect", "empty", "report", "warn"]
Level = Annotated[Literal["off", "moderate", "strict"], BeforeValidator(_read_off)]


class Service(Model):
    """A product that a subscriber switches on: which categories it acts on, and how."""

    categories: Annotated[dict[Category, Action], Field(min_length=1)]
    redirect_url: Url | None = None
    report_only: Switch = False
    share: Annotated[float, Strict(), Field(gt=0, le=1)] = 1.0


class Profile(Model):
    """The choices of a subscriber."""

    services: tuple[Label, ...] = ()
    safe_search: Level = "off"
    youtube: Level = "off"
    ech: Literal["keep", "remove", "refuse"] = "keep"
    unresolved: Literal["ignore", "report", "block"] = "ignore"

    @property
    def acts(self) -> bool:
        """Is there anything that it does? Else nobody needs to read what its subscribers ask for."""
        return bool(self.services) or self != Profile()

    @property
    def switches(self) -> int:
        """What it says beside its services: policy.switches."""
        return pack_switches(self.safe_search, self.youtube, self.ech, self.unresolved) if self.acts else 0


class Subscriber(Model):
    """A person or line that pays, known by address; without prefixes other sources know where he is."""

    id: Label
    prefixes: tuple[Annotated[Network, PlainValidator(parse_prefix)], ...] = ()
    profile: Label
    fail: Literal["open", "closed"] = "open"
    scope: Annotated[Count, Field(ge=0, le=65_535)] = 0
    packets_per_s: Annotated[Count, Field(ge=1, le=1_000_000_000)] | None = None


class CourtOrders(Model):
    """What is refused for everybody who is known, whatever he chose."""

    categories: tuple[Category, ...] = ()


class Limits(Model):
    """How much of the packet process one subscriber may use."""

    packets_per_s: Annotated[Count, Field(ge=1, le=1_000_000_000)] | None = 4000


class Exceptions(Model):
    """What happens to packets where they cannot be judged as they should: kernel.exceptions."""

    ring_full: Literal["drop", "forward"] = "drop"
    table_full: Literal["drop", "forward"] = "drop"
    reassembly_full: Literal["drop", "forward", "refuse"] = "drop"
    fragment_full: Literal["drop", "forward"] = "drop"
    malformed: Literal["drop", "forward"] = "drop"
    gap: Literal["judge", "forward", "refuse"] = "judge"
    midstream: Literal["judge", "forward", "refuse"] = "judge"
    asymmetric: Literal["judge", "forward", "refuse"] = "judge"


class Quic(Model):
    """What QUIC gets beyond the judgement of its hosts."""

    unread_versions: Literal["refuse", "forward"] = "refuse"


class Dns(Model):
    """What DNS queries get: refused names, the error's words, SafeSearch's resolver, DNS that hides its names."""

    judge: Switch = True
    answer: Literal["nxdomain", "null", "address"] = "nxdomain"
    addresses: tuple[Annotated[Address, PlainValidator(parse_address)], ...] = ()
    ttl_s: Annotated[Count, Field(ge=0, le=86_400)] = 60
    error: Literal["blocked", "filtered", "censored"] = "blocked"
    text: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    dot: Literal["refuse", "forward"] = "refuse"
    resolvers: tuple[Annotated[Address, PlainValidator(parse_address)], ...] = ()
    resolver_port: Annotated[Count, Field(ge=1, le=65_535)] = 53


class Page(Model):
    """What a refused subscriber sees."""

    template: File | None = None
    operator: Annotated[str, Field(max_length=100)] = "your network operator"
    contact: Annotated[str, Field(max_length=200)] = ""
    redirect_url: Url | None = None


class Guard(Model):
    """Which share of the last hour's requests a change may refuse in addition, and of how many at least."""

    share: Annotated[float, Strict(), Field(ge=0, le=1)] = 0.05
    requests: Annotated[Count, Field(ge=1)] = 1000


class Log(Model):
    """Which requests are written down, and where."""

    all_requests: Switch = False
    path: Annotated[str, AfterValidator(_make_output)] = "-"


class Metrics(Model):
    """Where Prometheus asks."""

    listen: Annotated[str, PlainValidator(parse_listen)] | None = "127.0.0.1:9464"


class Line(Model):
    """What the two interfaces have to do with each other."""

    link_loss: Literal["ignore", "pass"] = "ignore"
    hold_down_s: Annotated[Count, Field(ge=0, le=3600)] = 5
    carrier_wait_s: Annotated[Count, Field(ge=1, le=600)] = 15


class Flows(Model):
    """The flow table."""

    capacity: Annotated[Count, Field(ge=1024, le=2**24), AfterValidator(check_power_of_two)] = 262_144


class Configuration(Model):
    """The whole file. Paths are absolute."""

    services: Annotated[dict[Label, Service], Field(max_length=SERVICE_LIMIT)] = {}
    feeds: Feeds = Feeds()
    lists: Annotated[
        tuple[ListSource, ...], AfterValidator(place_feeds)
    ] = ()  # behind `feeds`, which says where they lie
    profiles: dict[Label, Profile] = {}
    subscribers: tuple[Subscriber, ...] = ()
    # pydantic's models have an attribute `register`
    subscriber_register: RegisterSettings = Field(default=RegisterSettings(), alias="register")
    scopes: Annotated[dict[Label, Scope], Field(max_length=SCOPE_LIMIT)] = {}
    radius: Radius = Radius()
    report_only: Switch = False
    court_orders: CourtOrders = CourtOrders()
    ports: Ports = Field(default="all", validate_default=True)
    quic: Quic = Quic()
    dns: Dns = Dns()
    exceptions: Exceptions = Exceptions()
    limits: Limits = Limits()
    database: File = DATABASE
    policy: PolicySettings = PolicySettings()
    page: Page = Page()
    guard: Guard = Guard()
    log: Log = Log()
    metrics: Metrics = Metrics()
    api: ApiSettings = ApiSettings()
    line: Line = Line()
    flows: Flows = Flows()
    workers: Annotated[Count, Field(ge=1, le=16), AfterValidator(check_power_of_two)] = 1

    _service_bits: dict[str, int] | None = PrivateAttr(None)

    @property
    def service_bits(self) -> dict[str, int]:
        """The bit by which tables know each service: by its place in the file, unless `with_service_bits` said another."""
        bits = self._service_bits
        return {name: bits[name] if bits else number for number, name in enumerate(self.services)}

    def with_service_bits(self, bits: Mapping[str, int]) -> "Configuration":
        """The same, where services have these bits."""
        other = self.model_copy()
        other._service_bits = dict(bits)
        return other

    def pack_services(self, names: Iterable[str]) -> int:
        """A bit for each of these services."""
        bits = self.service_bits
        return sum(1 << bits[name] for name in set(names))

    def resolve_profile(self, name: str | None) -> tuple[int, int]:
        """The services and switches of a profile; (0, 0) for none."""
        profile = self.profiles.get(name) if name is not None else None
        return (self.pack_services(profile.services), profile.switches) if profile else (0, 0)

    @property
    def reads_everybody(self) -> bool:
        """Do packets go up of subscribers who switched nothing on, too? For courts' lists, and for hooks."""
        return bool(self.court_orders.categories) or self.policy.project is not None

    @property
    def port_bits(self) -> bytes:
        """The ports that are judged, a bit each."""
        bits = bytearray(8192)
        for first, last in self.ports:
            for port in range(first, last + 1):
                bits[port >> 3] |= 1 << (port & 7)
        return bytes(bits)

    @property
    def scope_words(self) -> bytes:
        """The number of each VLAN's scope, 16 bits each."""
        words = bytearray(8192)
        for scope in self.scopes.values():
            for first, last in scope.vlans:
                words[2 * first : 2 * last + 2] = scope.number.to_bytes(2, "little") * (last - first + 1)
        return bytes(words)

    @property
    def category_names(self) -> list[str]:
        """Every category, those of services first, in the order of the file."""
        of_services = [category for service in self.services.values() for category in service.categories]
        of_courts, of_lists = self.court_orders.categories, [source.category for source in self.lists]
        return list(dict.fromkeys([*of_services, *of_courts, *of_lists]))


def load_configuration(path: Path) -> Configuration:
    """Read and check the configuration at `path`. Raises ConfigurationError, which names every problem and its line."""
    try:
        document = read_document(path)
    except MarkedError as error:
        raise ConfigurationError([Problem(path, *error.place, "", error.expected)]) from None
    try:
        context = {"directory": path.absolute().parent}
        configuration = Configuration.model_validate({} if document.value is None else document.value, context=context)
    except ValidationError as error:
        raise ConfigurationError(
            translate_error(path, document, Configuration, detail) for detail in error.errors()
        ) from None
    problems = [build_problem(path, document, *found) for found in _find_contradictions(configuration)]
    if problems:
        raise ConfigurationError(problems)
    return configuration


def _find_contradictions(configuration: Configuration) -> Iterator[tuple[Location, str]]:
    yield from _check_services(configuration)
    yield from _check_choices(configuration)
    yield from _check_prefixes(configuration)
    yield from _check_dns(configuration)
    yield from check_feeds(configuration.lists)
    yield from check_scopes(configuration.scopes)
    yield from check_radius(configuration.radius)


def _check_dns(configuration: Configuration) -> Iterator[tuple[Location, str]]:
    settings = configuration.dns
    if settings.answer == "address" and not settings.addresses:
        yield ("dns", "answer"), "expected `addresses` beside the answer `address`: those of the operator's page"
    if settings.addresses and settings.answer != "address":
        yield ("dns", "addresses"), "expected `answer: address` beside them: nothing else answers with an address"
    families = [address.version for address in settings.addresses]
    if len(families) != len(set(families)):
        yield ("dns", "addresses"), "expected one IPv4 and one IPv6 address at most"
    for name, profile in configuration.profiles.items():
        for key in ("safe_search", "youtube"):
            if getattr(profile, key) == "off":
                continue
            if not settings.judge:
                yield ("profiles", name, key), "expected `off` where `dns.judge` is false: it works by DNS answers"
            elif not settings.resolvers:
                wanted = (
                    "expected `dns.resolvers`, a resolver of the management network: the answers lead to its addresses"
                )
                yield ("profiles", name, key), wanted


def _check_services(configuration: Configuration) -> Iterator[tuple[Location, str]]:
    filled = list(dict.fromkeys(source.category for source in configuration.lists if not source.allow))
    if len(configuration.category_names) > CATEGORY_LIMIT:
        yield ("lists",), f"expected at most {CATEGORY_LIMIT} categories, not {len(configuration.category_names)}"
    for name, service in configuration.services.items():
        for category, action in service.categories.items():
            location = ("services", name, "categories", category)
            if category not in filled:
                yield location, f"expected a category that one of `lists` fills: {suggest_name(category, filled)}"
            if action == "redirect" and not (service.redirect_url or configuration.page.redirect_url):
                yield location, f"expected `redirect_url` in `services.{name}` or `page` beside the action `redirect`"
    for number, category in enumerate(configuration.court_orders.categories):
        if category not in filled:
            known = suggest_name(category, filled)
            yield ("court_orders", "categories", number), f"expected a category that one of `lists` fills: {known}"


def _check_choices(configuration: Configuration) -> Iterator[tuple[Location, str]]:
    for name, profile in configuration.profiles.items():
        for number, service in enumerate(profile.services):
            if service not in configuration.services:
                known = suggest_name(service, configuration.services)
                yield ("profiles", name, "services", number), f"expected one of `services`: {known}"
    tags: dict[int, str] = {}
    for name in configuration.profiles:
        other = tags.setdefault(profile_tag(name), name)
        if other != name:
            yield ("profiles", name), f"expected another name: its checksum is that of `{other}`"
    default = configuration.subscriber_register.default_profile
    if default is not None and default not in configuration.profiles:
        known = suggest_name(default, configuration.profiles)
        yield ("register", "default_profile"), f"expected one of `profiles`, or null: {known}"
    if len(configuration.subscribers) > configuration.subscriber_register.capacity - NUMBERS_KEPT:
        yield ("register", "capacity"), f"expected more than the {len(configuration.subscribers):,} of `subscribers`"
    owners: dict[str, int] = {}
    for number, subscriber in enumerate(configuration.subscribers):
        if subscriber.profile not in configuration.profiles:
            known = suggest_name(subscriber.profile, configuration.profiles)
            yield ("subscribers", number, "profile"), f"expected one of `profiles`: {known}"
        if subscriber.scope and subscriber.scope not in {scope.number for scope in configuration.scopes.values()}:
            yield ("subscribers", number, "scope"), "expected 0, or the number of one of `scopes`"
        first = owners.setdefault(subscriber.id, number)
        if first != number:
            owner = format_location(("subscribers", first))
            yield ("subscribers", number, "id"), f"expected an id of its own: `{subscriber.id}` is {owner}"


def _check_prefixes(configuration: Configuration) -> Iterator[tuple[Location, str]]:
    owners: dict[tuple[int, Network], Any] = {}
    lengths: dict[tuple[int, int], None] = {}
    for number, subscriber in enumerate(configuration.subscribers):
        for at, prefix in enumerate(subscriber.prefixes):
            location = ("subscribers", number, "prefixes", at)
            if (subscriber.scope, prefix) in owners:
                owner = owners[subscriber.scope, prefix]
                yield location, f"expected each prefix once in a scope: {prefix} belongs to `{owner}`"
            owners[subscriber.scope, prefix] = subscriber.id
            length = (prefix.version, prefix.prefixlen)
            if length not in lengths and len(lengths) == SHAPE_LIMIT:
                used = ", ".join(f"IPv{version} /{bits}" for version, bits in sorted(lengths))
                yield location, f"expected at most {SHAPE_LIMIT} different prefix lengths; in use are {used}"
            elif length not in lengths:
                lengths[length] = None
    if len(owners) > PREFIX_LIMIT:
        yield ("subscribers",), f"expected at most {PREFIX_LIMIT:,} prefixes, not {len(owners):,}"
