"""Lines of lists."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.control.lists.formats import LINE_LIMIT, BadLine, Format, parse_line, parse_lines, parse_name

FORMATS: list[Format] = ["auto", "domains", "hosts"]

label = st.from_regex(rb"[a-z0-9_-]{1,20}", fullmatch=True)
name = st.lists(label, min_size=2, max_size=6).map(b".".join)
blank = st.sampled_from([b"", b" ", b"\t", b" \t "])
line = st.binary(max_size=80) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))


def parse(text: bytes, form: Format) -> list[bytes] | str:
    """The names of a line, or the reason why there are none."""
    try:
        return parse_line(text, form)
    except BadLine as reason:
        return str(reason)


@given(line, st.sampled_from(FORMATS))
@example(b"\xff" * (LINE_LIMIT + 1), "domains")
@example("a\u3002b".encode(), "domains")
def test_a_line_gives_names_as_hosts_are_compared_or_a_reason(text: bytes, form: Format) -> None:
    parsed = parse(text, form)
    if isinstance(parsed, str):
        assert parsed
        return
    for found in parsed:
        assert re.fullmatch(rb"[a-z0-9_.-]{1,253}|\[[0-9a-f:.]+\]", found)
        assert b".." not in found
        assert found[-1:] != b"."


@given(name, blank, blank, st.sampled_from([b"", b"\r", b"# why", b" # why\r"]), st.sampled_from([b"", b".", b"*."]))
def test_a_name_however_it_is_dressed(bare: bytes, before: bytes, after: bytes, end: bytes, front: bytes) -> None:
    dressed = before + front + bare.upper() + b"." + after + end
    assert parse_line(dressed, "domains") == parse_line(dressed, "auto") == [bare]


@given(st.lists(name, min_size=1, max_size=5), st.sampled_from([b"0.0.0.0", b"127.0.0.1", b"127.0.1.1", b"::", b"::1"]))
def test_a_hosts_line_however_it_is_spaced(names: list[bytes], sink: bytes) -> None:
    text = b"\t " + b" \t".join([sink, *names]) + b" # why\r"
    assert parse_line(text, "hosts") == parse_line(text, "auto") == names


@given(st.lists(line.filter(lambda text: b"\n" not in text), max_size=20), st.sampled_from(FORMATS))
def test_lines_together_are_lines_alone(lines: list[bytes], form: Format) -> None:
    together = list(parse_lines(lines, form))
    assert len(together) == len(lines)
    for text, found in zip(lines, together, strict=True):
        assert parse(text, form) == (str(found) if isinstance(found, BadLine) else found)


@pytest.mark.parametrize("text", [b"", b"   ", b"# comment", b"! comment", b"\xef\xbb\xbf# comment", b"\r", b"  #"])
def test_lines_that_say_nothing(text: bytes) -> None:
    for form in FORMATS:
        assert parse_line(text, form) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"\xef\xbb\xbfBad.Example\r", [b"bad.example"]),
        ("büro.example".encode(), [b"xn--bro-hoa.example"]),
        ("BÜRO.example".encode(), [b"xn--bro-hoa.example"]),
        ("公司.cn".encode(), [b"xn--55qx5d.cn"]),
        (b"*.zip", [b"zip"]),
        (b".afshin.ir", [b"afshin.ir"]),
        (b"192.0.2.7", [b"192.0.2.7"]),
        (b"2001:DB8::0:1", [b"[2001:db8::1]"]),
        (b"[2001:db8::1]", [b"[2001:db8::1]"]),
        (b"a_b-.example", [b"a_b-.example"]),
    ],
)
def test_odd_domains(text: bytes, found: list[bytes]) -> None:
    assert parse_line(text, "domains") == parse_line(text, "auto") == found


@pytest.mark.parametrize(
    "text",
    [b"127.0.0.1 localhost", b"::1 ip6-localhost ip6-loopback", b"0.0.0.0 0.0.0.0", b"127.0.0.1 LOCALHOST local"],
)
def test_entries_of_the_machine_itself_are_ignored(text: bytes) -> None:
    assert parse_line(text, "hosts") == []


@pytest.mark.parametrize(
    ("text", "form", "reason"),
    [
        (b"com", "domains", "would cover a top-level domain: write `*.com`"),
        (b"0.0.0.0 com", "hosts", "would cover a top-level domain"),
        (b"a.example b.example", "domains", "expected one name"),
        (b"a.example b.example", "auto", "expected an address, then names"),
        (b"a.example", "hosts", "expected an address, then names"),
        (b"0.0.0.0", "hosts", "expected a name behind the address"),
        (b"192.0.2.1 nas.example", "hosts", "expected an address that leads nowhere, such as 0.0.0.0, not 192.0.2.1"),
        (b"||bad.example^", "domains", "is no name (a filter rule, which this format has not)"),
        (b"address=/bad.example/#", "auto", "`address=/bad.example/` is no name"),
        (b"bad.example/path", "domains", "is no name"),
        (b"a..example", "domains", "is no name"),
        (b"fe80::1%eth0", "domains", "is no name"),
        (b"x" * 64 + b".example", "domains", "is no name"),
        (b".".join([b"x" * 60] * 5), "domains", "longer than 253 characters"),
        (b"x" * 5000, "auto", "longer than 4,096 bytes"),
        (b"caf\xe9.example", "domains", "neither an ASCII name nor an internationalised one"),
        (b"<!doctype html>", "auto", "expected an address, then names"),
    ],
)
def test_why_a_line_is_bad(text: bytes, form: Format, reason: str) -> None:
    with pytest.raises(BadLine) as caught:
        parse_line(text, form)
    assert reason in str(caught.value)


def test_a_name_is_a_fixed_point() -> None:
    for text in (b"*.Bad.Example.", "büro.example".encode(), b"::1"):
        assert parse_name(parse_name(text)) == parse_name(text)
