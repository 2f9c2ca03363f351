"""What pages are made of: texts in every language, nothing from outside, nothing inline, no markup from strings."""

import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.exceptions import CAUSES
from penstock.kernel.reasons import REASONS
from penstock.policy.actions import ACTION_NAMES
from penstock.portal.languages import TEXTS, choose_language, read_languages
from penstock.portal.pages import HERE, LANGUAGE_COOKIE, PAGES, read_static, render_pages
from tests.portal.scene import Scene

STATIC, TEMPLATES = HERE / "static", HERE / "templates"
SCRIPTS = {path.name: path.read_text() for path in sorted(STATIC.glob("*.js"))}
SOURCES = "\n".join([*SCRIPTS.values(), *(path.read_text() for path in sorted(TEMPLATES.glob("*.j2")))])
OWN_NAMES = {"Penstock"}
"""What is the same in every language, and written in a page."""
SHARED_WORDS = {"English", "Español", "Penstock", "RADIUS", "Token", "Tokens", "YouTube", "malware", "phishing"}
SVG_NAME = "http://www.w3.org/2000/svg"
"""The name of a vocabulary, which nobody asks for."""


def read_texts(language: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((TEXTS / f"{language}.json").read_text())
    return found


def list_forms(text: Any) -> list[str]:
    return [text] if isinstance(text, str) else list(text.values())


# ---- texts --------------------------------------------------------------------------------------------------------------
def test_every_language_has_the_same_keys_and_the_same_places() -> None:
    first, *others = (language.texts for language in read_languages().values())
    assert others
    for texts in others:
        assert texts.keys() == first.keys()
        for key, text in first.items():
            wanted = {place for form in list_forms(text) for place in re.findall(r"{(\w+)}", form)}
            assert {place for form in list_forms(texts[key]) for place in re.findall(r"{(\w+)}", form)} == wanted, key
            assert isinstance(text, str) == isinstance(texts[key], str), key


def test_what_is_the_same_in_two_languages_is_no_sentence() -> None:
    english, spanish = read_texts("en"), read_texts("es")
    same = {text for key, text in english.items() if isinstance(text, str) and spanish[key] == text}
    words = {re.sub(r"{\w+}|[^\w]", " ", text).strip() for text in same if not text.startswith("{")}
    assert words <= SHARED_WORDS


@pytest.mark.parametrize("language", sorted(read_languages()))
def test_every_text_says_something(language: str) -> None:
    texts = read_texts(language)
    assert all(form.strip() == form != "" for text in texts.values() for form in list_forms(text))
    assert all({"one", "other"} <= text.keys() for text in texts.values() if not isinstance(text, str))


def test_every_reason_is_told_in_every_language() -> None:
    names = {f"reason.{reason.name}" for reason in REASONS}
    assert names <= read_languages()["en"].texts.keys()
    for code in read_languages().keys() - {"en"}:
        told = {key for key in read_texts(code) if key.startswith("reason.")}
        assert told == names, f"texts/{code}.json: write the texts of {sorted(told ^ names)}"


def test_every_cause_and_action_has_words() -> None:
    keys = read_languages()["en"].texts.keys()
    assert {key for key in keys if key.startswith("cause.")} == {f"cause.{cause.name}" for cause in CAUSES}
    assert {f"action.{name}" for name in ACTION_NAMES} <= keys


def test_every_key_that_is_asked_for_is_there_and_every_text_is_asked_for() -> None:
    keys = read_languages()["en"].texts.keys()
    asked = set(re.findall(r"""\bt\(\s*["']([\w.]+)["']\s*[,)]""", SOURCES))
    assert asked <= keys, sorted(asked - keys)
    spoken = set(re.findall(r"""["']([\w.]+)["']""", SOURCES))
    prefixes = {
        *re.findall(r"t\(`([\w.]+\.)\$\{", SOURCES),
        *(f"{kind}." for kind in re.findall(r'word\("(\w+)"', SOURCES)),
    }
    prefixes |= {"language."} | {f"{page}." for page in PAGES}
    unused = [key for key in keys if key not in spoken and not key.startswith(tuple(prefixes))]
    assert unused == []


def test_templates_have_no_text_of_their_own() -> None:
    for path in TEMPLATES.glob("*.j2"):
        bare = re.sub(r"{#.*?#}|{%.*?%}|{{.*?}}", "", path.read_text(), flags=re.DOTALL)
        words = {word for word in re.findall(r"[^\W\d_]{2,}", re.sub(r"<[^>]*>", " ", bare))}
        assert words <= OWN_NAMES, path.name
        for attribute, value in re.findall(r'\b(placeholder|aria-label|title|alt)="([^"]*)"', bare):
            assert not value.strip(), f"{path.name}: {attribute}"


def test_scripts_have_no_prose() -> None:
    for name, text in SCRIPTS.items():
        code = re.sub(r"^\s*//.*$|\s// .*$", "", text, flags=re.MULTILINE)
        for literal in re.findall(r'"([^"\n]*)"|`([^`\n]*)`', code):
            said = "".join(literal)
            assert not re.search(r"\b[A-Z][a-z]+ [a-z]+|\b[a-z]+ [a-z]+ [a-z]+ [a-z]+\b", said), f"{name}: {said}"


@pytest.mark.parametrize(
    ("asked", "stored", "accepted", "language"),
    [
        (None, None, "", "en"),
        (None, None, "es-ES,es;q=0.9,en;q=0.8", "es"),
        (None, None, "de, es;q=0.2, en;q=0.1", "es"),
        (None, None, "es;q=0, en;q=0.1", "en"),
        (None, None, "es;q=1.x", "en"),
        (None, "es", "en", "es"),
        ("en", "es", "es", "en"),
        ("tlh", "xx", "es", "es"),
    ],
)
def test_a_language_is_chosen(asked: str | None, stored: str | None, accepted: str, language: str) -> None:
    assert choose_language(asked, stored, accepted) == language


@given(st.none() | st.text(), st.none() | st.text(), st.text())
def test_whatever_is_asked_for_there_is_a_language(asked: str | None, stored: str | None, accepted: str) -> None:
    assert choose_language(asked, stored, accepted) in read_languages()


# ---- what a browser is given ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("page", PAGES)
def test_a_page_and_its_headers(scene: Scene, page: str) -> None:
    answer = scene.call("GET", f"/{page}", None, headers={"accept-language": "es"})
    assert answer.status_code == 200
    assert '<html lang="es">' in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers


def test_a_chosen_language_is_remembered(scene: Scene) -> None:
    with httpx.Client(base_url=scene.url, headers={"accept-language": "en"}) as client:
        answer = client.get("/login?lang=es")
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert client.cookies[LANGUAGE_COOKIE] == "es"
        assert 'lang="es"' in client.get("/login").text
        assert "set-cookie" not in client.get("/login?lang=<script>").headers


def test_pages_have_nothing_inline_and_nothing_from_outside() -> None:
    files = read_static()
    for (page, _), html in render_pages().items():
        assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<base|<iframe", html), page
        assert all(body == "" for body in re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL))
        for path in re.findall(r'(?:src|href)="([^"#]+)"', html):
            assert path.removeprefix("/static/") in files or path.removeprefix("/") in PAGES, f"{page}: {path}"


