"""Whole HTTP/1.1 responses for the actions of a configuration, with a place for the reference number.

It knows HTML and HTTP, and nothing of connections: who sends a response patches the number and cuts it into segments.
Every response closes the connection and is kept by no cache (RFC 9110, 6.4 and 15; RFC 9111, 5.2.2.5).
An `empty` answer is a 200 without content: a script or frame that gets it counts as loaded, so fewer sites break than with
a 204 or an error, and one who follows an advertisement sees that a page came.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from penstock.control.configuration import Configuration, Service
from penstock.errors import PenstockError
from penstock.path.overrides import CONTINUE_QUERY
from penstock.policy.actions import BLOCK, EMPTY, REDIRECT, WARN
from penstock.policy.snapshot import (
    COLUMN_CONTINUED,
    COLUMN_COURT,
    COLUMN_OWN_LIST,
    HOOK_RESPONSE_LIMIT_BYTES,
    NAMELESS,
    PLACE_LIMIT,
    PLACE_TEXTS,
    REFERENCE,
    RESPONSE_LIMIT_BYTES,
    TEXT_PLACE,
    TOKEN,
    URL_PLACE,
)

TEMPLATE = Path(__file__).with_name("block.html.j2")

# The page needs nothing but its own style, and must not be sniffed or leave a trace in a Referer.
CONTENT_POLICY = "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'"
OTHER_HEADERS = (
    "Content-Type: text/html; charset=utf-8",
    "X-Content-Type-Options: nosniff",
    "Referrer-Policy: no-referrer",
)
PAGE_HEADERS = (CONTENT_POLICY, *OTHER_HEADERS)
# Whoever clicks the link has seen what the page says: no other page shows it in a frame under something else.
WARNING_HEADERS = (f"{CONTENT_POLICY}; frame-ancestors 'none'", *OTHER_HEADERS)

CONTINUE_LINK = f"{CONTINUE_QUERY}{TOKEN.decode()}"  # relative: the same address with this query


class PageError(PenstockError):
    """A page cannot be made of the configuration; the text says which file and why."""


def render_responses(configuration: Configuration) -> dict[tuple[int, int], bytes]:
    """Every response that the configuration can need, by category (bit number in `category_names`) and action, or one of
    policy.snapshot's other columns.

    A category of several services is explained by the first that has it. Raises PageError.
    """
    return dict(_render_all(configuration))


def render_page(
    configuration: Configuration, title: str, reason: str, category: str, service: str, link: str = ""
) -> bytes:
    """The block page as HTML. `category` and `service` are empty where no category explains the refusal; `link`: by which
    the client can go on."""
    page = configuration.page
    source = page.template or TEMPLATE
    # Who designs the page need not be somebody who may run code as root.
    environment = ImmutableSandboxedEnvironment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    try:
        text = environment.from_string(source.read_text("utf-8")).render(
            title=title,
            reason=reason,
            category=category.replace("_", " "),
            service=service,
            continue_link=link,
            reference=REFERENCE.decode(),
            operator=page.operator,
            contact=page.contact,
            contact_link=_find_link(page.contact),
        )
        return text.encode()
    except (OSError, UnicodeError, TemplateError) as error:
        line = getattr(error, "lineno", None)
        raise PageError(f"{source}{f':{line}' if line else ''}: page.template: {error}") from None


def render_hook_pages(configuration: Configuration, categories: list[str]) -> dict[int, bytes]:
    """The responses of hooks' refusals, by row of policy.snapshot.find_hook_page, with room for what they say.

    Raises PageError."""
    pages = {}
    for row, category in ((NAMELESS, ""), *enumerate(categories)):
        page = render_page(configuration, "This site is blocked", TEXT_PLACE.decode(), category, "")
        pages[row] = build_response("403 Forbidden", PAGE_HEADERS, page, HOOK_RESPONSE_LIMIT_BYTES)
    headers = (f"Location: {URL_PLACE.decode()}", "Referrer-Policy: no-referrer")
    return pages | {NAMELESS + 1: build_response("302 Found", headers, b"")}


def build_response(
    status: str, headers: tuple[str, ...], content: bytes, limit_bytes: int = RESPONSE_LIMIT_BYTES
) -> bytes:
    """A response with its framing. Raises PageError when it is too large, or names the reference too often."""
    framing = (f"Content-Length: {len(content)}", "Cache-Control: no-store", "Connection: close")
    response = "\r\n".join((f"HTTP/1.1 {status}", *headers, *framing, "", "")).encode("ascii") + content
    if len(response) > limit_bytes:
        raise PageError(f"page: a response of {len(response):,} bytes; expected at most {limit_bytes:,}")
    if sum(response.count(text) for text in PLACE_TEXTS) > PLACE_LIMIT:
        raise PageError(f"page: what differs from request to request stands in more than {PLACE_LIMIT} places")
    return response


def build_location(url: str, category: str) -> str:
    """The operator's page with what it needs to explain the refusal, in its query."""
    parts = urlsplit(url)
    query = f"category={quote(category)}&reference={REFERENCE.decode()}"
    return parts._replace(query=f"{parts.query}&{query}" if parts.query else query).geturl()


