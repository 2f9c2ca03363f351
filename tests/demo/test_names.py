"""What the demo expects of each look-up, and that it says what did not come so."""

from dataclasses import replace
from pathlib import Path

import pytest

from penstock.control.configuration import load_configuration
from penstock.demo.box import GOOD, write_configuration
from penstock.demo.names import BAD, SAFE, SEARCH, SETTINGS, Question, Told, build_rows, find_wrong
from penstock.demo.topology import HOME, OFFICE, SERVER_IPV4

QUESTIONS = [question for row in build_rows() for question in row]
HEARD = {(one.subscriber.address(one.family), one.name) for one in QUESTIONS if one.is_heard}
REFUSED = Question(BAD, "TCP", HOME, 6)


def right(question: Question) -> Told:
    alias = SAFE if question.word == "safe search" else ""
    return Told(question.expected, alias, "Blocked (15)" if question.word == "blocked" else "")


TOLD = {question: right(question) for question in QUESTIONS}


def test_only_home_is_refused_or_led_elsewhere() -> None:
    assert {one.word for one in QUESTIONS if one.subscriber is OFFICE or one.name == GOOD} == {"address"}
    assert Question(GOOD, "UDP", HOME, 4).expected == SERVER_IPV4
    assert REFUSED.expected == "NXDOMAIN"
    search = Question(SEARCH, "UDP", HOME, 4)
    assert search.expected != replace(search, subscriber=OFFICE).expected
    assert {one.transport for one in QUESTIONS} == {"UDP", "TCP"}
    assert {one.family for one in QUESTIONS} == {4, 6}


def test_what_comes_as_expected_is_no_complaint() -> None:
    assert not list(find_wrong(TOLD, HEARD))


@pytest.mark.parametrize(
    ("question", "told"),
    [
        (REFUSED, Told(SERVER_IPV4, "", "")),
        (REFUSED, Told("NXDOMAIN", "", "")),
        (Question(SEARCH, "UDP", HOME, 4), replace(TOLD[Question(SEARCH, "UDP", HOME, 4)], alias="")),
    ],
)
def test_what_does_not_is_one(question: Question, told: Told) -> None:
    (complaint,) = find_wrong({**TOLD, question: told}, HEARD)
    assert question.name in complaint


def test_a_refused_name_that_was_heard_is_one() -> None:
    assert len(list(find_wrong(TOLD, HEARD | {(HOME.ipv6, BAD)}))) == 2  # over UDP and TCP
    assert len(list(find_wrong(TOLD, set()))) == sum(one.is_heard for one in QUESTIONS)


def test_the_configuration_loads_with_safe_search(tmp_path: Path) -> None:
    found = load_configuration(write_configuration(tmp_path, **SETTINGS))
    levels = {one.id: found.profiles[one.profile].safe_search for one in found.subscribers}
    assert levels == {HOME.name: "strict", OFFICE.name: "off"}