def test_files_ask_for_nothing_from_outside() -> None:
    for path, file in read_static().items():
        text = file.body.decode()
        if path.endswith(".json"):
            continue
        assert not re.search(r"(?:https?:)?//[a-z0-9-]+\.[a-z]", text.replace(SVG_NAME, "")), path
        assert not re.search(r"@import|url\(", text), path


def test_every_module_is_reached_and_none_is_missing() -> None:
    imports = {
        name: {
            Path(one).name
            for one in re.findall(r'from "(\./[\w.]+)"|^import "(\./[\w.]+)"', text, re.M)
            for one in one
            if one
        }
        for name, text in SCRIPTS.items()
    }
    reached, waiting = set(), [f"{page}.js" for page in PAGES]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += imports[name]
    assert reached == SCRIPTS.keys()


def test_scripts_make_no_markup_from_strings() -> None:
    for name, text in SCRIPTS.items():
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc", text
        ), name


def test_files_are_asked_for_again_only_when_they_changed(scene: Scene) -> None:
    first = scene.call("GET", "/static/penstock.css", None)
    assert first.status_code == 200
    assert first.headers["content-type"].startswith("text/css")
    again = scene.call("GET", "/static/penstock.css", None, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "path", ["nothing.js", "../pages.py", "%2e%2e/pages.py", "..%2fpages.py", "texts", "/etc/passwd"]
)
def test_only_what_is_there_is_served(scene: Scene, path: str) -> None:
    assert scene.call("GET", f"/static/{path}", None).status_code in (404, 307)
    assert b"import" not in scene.call("GET", f"/static/{path}", None).content


def test_the_front_door_leads_in(scene: Scene) -> None:
    answer = scene.call("GET", "/", None)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
