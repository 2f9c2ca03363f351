"""The names that the bench of lists is made of, and the hosts that it asks for."""

from pathlib import Path

import pytest
from bench.lists import Asked, build, find_all, main, make_names, write_list

from penstock.compile.native import kernel
from penstock.control.lists.bulk import read_bulk
from penstock.policy.snapshot import open_names


def test_names_differ_and_are_what_lists_have() -> None:
    names = list(make_names(5_000, 1))
    assert len(set(names)) == 5_000
    assert names == list(make_names(5_000, 1))
    assert len(read_bulk("\n".join(names).encode(), [(b"", b"")], bytes(16)).hashes) == 5_000


def test_half_of_the_hosts_are_listed(tmp_path: Path) -> None:
    write_list(tmp_path / "small.txt", 1_000, 1)
    write_list(tmp_path / "urls.txt", 10, 3, "/a/path")
    assert build(tmp_path, "small", urls=True)["names"] == 1_000
    database, asked = open_names(tmp_path / "small.db"), Asked(tmp_path / "small.txt", 400, 7)
    assert kernel(find_all)(database.address, int(asked.places.ctypes.data), 400) == 200
    database.close()


def test_it_says_what_it_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--names", "2000", "--small", "500", "--urls", "20", "--asked", "400", "--rounds", "2"]
    monkeypatch.setattr("sys.argv", ["bench.lists", *words])
    main()
    said = capsys.readouterr().out
    assert "large: 2,000 names, 20 web addresses, built in" in said
    assert "large against small, round by round:" in said
