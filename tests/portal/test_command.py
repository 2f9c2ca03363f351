"""`penstock token` and `penstock events`: as an operator types them."""

import json
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from penstock.cli import app
from penstock.portal.journal import Journal
from penstock.portal.schema import open_database
from penstock.portal.tokens import Tokens
from tests.portal.test_journal import write_event


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    path = tmp_path / "penstock.yaml"
    path.write_text(yaml.safe_dump({"api": {"database": "here/portal.db", "journal": "here/journal.db"}}))
    return path


def run(configuration: Path, *words: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, [*words, "--config", str(configuration)])
    return done.exit_code, done.stdout, done.stderr


def test_a_token_from_its_birth_to_its_end(configuration: Path) -> None:
    status, text, told = run(
        configuration, "token", "create", "--role", "selfcare", "--subscriber", "home", "--days", "2"
    )
    assert status == 0
    assert "selfcare of home" in told
    with closing(open_database(configuration.parent / "here" / "portal.db")) as database:
        token = Tokens(database).find(text.strip(), time.time())
    assert token is not None
    assert (token.subscriber, token.name) == ("home", "selfcare")
    assert token.expires_s is not None
    assert 1.9 < (token.expires_s - time.time()) / 86_400 < 2.1
    assert "home" in run(configuration, "token", "list")[1]
    assert run(configuration, "token", "revoke", str(token.id))[0] == 0
    status, _, told = run(configuration, "token", "revoke", str(token.id))
    assert status == 1
    assert "there is no token" in told


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--role", "boss"), "expected one of operator, support, selfcare"),
        (("--role", "selfcare"), "expected a subscriber"),
        (("--role", "support", "--subscriber", "home"), "expected a subscriber with the role selfcare"),
    ],
)
def test_what_makes_no_sense(configuration: Path, words: tuple[str, ...], expected: str) -> None:
    status, _, told = run(configuration, "token", "create", *words)
    assert status == 1
    assert expected in told


def test_an_export(configuration: Path, tmp_path: Path) -> None:
    status, _, told = run(configuration, "events", "export")
    assert status == 1
    assert "there is no journal" in told
    with closing(Journal(configuration.parent / "here" / "journal.db")) as journal:
        journal.write_lines([write_event(86_400.0 * day, host=f"{day}.example") for day in range(4)])
    status, text, _ = run(configuration, "events", "export", "--from", "1970-01-02", "--to", "1970-01-04")
    assert status == 0
    assert [json.loads(line)["host"] for line in text.splitlines()] == ["1.example", "2.example"]
    assert "home" not in text
    output = tmp_path / "out.jsonl"
    assert run(configuration, "events", "export", "--output", str(output))[0] == 0
    assert len(output.read_text().splitlines()) == 4
    assert run(configuration, "events", "export", "--output", str(output))[0] == 1
    assert run(configuration, "events", "export", "--from", "yesterday")[0] == 1
