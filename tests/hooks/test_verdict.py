"""A verdict that exists can be carried out: everything else is refused where it is made."""

from collections.abc import Callable

import pytest

from penstock.hooks import Verdict


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Verdict("drop"), "expected one of allow"),
        (lambda: Verdict.block("Adult content"), "category"),
        (lambda: Verdict.block(text="two\nlines"), "text"),
        (lambda: Verdict.block(text="x" * 501), "text"),
        (lambda: Verdict.block(3), "category"),  # type: ignore[arg-type]
        (lambda: Verdict.redirect("javascript:alert(1)"), "url"),
        (lambda: Verdict.redirect("https://a.example/\r\nSet-Cookie: x=1"), "url"),
        (lambda: Verdict.redirect("https://a.example/ü"), "url"),
        (lambda: Verdict("redirect"), "web address"),
        (lambda: Verdict("block", url="https://a.example/"), "web address"),
    ],
)
def test_what_no_packet_could_carry_is_refused(make: Callable[[], Verdict], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        make()


def test_all_four() -> None:
    made = [
        Verdict.allow(),
        Verdict.block("new", "Später."),
        Verdict.redirect("http://a.example/x?y"),
        Verdict.report(),
    ]
    assert [verdict.action for verdict in made] == ["allow", "block", "redirect", "report"]
