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
from penstock.policy.actions import BLOCK, EMPTY, REDIRECT
from penstock.policy.snapshot import NAMELESS, REFERENCE, REFERENCE_LIMIT, RESPONSE_LIMIT_BYTES

TEMPLATE = Path(__file__).with_name("block.html.j2")

# The page needs nothing but its own style, and must not be sniffed or leave a trace in a Referer.
PAGE_HEADERS = (
    "Content-Type: text/html; charset=utf-8",
    "Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options: nosniff",
    "Referrer-Policy: no-referrer",
)


class PageError(PenstockError):
    """A page cannot be made of the configuration; the text says which file and why."""


def render_responses(configuration: Configuration) -> dict[tuple[int, int], bytes]:
    """Every response that the configuration can need, by category (bit number in `category_names`) and action.

    A category of several services is explained by the first that has it. Raises PageError.
    """
    return dict(_render_all(configuration))


def render_page(configuration: Configuration, title: str, reason: str, category: str, service: str) -> bytes:
    """The block page as HTML. `category` and `service` are empty where no category explains the refusal."""
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
            reference=REFERENCE.decode(),
            operator=page.operator,
            contact=page.contact,
            contact_link=_find_link(page.contact),
        )
        return text.encode()
    except (OSError, UnicodeError, TemplateError) as error:
        line = getattr(error, "lineno", None)
        raise PageError(f"{source}{f':{line}' if line else ''}: page.template: {error}") from None


def build_response(status: str, headers: tuple[str, ...], content: bytes) -> bytes:
    """A response with its framing. Raises PageError when it is too large, or names the reference too often."""
    framing = (f"Content-Length: {len(content)}", "Cache-Control: no-store", "Connection: close")
    response = "\r\n".join((f"HTTP/1.1 {status}", *headers, *framing, "", "")).encode("ascii") + content
    if len(response) > RESPONSE_LIMIT_BYTES:
        raise PageError(f"page: a response of {len(response):,} bytes; expected at most {RESPONSE_LIMIT_BYTES:,}")
    if response.count(REFERENCE) > REFERENCE_LIMIT:
        raise PageError(f"page: the reference number stands in more than {REFERENCE_LIMIT} places")
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


def _render_one(
    configuration: Configuration, name: str, service: Service, category: str, bit: int, action: str
) -> Iterator[tuple[tuple[int, int], bytes]]:
    if action == "block":
        shown = category.replace("_", " ")
        reason = f"It is listed as {shown}, and “{name}” is switched on for this connection."
        page = render_page(configuration, "This site is blocked", reason, category, name)
        yield (bit, BLOCK), build_response("403 Forbidden", PAGE_HEADERS, page)
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
