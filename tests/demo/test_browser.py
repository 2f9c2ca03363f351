"""A page is opened where there is a browser with windows, by whoever called sudo; without one nothing is said."""

from pathlib import Path

import pytest

from penstock.demo.browser import WINDOWS, open_browser

URL = "http://127.0.0.1:8443/login"


@pytest.fixture(autouse=True)
def no_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*WINDOWS, "SUDO_UID", "SUDO_GID"):
        monkeypatch.delenv(name, raising=False)


def test_without_windows_there_is_none() -> None:
    assert not open_browser(URL)


def test_it_is_asked_for_the_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >{tmp_path / "opened"}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    assert open_browser(URL)
    assert (tmp_path / "opened").read_text() == f"{URL}\n"


def test_one_that_cannot_be_started_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setenv("SUDO_UID", "4000000")  # a user who is not there
    monkeypatch.setenv("SUDO_GID", "4000000")
    assert not open_browser(URL)
