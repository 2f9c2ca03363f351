"""docs/evasion.md: totals for each family, server and net, then a line for each strategy.

Knows results. Refuses to know how they came about.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.evasion.recipe import ALLOWED, BLOCKED, Strategy
from tests.evasion.verdict import BAD_OUTCOMES, Result

NETS = ("IPv4", "IPv6", "VLAN")
HEAD = """# Evasion scorecard

Made by `python -m tests.evasion`, which plays every strategy of `tests/evasion/catalogue/` by a raw client against real
servers, through Penstock and, beside it, through a plain cable. Do not edit.

- A strategy is data, with its expected outcome written down before it is run. *Stopped*: the server's application acts on
  the blocked name over the cable, and not through Penstock. *Works*: it acts on an allowed name, asked for by the same
  trick, through Penstock as over the cable; *late*: when the client repeated what it had not to repeat there. Where the
  trick sends two versions of a byte that can both be delivered, or that two servers read in two ways, refusing it is right,
  and the strategy says so: *may be refused*. *Harmless* ones only mention the blocked name.
- What an application did is taken from its log: nginx (hosts of requests that it served, names of hellos), CPython's
  `http.server` and `ssl`, Node (only for what is about HTTP itself), aioquic, unbound, dnspython. What never lands, on the
  cable either, counts as nothing.
- One router stands between Penstock and the servers, so a decoy with a TTL of 1 dies where an operator's would. The raw
  client's addresses are no kernel's, and it repeats what is not acknowledged. The subscriber fails closed: a busy machine
  then delays a play, and lets nothing pass unread.
- A play that fails for the allowed name, or is late, is played twice more; one that shows a bypass is not.

Repeat one by hand: `python -m tests.evasion ID`.

"""


def write_scorecard(path: Path, strategies: Sequence[Strategy], results: Sequence[Result]) -> None:
    """Write the report."""
    by_id: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        by_id[result.key.id].append(result)
    families = list(dict.fromkeys(strategy.family for strategy in strategies))
    text = [
        HEAD,
        _totals(strategies, results),
        "\n## By family, server and net\n\n",
        _families(families, strategies, results),
    ]
    for family in families:
        text.append(f"\n## {family}\n\n| id | what | source | expected | seen |\n|---|---|---|---|---|\n")
        text += [_line(one, by_id[one.id]) for one in strategies if one.family == family]
    path.write_text("".join(text))


def _count(results: Iterable[Result]) -> Counter[str]:
    return Counter(outcome for result in results for outcome in result.outcomes.values())


def _totals(strategies: Sequence[Strategy], results: Sequence[Result]) -> str:
    count = _count(results)
    landing = {result.key.id for result in results if any(one != "unlanded" for one in result.outcomes.values())}
    bypassed = {result.key.id for result in results if "bypass" in result.outcomes.values()}
    hurt = {result.key.id for result in results if {"collateral", "harmed"} & set(result.outcomes.values())}
    harm, most = count["collateral"] + count["harmed"], len(strategies)
    rows = [
        f"**{most} strategies, {len(landing)} of them land on a server somewhere. Bypasses: {count['bypass']} plays of "
        f"{len(bypassed)} strategies. Collateral: {harm} plays of {len(hurt)} strategies.**",
        "Plays through Penstock, by name and outcome:",
        f"- blocked: {count['stopped']} stopped, {count['bypass']} bypassed",
        f"- allowed: {count['works']} worked, {count['late']} late, {count['refused']} refused as expected, "
        f"{count['collateral']} collateral",
        f"- harmless: {count['passes']} passed, {count['harmed']} harmed",
        f"- {count['unlanded']} never land on that server",
    ]
    if hurt:
        rows.append("Collateral of: " + ", ".join(f"`{name}`" for name in sorted(hurt)) + ".")
    return "\n\n".join(rows[:2]) + "\n\n" + "\n".join(rows[2:6]) + "\n\n" + "".join(f"{row}\n" for row in rows[6:])


def _families(families: Sequence[str], strategies: Sequence[Strategy], results: Sequence[Result]) -> str:
    family_of = {strategy.id: strategy.family for strategy in strategies}
    cells: dict[tuple[str, str, str, str], list[Result]] = defaultdict(list)
    for result in results:
        cells[family_of[result.key.id], result.key.over, result.key.server, result.key.net].append(result)
    rows = ["Each cell: stopped of those that land; allowed: worked + refused as expected, of those that land.\n\n"]
    rows.append("| family | over | server | " + " | ".join(NETS) + " |\n|---|---|---|---|---|---|\n")
    for family, over, server in dict.fromkeys(key[:3] for key in cells):
        shown = [_cell(cells.get((family, over, server, net), [])) for net in NETS]
        rows.append(f"| {family} | {over} | {server} | {' | '.join(shown)} |\n")
    return "".join(rows)


def _cell(results: Sequence[Result]) -> str:
    count = _count(results)
    blocked = count["stopped"] + count["bypass"]
    allowed = count["works"] + count["late"] + count["refused"] + count["collateral"]
    harmless = count["passes"] + count["harmed"]
    words = []
    if blocked or allowed:
        words.append(f"{count['stopped']}/{blocked}; {count['works'] + count['late']}+{count['refused']}/{allowed}")
    if harmless:
        words.append(f"{count['passes']}/{harmless} pass")
    words += [f"**{count[bad]} {bad}**" for bad in BAD_OUTCOMES if count[bad]]
    return ", ".join(words) or "–"


def _line(strategy: Strategy, results: Sequence[Result]) -> str:
    expected = (
        "passes"
        if strategy.harmless
        else f"stopped; may be refused: {strategy.ambiguous}"
        if strategy.ambiguous
        else "stopped; works"
    )
    words = [strategy.id.split(".", 1)[1], strategy.what, strategy.source, expected, _seen(results)]
    return "| " + " | ".join(word.replace("|", "\\|") for word in words) + " |\n"


def _seen(results: Sequence[Result]) -> str:
    parts = []
    for host, of in ((BLOCKED, "stopped"), (ALLOWED, "works")):
        count = Counter(result.outcomes[host] for result in results)
        landing = sum(times for outcome, times in count.items() if outcome != "unlanded")
        if not landing:
            continue
        parts.append(", ".join(
            f"**{outcome} {times}/{landing}**" if outcome in BAD_OUTCOMES else f"{outcome} {times}/{landing}"
            for outcome, times in sorted(count.items(), key=lambda item: item[0] != of) if outcome != "unlanded"
        ))  # fmt: skip
    return "; ".join(parts) or "never lands"
