"""Begin and end of causes from counters that move; the word of policies."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.configuration import Configuration
from penstock.control.exceptions import CAUSES, POLICIES, QUIET_S, Watch, pack_policies
from penstock.kernel import exceptions as e
from penstock.kernel.reasons import NAMES

ZERO = dict.fromkeys(NAMES.values(), 0)


def test_every_cause_counts_reasons_that_there_are() -> None:
    named = [name for cause in CAUSES for name in cause.reasons]
    assert set(named) <= set(NAMES.values())
    assert len(named) == len(set(named)), "a packet belongs to one cause"


def test_the_word_holds_every_choice() -> None:
    assert pack_policies(Configuration()) == 0
    for cause in CAUSES:
        for policy in ("forward", "refuse"):
            if cause.place is None:
                continue
            try:
                configuration = Configuration(exceptions={cause.name: policy})  # type: ignore[arg-type]
            except ValueError:
                continue  # not every cause has every choice
            assert pack_policies(configuration) >> cause.place & e.POLICY_MASK == POLICIES[policy]
            assert pack_policies(configuration) & ~(e.POLICY_MASK << cause.place) == 0


def test_an_episode_begins_goes_on_and_ends() -> None:
    watch = Watch()
    assert not list(watch.look(ZERO, 0))
    assert list(watch.look(ZERO | {"ring_full": 3}, 1)) == [
        {"event": "exception", "cause": "ring_full", "state": "begin", "packets": 3}
    ]
    assert "ring_full" in watch.episodes
    assert not list(watch.look(ZERO | {"ring_full": 5}, 4))
    assert not list(watch.look(ZERO | {"ring_full": 5}, 4 + QUIET_S - 1))
    assert list(watch.look(ZERO | {"ring_full": 5}, 4 + QUIET_S)) == [
        {"event": "exception", "cause": "ring_full", "state": "end", "packets": 5, "lasted_s": 3}
    ]
    assert not watch.episodes


def test_what_a_killed_run_left_active_ends_with_the_next() -> None:
    killed, watch = Watch(), Watch()
    list(killed.look(ZERO, 0))
    assert killed.active == 0
    list(killed.look(ZERO | {"ring_full": 3, "malformed": 1}, 1))
    watch.resume(killed.active, 0)
    assert set(watch.episodes) == {"ring_full", "malformed"}
    assert not list(watch.look(ZERO | {"ring_full": 3, "malformed": 1}, 1))
    assert not list(watch.look(ZERO | {"ring_full": 9, "malformed": 1}, 2)), "it goes on: no second begin"
    told = [*watch.look(ZERO | {"ring_full": 9, "malformed": 1}, QUIET_S), *watch.look(ZERO | {"ring_full": 9}, 99)]
    assert [(one["cause"], one["state"], one["packets"]) for one in told] == [
        ("malformed", "end", 0),
        ("ring_full", "end", 6),
    ]
    assert watch.active == 0


def test_an_orderly_end_ends_every_cause() -> None:
    watch = Watch()
    list(watch.look(ZERO, 0))
    list(watch.look(ZERO | {"ring_full": 3}, 1))
    assert [(one["cause"], one["state"], one["packets"]) for one in watch.close()] == [("ring_full", "end", 3)]
    assert watch.active == 0


def test_what_was_counted_before_the_first_look_is_no_episode() -> None:
    assert not list(Watch().look(ZERO | {"table_full": 7}, 0))


@given(st.lists(st.tuples(st.floats(0.1, 30), st.integers(0, 3)), max_size=30))
def test_begins_and_ends_alternate_and_the_packets_add_up(steps: list[tuple[float, int]]) -> None:
    watch, now_s, total, told = Watch(), 0.0, 0, list[dict[str, Any]]()
    list(watch.look(ZERO, now_s))
    for pause_s, packets in [*steps, (QUIET_S, 0), (QUIET_S, 0)]:
        now_s, total = now_s + pause_s, total + packets
        told += watch.look(ZERO | {"malformed": total}, now_s)
    assert [one["state"] for one in told] == ["begin", "end"] * (len(told) // 2)
    assert sum(one["packets"] for one in told if one["state"] == "end") == total


def test_a_wrong_policy_is_refused_with_its_line(tmp_path: Path) -> None:
    from penstock.control.configuration import ConfigurationError, load_configuration

    path = tmp_path / "penstock.yaml"
    path.write_text("exceptions:\n  ring_full: refuse\n")
    with pytest.raises(ConfigurationError, match=r"penstock\.yaml:2"):
        load_configuration(path)
