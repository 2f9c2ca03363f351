"""Response policy zones."""

import io

import pytest

from penstock.control.lists import rpz
from penstock.control.lists.entries import Entry, Line
from penstock.control.lists.names_file import NamesError, Reach
from penstock.control.lists.rpz import read_zone

EXACT, BELOW = Reach.EXACT, Reach.BELOW
HEAD = "$TTL 300\n@ SOA localhost. root.localhost. 1 2 3 4 5\n  NS localhost.\n"
LOCAL = "a name with local data, unless `local_data: take`"


def read(text: str, takes_local_data: bool = False) -> list[Line]:
    """The records of a zone that say something."""
    lines = list(read_zone(io.BytesIO(text.encode()), takes_local_data))
    return [line for line in lines if isinstance(line.said, Exception) or line.said]


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ("bad.test CNAME .", Entry(b"bad.test", EXACT)),
        ("BAD.test 60 IN CNAME .", Entry(b"bad.test", EXACT)),
        ("*.bad.test CNAME *.", Entry(b"bad.test", BELOW)),
        ("bad.test CNAME rpz-drop.", Entry(b"bad.test", EXACT)),
        ("good.test CNAME rpz-passthru.", Entry(b"good.test", EXACT, True)),
        ("good.test CNAME good.test", Entry(b"good.test", EXACT, True)),
        ("bad.test CNAME rpz-tcp-only.", "a name whose answers are to come over TCP"),
        ("bad.test CNAME walled.example.", LOCAL),
        ("bad.test A 192.0.2.1", LOCAL),
        ("* CNAME .", "every name there is"),
        ("24.0.2.0.192.rpz-ip CNAME .", "a trigger of the kind rpz-ip"),
        ("ns.bad.test.rpz-nsdname CNAME .", "a trigger of the kind rpz-nsdname"),
        ("bad\\032name.test CNAME .", "`bad name.test` is no name"),
    ],
)
def test_records(record: str, said: Entry | str) -> None:
    (line,) = read(HEAD + record + "\n")
    assert (str(line.said) if isinstance(line.said, Exception) else line.said[0]) == said
    assert (line.number, line.text.decode()) == (4, record)


def test_local_data_can_be_taken() -> None:
    for record in ("bad.test A 192.0.2.1", "bad.test CNAME walled.example."):
        (line,) = read(HEAD + record, takes_local_data=True)
        assert list(line.said) == [Entry(b"bad.test", EXACT)]  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["bad.test", "bad.test.rpz.example."])
def test_names_are_meant_below_the_zone(name: str) -> None:
    origin = "$ORIGIN rpz.example.\n" + HEAD
    (line,) = read(f"{origin}{name} CNAME .")
    assert list(line.said) == [Entry(b"bad.test", EXACT)]  # type: ignore[arg-type]


def test_a_record_over_several_lines_does_not_shift_numbers() -> None:
    text = "@ 300 SOA localhost. root.localhost. (\n 1 2 3\n 4 5 )\n\n; why\nbad.test CNAME .\n"
    assert [line.number for line in read(text)] == [6]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("<!doctype html>\n", "not a zone file"),
        (HEAD + "bad.test CNAME\n", "not a zone file: near line .*: expecting an identifier"),
        (HEAD + "$INCLUDE /etc/passwd\n", r"not a zone file: .*INCLUDE.*not allowed"),
        ("$TTL 5\nbad.test CNAME .\n", "it has no SOA record"),
        ("", "it has no SOA record"),
    ],
)
def test_a_file_that_is_no_zone_is_refused(text: str, reason: str) -> None:
    with pytest.raises(NamesError, match=reason):
        read(text)


def test_a_zone_is_not_read_beyond_all_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEAD + "bad.test CNAME .\n"
    monkeypatch.setattr(rpz, "ZONE_LIMIT_BYTES", len(text))
    assert len(read(text)) == 1
    with pytest.raises(NamesError, match="larger than"):
        read(text + "\n")


def test_a_record_outside_of_the_zone_is_bad() -> None:
    (line,) = read("$ORIGIN rpz.example.\n" + HEAD + "bad.test. CNAME .\n")
    assert str(line.said).startswith("a record outside of the zone")
