"""The report of a log: what trials would have done stands apart from what was done."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.report import ReportError, Row, count_events, merge, print_report

event = st.fixed_dictionaries(
    {
        "timestamp": st.just("2026-01-01T00:00:00+0000"),
        "host": st.sampled_from(["a.test", "b.test"]),
        "subscriber": st.sampled_from(["home", "office"]),
        "action": st.sampled_from(["forward", "report", "block", "warn"]),
        "service": st.sampled_from([None, "web"]),
        "category": st.sampled_from([None, "phishing"]),
        "reason": st.just("own_list"),
    },
    optional={"would": st.sampled_from(["block", "warn"]), "overridden": st.just(True)},
)


@given(st.lists(event), st.lists(event))
def test_every_request_is_in_one_row_or_was_let_go(first: list[dict], second: list[dict]) -> None:
    both = merge(count_events(map(json.dumps, first)), count_events(map(json.dumps, second)))
    assert both.rows == count_events(map(json.dumps, first + second)).rows
    assert both.requests == len(first) + len(second)
    trials = [one for one in first + second if "would" in one]
    assert sum(row.requests for key, row in both.rows.items() if key[0]) == len(trials)
    refused = [one for one in first + second if "would" not in one and one["action"] in ("block", "warn")]
    assert sum(row.requests for key, row in both.rows.items() if not key[0]) == len(refused)
    for row in both.rows.values():
        assert row.requests == sum(row.hosts.values())


def test_what_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = {"timestamp": "2026-01-01T00:00:00+0000", "subscriber": "home", "category": "new", "service": "trial"}
    lines = [base | {"host": "a.test", "action": "report", "would": "block"}] * 3
    lines += [
        base | {"host": "b.test", "action": "warn", "service": "web"},
        base | {"host": "c.test", "action": "forward"},
    ]
    lines += [{"event": "ring_full", "timestamp": "x"}]
    plain, packed = tmp_path / "events.json", tmp_path / "events.json.gz"
    plain.write_text("\n".join(map(json.dumps, lines)) + "\nhalf a li\n[]\n")
    packed.write_bytes(gzip.compress(json.dumps(lines[0]).encode()))
    print_report([plain, packed])
    said = " ".join(capsys.readouterr().out.split())
    assert "4 (66.7%)" in said
    assert "a.test (4)" in said
    assert "6 requests were written down" in said
    assert "2 lines are no events" in said


def test_nothing_to_report(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="No such file"):
        print_report([tmp_path / "gone"])
    (tmp_path / "half.gz").write_bytes(gzip.compress(b'{"host": 1}\n' * 99)[:-9])
    with pytest.raises(ReportError, match=r"half\.gz"):
        print_report([tmp_path / "half.gz"])
    (tmp_path / "empty").write_text("")
    with pytest.raises(ReportError, match="no requests"):
        print_report([tmp_path / "empty"])


def test_hosts_beyond_the_bound_are_counted_without_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("penstock.report.HOSTS_KEPT", 2)
    row = Row()
    for host in ("a", "b", "c", "c", "a"):
        row.add({"host": host})
    assert (row.requests, dict(row.hosts)) == (5, {"a": 2, "b": 1})
