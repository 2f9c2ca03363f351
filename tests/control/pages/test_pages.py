"""Responses: whole HTTP, small, and safe whatever an operator writes."""

from email.parser import BytesParser
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.control.configuration import Configuration, Page, Service
from penstock.control.pages.pages import PageError, build_location, render_responses
from penstock.policy.actions import BLOCK, EMPTY, REDIRECT
from penstock.policy.snapshot import COLUMN_CONTINUED, COLUMN_OWN_LIST, NAMELESS, REFERENCE, RESPONSE_LIMIT_BYTES

PLAIN = Page(contact="x")

text = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), max_size=60)


def configure(page: Page = PLAIN, **categories: str) -> Configuration:
    return Configuration(services={"web protection": Service(categories=categories)}, page=page)


class Reader(HTMLParser):
    """Collects the tags, links and words of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str | None] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for key, value in attributes if key == "href"]

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def split(response: bytes) -> tuple[str, dict[str, str], bytes]:
    """Status line, headers and content of a response."""
    head, _, content = response.partition(b"\r\n\r\n")
    status, _, lines = head.partition(b"\r\n")
    headers = {key.lower(): value for key, value in BytesParser().parsebytes(lines).items()}
    return status.decode(), headers, content


def test_the_block_page_says_what_it_must() -> None:
    page = Page(operator="Example Networks", contact="https://help.example/")
    status, headers, content = split(render_responses(configure(page, mixed_adult="block"))[0, BLOCK])
    assert status == "HTTP/1.1 403 Forbidden"
    assert headers["content-type"] == "text/html; charset=utf-8"
    reader = Reader(content.decode())
    for words in ("mixed adult", "web protection", REFERENCE.decode(), "https://help.example/"):
        assert words in reader.words
    assert any("Example Networks" in words for words in reader.words)
    assert reader.links == ["https://help.example/"]
    assert b'<html lang="en">' in content
    assert b"prefers-color-scheme:dark" in content


def test_every_response_is_framed_and_kept_by_nobody() -> None:
    page = Page(redirect_url="https://help.example/why?x=1#top")
    responses = render_responses(configure(page, a="block", b="redirect", c="empty", d="report"))
    of_nobody = {(NAMELESS, BLOCK), (NAMELESS, COLUMN_OWN_LIST), (NAMELESS, COLUMN_CONTINUED)}
    assert set(responses) == {(0, BLOCK), (1, REDIRECT), (2, EMPTY), *of_nobody}
    for response in responses.values():
        _, headers, content = split(response)
        assert headers["content-length"] == str(len(content))
        assert (headers["connection"], headers["cache-control"]) == ("close", "no-store")
        assert "transfer-encoding" not in headers
        assert len(response) <= RESPONSE_LIMIT_BYTES
    status, headers, content = split(responses[1, REDIRECT])
    assert (status, content) == ("HTTP/1.1 302 Found", b"")
    assert headers["location"] == f"https://help.example/why?x=1&category=b&reference={REFERENCE.decode()}#top"
    assert split(responses[2, EMPTY])[0] == "HTTP/1.1 200 OK"
    assert split(responses[NAMELESS, BLOCK])[0] == "HTTP/1.1 400 Bad Request"


@settings(deadline=None)
@given(text, text, text.filter(lambda name: name and name.strip() == name))
def test_nothing_that_an_operator_writes_becomes_markup(operator: str, contact: str, service: str) -> None:
    plain = Reader(split(render_responses(configure(a="block"))[0, BLOCK])[2].decode())
    configuration = Configuration(
        services={service: Service(categories={"a": "block"})}, page=Page(operator=operator, contact=contact)
    )
    reader = Reader(split(render_responses(configuration)[0, BLOCK])[2].decode())
    assert [tag for tag in reader.tags if tag not in ("a", "p")] == [tag for tag in plain.tags if tag not in ("a", "p")]
    assert all(link is not None and link.startswith(("http", "mailto:", "tel:")) for link in reader.links)
    assert service in reader.words


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://h.example", "https://h.example?category=a_b&reference=REFERENCE-NUMBER"),
        ("https://h.example/?", "https://h.example/?category=a_b&reference=REFERENCE-NUMBER"),
        ("https://h.example/?q=%20", "https://h.example/?q=%20&category=a_b&reference=REFERENCE-NUMBER"),
    ],
)
def test_a_location_keeps_the_query(url: str, location: str) -> None:
    assert build_location(url, "a_b") == location


def test_the_service_decides_where_a_redirect_leads() -> None:
    service = Service(categories={"a": "redirect"}, redirect_url="https://own.example/")
    configuration = Configuration(services={"web": service}, page=Page(redirect_url="https://all.example/"))
    assert b"\r\nLocation: https://own.example/?category=a&" in render_responses(configuration)[0, REDIRECT]


def test_a_template_of_the_operators_own(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text("<p>{{ category }} {{ operator }} {{ reference }}</p>")
    _, _, content = split(render_responses(configure(Page(template=path, operator="A&B"), a="block"))[0, BLOCK])
    assert content == b"<p>a A&amp;B REFERENCE-NUMBER</p>"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ nothing }}", r"page\.html: page\.template: 'nothing' is undefined"),
        ("a\n{% if %}", r"page\.html:2: page\.template: "),
        (
            "{{ ''.__class__.__mro__[1].__subclasses__() }}",
            r"page\.html: page\.template: access to attribute '__class__'",
        ),
        ("x" * RESPONSE_LIMIT_BYTES, r"a response of 4,\d+ bytes; expected at most 4,096"),
        ("{{ reference }}" * 9, r"more than 8 places"),
    ],
)
def test_a_template_that_cannot_be_used(template: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(template)
    with pytest.raises(PageError, match=reason):
        render_responses(configure(Page(template=path), a="block"))
    with pytest.raises(PageError, match=r"gone: page\.template: .*No such file"):
        render_responses(configure(Page(template=tmp_path / "gone"), a="block"))
