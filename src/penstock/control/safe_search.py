"""Search engines and YouTube: which names lead to a service that can be asked for its safe answers by another name.

Each engine publishes a name whose addresses serve safe answers only; a DNS answer that leads there is what it asks network
operators for. Engines have one such mode, YouTube has two. It does not know how an answer is written.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address

from penstock.control.configuration import Configuration, Profile
from penstock.errors import PenstockError
from penstock.policy.rewrites import SAFE_SEARCH, YOUTUBE

Addresses = dict[str, list[IPv4Address | IPv6Address]]
PATIENCE_S = 4.0  # for one target

GOOGLE_DOMAINS = (
    "com ad ae com.af com.ag al am co.ao com.ar as at com.au az ba com.bd be bf bg com.bh bi bj com.bn com.bo com.br "
    "bs bt co.bw by com.bz ca cat cd cf cg ch ci co.ck cl cm com.co co.cr com.cu cv com.cy cz de dj dk dm com.do dz "
    "com.ec ee com.eg es com.et fi com.fj fm fr ga ge gg com.gh com.gi gl gm gr com.gt gy com.hk hn hr ht hu co.id ie "
    "co.il im co.in iq is it je com.jm jo co.jp co.ke com.kh ki kg co.kr com.kw kz la com.lb li lk co.ls lt lu lv "
    "com.ly co.ma md me mg mk ml com.mm mn com.mt mu mv mw com.mx com.my co.mz com.na com.ng com.ni ne nl no com.np "
    "nr nu co.nz com.om com.pa com.pe com.pg com.ph com.pk pl pn com.pr ps pt com.py com.qa ro rs ru rw com.sa com.sb "
    "sc se com.sg sh si sk com.sl sm sn so sr st com.sv td tg co.th com.tj tl tm tn to com.tr tt com.tw co.tz com.ua "
    "co.ug co.uk com.uy co.uz com.vc co.ve co.vi com.vn vu ws co.za co.zm co.zw "
)
YANDEX_DOMAINS = "az by co.il com com.am com.ge com.tr ee fr kg kz lt lv md pl ru tj tm ua uz"

GOOGLE = [f"{front}google.{domain}" for domain in GOOGLE_DOMAINS.split() for front in ("", "www.")]
YANDEX = [f"{front}yandex.{domain}" for domain in YANDEX_DOMAINS.split() for front in ("", "www.")]

SERVICES: list[tuple[int, list[str], str, str]] = [
    (SAFE_SEARCH, GOOGLE, "forcesafesearch.google.com", "forcesafesearch.google.com"),
    (SAFE_SEARCH, ["bing.com", "www.bing.com"], "strict.bing.com", "strict.bing.com"),
    (
        SAFE_SEARCH, ["duckduckgo.com", "www.duckduckgo.com", "start.duckduckgo.com"],
        "safe.duckduckgo.com", "safe.duckduckgo.com",
    ),
    (SAFE_SEARCH, ["pixabay.com"], "safesearch.pixabay.com", "safesearch.pixabay.com"),
    (SAFE_SEARCH, ["search.brave.com"], "forcesafe.search.brave.com", "forcesafe.search.brave.com"),
    (SAFE_SEARCH, ["www.ecosia.org"], "strict-safe-search.ecosia.org", "strict-safe-search.ecosia.org"),
    (SAFE_SEARCH, ["api.qwant.com"], "safeapi.qwant.com", "safeapi.qwant.com"),
    (SAFE_SEARCH, YANDEX, "familysearch.yandex.ru", "familysearch.yandex.ru"),
    (
        YOUTUBE,
        [
            "www.youtube.com", "m.youtube.com", "youtubei.googleapis.com", "youtube.googleapis.com",
            "www.youtube-nocookie.com",
        ],
        "restrictmoderate.youtube.com", "restrict.youtube.com",
    ),
]  # fmt: skip
"""Group, names, what they lead to at the levels moderate and strict."""


class TargetError(PenstockError):
    """No target can be resolved; the text says with which resolver, and the cure."""


def target_names(groups: Iterable[int]) -> list[str]:
    """The names that answers of these groups lead to."""
    wanted = set(groups)
    return sorted({name for group, _, *targets in SERVICES if group in wanted for name in targets})


def resolve_targets(names: Iterable[str], resolvers: list[str], port: int) -> Addresses:
    """Ask the operator's own resolver for every target. Raises TargetError when it answers for none.

    A target without addresses gets an alias alone: the client's resolver finds the rest.
    """
    import dns.exception  # a start without SafeSearch need not wait for them
    import dns.resolver

    asking = dns.resolver.Resolver(configure=False)
    asking.nameservers, asking.port, asking.lifetime = list(resolvers), port, PATIENCE_S
    found: Addresses = {}
    for name in names:
        addresses: list[IPv4Address | IPv6Address] = []
        for kind, made in (("A", IPv4Address), ("AAAA", IPv6Address)):
            try:
                addresses += [made(record.address) for record in asking.resolve(name, kind, raise_on_no_answer=False)]
            except dns.exception.DNSException:
                continue
        if addresses:
            found[name] = addresses
    if not found:
        where = ", ".join(resolvers)
        raise TargetError(
            f"dns.resolvers: {where} answers for none of the names that SafeSearch leads to: name another one"
        )
    return found


def find_targets(configuration: Configuration) -> Addresses:
    """The addresses that this configuration's answers lead to. Raises TargetError."""
    groups = {group for profile in configuration.profiles.values() for group in chosen_groups(profile)}
    if not groups:
        return {}
    resolvers = [str(address) for address in configuration.dns.resolvers]
    return resolve_targets(target_names(groups), resolvers, configuration.dns.resolver_port)


def chosen_groups(profile: Profile) -> set[int]:
    """The groups of names that a profile switches on."""
    chosen = {SAFE_SEARCH: profile.safe_search, YOUTUBE: profile.youtube}
    return {group for group, level in chosen.items() if level != "off"}
