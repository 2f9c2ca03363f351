"""What workers say is checked whole: nothing but a reply or MessageError comes of it, whatever it is."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.hooks.messages import MessageError, Reply, decode, decode_declarations, decode_reply
from penstock.hooks import Verdict

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 300) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
GOOD: dict[str, Any] = {
    "n": 7, "hook": 2, "answer": {"action": "block", "category": "new", "text": None, "url": None},
    "failures": [{"hook": 0, "error": "ValueError", "text": "..."}], "printed": "", "is_last": False,
}  # fmt: skip
HOOK: dict[str, Any] = {"kind": "on_request", "name": "f", "file": "x.py", "line": 3, "filter": {"ports": [[80, 80]]}}


def test_a_reply() -> None:
    reply = decode_reply(GOOD, "on_request", [0, 2])
    assert (reply.number, reply.hook, reply.answer) == (7, 2, Verdict.block("new"))
    assert [failure.hook for failure in reply.failures] == [0]


FAILURES = st.lists(
    st.fixed_dictionaries({"hook": st.integers(-2, 4) | PLAIN, "error": PLAIN, "text": PLAIN}), max_size=2
)
CHANGES = st.dictionaries(st.sampled_from([*GOOD]), PLAIN, max_size=3)


@given(CHANGES | st.fixed_dictionaries({"failures": FAILURES, "hook": st.integers(-2, 4)}))
def test_what_is_changed_is_a_reply_or_refused(changes: dict[str, Any]) -> None:
    for kind in ("on_request", "on_subscriber", "on_verdict"):
        try:
            reply = decode_reply(GOOD | changes, kind, [0, 2])
        except MessageError:
            continue
        assert isinstance(reply, Reply)
        assert reply.hook in (None, 0, 2)
        assert all(failure.hook in (0, 2) for failure in reply.failures)
        wanted = {"on_request": Verdict, "on_subscriber": str, "on_verdict": type(None)}[kind]
        assert reply.answer is None or isinstance(reply.answer, wanted)


@given(st.dictionaries(st.sampled_from([*HOOK]), PLAIN, min_size=1, max_size=3))
def test_declarations_are_hooks_or_refused(changes: dict[str, Any]) -> None:
    try:
        [hook] = decode_declarations({"hooks": [HOOK | changes]})
    except MessageError:
        return
    assert isinstance(hook.name, str)
    assert isinstance(hook.line, int)


@given(PLAIN)
def test_no_list_of_hooks(plain: Any) -> None:
    for message in ({"hooks": plain}, {}):
        with pytest.raises(MessageError):
            decode_declarations(message)


@given(st.binary(max_size=30) | PLAIN.map(lambda plain: json.dumps(plain).encode()) | st.just(b"[" * 100_000))
def test_bytes_are_a_message_or_refused(content: bytes) -> None:
    with suppress(MessageError):
        assert isinstance(decode(content), dict)
