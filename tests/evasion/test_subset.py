"""A part of the catalogue, live: some of each family, over IPv4 and IPv6. The whole is `python -m tests.evasion`."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.demo.box import run_penstock
from tests.evasion.catalogue import CATALOGUE
from tests.evasion.ground import Ground, build_ground
from tests.evasion.improvised import build_improvised
from tests.evasion.recipe import BLOCKED, Strategy
from tests.evasion.stage import Part, Seen, parts_of, play_all
from tests.evasion.verdict import HOSTS, Result, judge_all, judge_part, play_through, play_without
from tests.live.line import live

pytestmark = live("openssl", "nginx", "node", "unbound")

IMPROVISED_SEED, IMPROVISED_COUNT = 6, 12
EVERY = 13  # the stride through the catalogue; the first of each family is always there
WITNESSES = {"option.reset-with-data", "decoy.at-stale-stamp"}  # always there: they were collateral once


def choose() -> list[Strategy]:
    """Some strategies of each family."""
    seen: set[str] = set()
    chosen = []
    for number, one in enumerate(CATALOGUE):
        is_turn = number % EVERY == 0 or one.family not in seen
        if is_turn or one.id in WITNESSES:
            chosen.append(one)
        seen.add(one.family)
    return [*chosen, *build_improvised(IMPROVISED_SEED, IMPROVISED_COUNT)]


CHOSEN = choose()
PARTS = parts_of(CHOSEN, ["IPv4"], HOSTS) + parts_of(CHOSEN[::2], ["IPv6"], HOSTS)


@pytest.fixture(scope="module")
def here() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="penstock-evasion-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def without(here: Path) -> dict[Part, Seen]:
    with build_ground(here / "cable", is_judged=False) as ground:
        return play_without(ground, PARTS)


@pytest.fixture(scope="module")
def box(here: Path) -> Iterator[Ground]:
    with build_ground(here / "box", is_judged=True) as ground:
        yield ground


@pytest.fixture(scope="module")
def results(box: Ground, without: dict[Part, Seen]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {one.id: [] for one in CHOSEN}
    for result in judge_all(PARTS, without, play_through(box, PARTS, without)):
        found[result.key.id].append(result)
    return found


@pytest.mark.parametrize("one", CHOSEN, ids=lambda one: one.id)
def test_nothing_slips_through_and_nothing_breaks(results: dict[str, list[Result]], one: Strategy) -> None:
    bad = [f"{result.key} {result.outcomes} {result.seen}" for result in results[one.id] if result.is_bad]
    assert not bad, "\n".join([*bad, f"repeat: python -m tests.evasion {one.id}"])


def test_most_of_them_land(results: dict[str, list[Result]]) -> None:
    landing = [
        name for name, found in results.items() if any(set(one.outcomes.values()) != {"unlanded"} for one in found)
    ]
    assert len(landing) > 0.7 * len(CHOSEN)


def test_a_box_that_is_switched_off_lets_them_through(box: Ground, results: dict[str, list[Result]]) -> None:
    """The instrument shows a bypass where there is one: for every strategy whose blocked name lands without the box."""
    landing = {name for name, found in results.items() if any(one.outcomes[BLOCKED] == "stopped" for one in found)}
    parts = [part for part in PARTS if part.strategy.id in landing and part.host == BLOCKED and part.net == "IPv4"][
        ::10
    ]
    road: Any = box.road
    assert run_penstock(road, ["off"]).returncode == 0
    try:
        seen = play_all(box, parts)
    finally:
        assert run_penstock(road, ["on"]).returncode == 0
    outcomes = {judge_part(part, seen[part], seen[part]) for part in parts}
    assert "bypass" in outcomes
    assert sum(bool(seen[part].count(BLOCKED)) for part in parts) > 0.8 * len(parts)