def _render_all(configuration: Configuration) -> Iterator[tuple[tuple[int, int], bytes]]:
    bits = {category: bit for bit, category in enumerate(configuration.category_names)}
    done = set()
    for name, service in configuration.services.items():
        for category, action in service.categories.items():
            if (category, action) not in done:
                done.add((category, action))
                yield from _render_one(configuration, name, service, category, bits[category], action)
    title = "This request was refused"
    reason = "It could be read in more than one way, so it cannot be told which site it asks for."
    page = render_page(configuration, title, reason, "", "")
    yield (NAMELESS, BLOCK), build_response("400 Bad Request", PAGE_HEADERS, page)
    reason = "You, or who manages this connection, put it on the list of sites that are always refused."
    page = render_page(configuration, "This site is on your own list", reason, "", "")
    yield (NAMELESS, COLUMN_OWN_LIST), build_response("403 Forbidden", PAGE_HEADERS, page)
    # An empty query takes the token out of the address, and leads to the same path (RFC 3986 5.2.2).
    yield (
        (NAMELESS, COLUMN_CONTINUED),
        build_response("302 Found", ("Location: ?", "Referrer-Policy: no-referrer"), b""),
    )
    for category in configuration.court_orders.categories:
        reason = "A court ordered that this site be refused. The order holds for everybody; nobody can switch it off."
        page = render_page(
            configuration, "This site is closed by order of a court", reason, category, "every connection"
        )
        # RFC 7725
        yield (bits[category], COLUMN_COURT), build_response("451 Unavailable For Legal Reasons", PAGE_HEADERS, page)


def _render_one(
    configuration: Configuration, name: str, service: Service, category: str, bit: int, action: str
) -> Iterator[tuple[tuple[int, int], bytes]]:
    if action == "block":
        shown = category.replace("_", " ")
        reason = f"It is listed as {shown}, and “{name}” is switched on for this connection."
        page = render_page(configuration, "This site is blocked", reason, category, name)
        yield (bit, BLOCK), build_response("403 Forbidden", PAGE_HEADERS, page)
    elif action == "warn":
        shown = category.replace("_", " ")
        reason = f"It is listed as {shown}. “{name}” asks before you go there."
        page = render_page(configuration, "This site may harm you", reason, category, name, CONTINUE_LINK)
        yield (bit, WARN), build_response("403 Forbidden", WARNING_HEADERS, page)
    elif action == "redirect":
        url = service.redirect_url or configuration.page.redirect_url or ""
        headers = (f"Location: {build_location(url, category)}", "Referrer-Policy: no-referrer")
        yield (bit, REDIRECT), build_response("302 Found", headers, b"")
    elif action == "empty":
        yield (bit, EMPTY), build_response("200 OK", (), b"")


def _find_link(contact: str) -> str:
    if re.match(r"(?:https?://|mailto:|tel:)\S+$", contact):
        return contact
    return f"mailto:{contact}" if re.fullmatch(r"[^\s@]+@[^\s@]+\.[^\s@]+", contact) else ""
