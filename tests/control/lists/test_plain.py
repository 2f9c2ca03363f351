"""Lines of plain lists and hosts files."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from penstock.control.lists.entries import BadLine, Entry, parse_name, parse_said
from penstock.control.lists.names_file import Reach
from penstock.control.lists.plain import LINE_LIMIT, Form, make_parser, parse_line

FORMS: list[Form] = ["auto", "domains", "hosts"]

label = st.from_regex(rb"[a-z0-9_-]{1,20}", fullmatch=True)
name = st.lists(label, min_size=2, max_size=6).map(b".".join)
blank = st.sampled_from([b"", b" ", b"\t", b" \t "])
line = st.binary(max_size=80) | st.text(max_size=40).map(lambda text: text.encode("utf-8", "surrogatepass"))


def parse(text: bytes, form: Form) -> list[bytes] | str:
    """The names of a line, or the reason why there are none."""
    said = parse_said(make_parser(form), text)
    return str(said) if isinstance(said, Exception) else [entry.name + entry.path for entry in said]


@given(line, st.sampled_from(FORMS))
@example(b"\xff" * (LINE_LIMIT + 1), "domains")
@example("a\u3002b".encode(), "domains")
def test_a_line_gives_names_as_hosts_are_compared_or_a_reason(text: bytes, form: Form) -> None:
    parsed = parse(text, form)
    if isinstance(parsed, str):
        assert parsed
        return
    for found in parsed:
        assert re.fullmatch(rb"([a-z0-9_.-]{1,253}|\[[0-9a-f:.]+\])(/[!-~]*)?", found)
        assert b".." not in found.partition(b"/")[0]
        assert found.partition(b"/")[0][-1:] != b"."


@given(name, blank, blank, st.sampled_from([b"", b"\r", b"# why", b" # why\r"]), st.sampled_from([b"", b".", b"*."]))
def test_a_name_however_it_is_dressed(bare: bytes, before: bytes, after: bytes, end: bytes, front: bytes) -> None:
    dressed = before + front + bare.upper() + b"." + after + end
    assert parse(dressed, "domains") == parse(dressed, "auto") == [bare]


@given(st.lists(name, min_size=1, max_size=5), st.sampled_from([b"0.0.0.0", b"127.0.0.1", b"127.0.1.1", b"::", b"::1"]))
def test_a_hosts_line_however_it_is_spaced(names: list[bytes], sink: bytes) -> None:
    text = b"\t " + b" \t".join([sink, *names]) + b" # why\r"
    assert parse(text, "hosts") == parse(text, "auto") == names


@pytest.mark.parametrize("text", [b"", b"   ", b"# comment", b"! comment", b"\xef\xbb\xbf# comment", b"\r", b"  #"])
def test_lines_that_say_nothing(text: bytes) -> None:
    for form in FORMS:
        assert parse(text, form) == []


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
        ("faß.example".encode(), [b"xn--fa-hia.example"]),  # IDNA 2003 made `fass` of it
        ("a\u0308.example".encode(), [b"xn--4ca.example"]),  # a letter and its dots, composed
        ("www．ａ。example".encode(), [b"www.a.example"]),
        (b"bad.example/path", [b"bad.example/path"]),
        (b"HTTPS://user@Bad.example:8443/A/../B#c", [b"bad.example/B"]),
        ("büro.example/ü".encode(), [b"xn--bro-hoa.example/%c3%bc"]),
        (b"http://[2001:DB8::1]:80/x", [b"[2001:db8::1]/x"]),
    ],
)
def test_odd_domains(text: bytes, found: list[bytes]) -> None:
    assert parse(text, "domains") == parse(text, "auto") == found


@pytest.mark.parametrize(
    "text",
    [b"127.0.0.1 localhost", b"::1 ip6-localhost ip6-loopback", b"0.0.0.0 0.0.0.0", b"127.0.0.1 LOCALHOST local"],
)
def test_entries_of_the_machine_itself_are_ignored(text: bytes) -> None:
    assert parse(text, "hosts") == []


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
        (b"address=/bad.example/#", "auto", "`address=` is no name"),
        (b"address=/bad.example/x", "domains", "is no name"),
        (b"http:///path", "domains", "is no web address"),
        (b"bad.example" + b"/a" * 70, "domains", "a path of more than 64 parts"),
        ("\u2603.example".encode(), "domains", "nor an internationalised one: Codepoint U+2603"),
        ("a\u200d.example".encode(), "domains", "nor an internationalised one"),
        (b"a..example", "domains", "is no name"),
        (b"fe80::1%eth0", "domains", "is no name"),
        (b"x" * 64 + b".example", "domains", "is no name"),
        (b".".join([b"x" * 60] * 5), "domains", "longer than 253 characters"),
        (b"x" * 5000, "auto", "longer than 4,096 bytes"),
        (b"caf\xe9.example", "domains", "neither an ASCII name nor an internationalised one"),
        (b"<!doctype html>", "auto", "expected an address, then names"),
    ],
)
def test_why_a_line_is_bad(text: bytes, form: Form, reason: str) -> None:
    with pytest.raises(BadLine) as caught:
        parse_line(text, form)
    assert reason in str(caught.value)


def test_a_name_is_a_fixed_point() -> None:
    for text in (b"Bad.Example.", "büro.example".encode(), b"::1"):
        assert parse_name(parse_name(text)) == parse_name(text)


@pytest.mark.parametrize(
    ("text", "match", "reach"),
    [
        (b"bad.example", None, Reach.SUBTREE),
        (b"*.bad.example", None, Reach.SUBTREE),
        (b"bad.example", "exact", Reach.EXACT),
        (b"*.bad.example", "exact", Reach.BELOW),
        (b".bad.example", "exact", Reach.SUBTREE),
        (b"0.0.0.0 bad.example", "exact", Reach.EXACT),
    ],
)
def test_how_far_a_name_reaches(text: bytes, match: str | None, reach: Reach) -> None:
    assert list(parse_line(text, "auto", match)) == [Entry(b"bad.example", reach)]


def test_a_web_address_may_stand_for_its_host() -> None:
    assert list(parse_line(b"https://bad.example/login", "auto", urls="host")) == [Entry(b"bad.example", Reach.EXACT)]
