"""The rules: what an event makes of the rows, where the last word wins by time.

    a place     belongs to whom the latest Assign gave it; the configuration's claim is a word too, and holds again when
                the younger one is taken back
    a session   is one subscriber's; another one in it is another session of the same name, and the older one's places end
    too late    is an Assign from before its session was released, said anew as a whole, or cut off by its NAS's restart

Events of one time: the later one to arrive wins, but a Release wins over an Assign. It knows nothing of what time does
(`sweep`), and nothing of the configuration (`synchronise`).
"""

from collections.abc import Collection, Sequence

from penstock.control.subscribers.batch import Batch
from penstock.control.subscribers.checks import check_event, to_expiry, to_pause
from penstock.control.subscribers.choices import Choices
from penstock.control.subscribers.model import Assign, Change, Event, Release, Restart
from penstock.control.subscribers.place_key import pack_place, unpack_place
from penstock.control.subscribers.rows import Session, Subscriber
from penstock.control.subscribers.sweep import sweep_nas
from penstock.control.subscribers.words import FAILS_CLOSED, PACKETS_PER_S, PAUSED, PROFILE, Words

TOMBSTONE_S = 600  # how long a Release is remembered: a NAS repeats for minutes what was not answered (RFC 2866 2)


class Rules:
    """What the events of one batch do."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    # ---- events -------------------------------------------------------------------------------------------------------
    def apply(self, events: Sequence[Event]) -> None:
        """Every event, in this order."""
        checked = [(event, found) for event in events if (found := self._check(event))]
        codes = {found[0] for event, found in checked if isinstance(event, Assign | Release)}
        self.batch.rows.fetch_sessions(codes)
        self.batch.rows.fetch_ids({event.subscriber for event, _ in checked if isinstance(event, Assign | Change)})
        wanted: set[bytes] = set()
        for event, (code, keys, _) in checked:
            if isinstance(event, Assign):
                session = self.batch.rows.sessions[code]
                wanted.update(keys if session is None else keys.keys() - session.live.keys())
        self.batch.rows.fetch_places(wanted)
        for event, (code, keys, at_ms) in checked:
            if isinstance(event, Assign):
                self._assign(event, code, keys, at_ms)
            elif isinstance(event, Release):
                self._release(event, code, keys, at_ms)
            elif isinstance(event, Restart):
                self._restart(event, at_ms)
            else:
                self._change(event, at_ms)

    def _check(self, event: Event) -> tuple[int, dict[bytes, None], int] | None:
        """Session, keys and time of an event; None when it is malformed, which is reported."""
        self.batch.updates.counts[type(event).__name__.lower()] += 1
        try:
            at_ms = check_event(event)
            if isinstance(event, Assign | Release):
                code = self.batch.store.hash_session(event.source, event.session)
                return code, dict.fromkeys(map(pack_place, event.places)), at_ms
            return 0, {}, at_ms
        except ValueError as error:  # also names that are no Unicode
            self.batch.updates.report("malformed", repr(getattr(event, "subscriber", "")).strip("'"), str(error))
            return None

    def _assign(self, event: Assign, code: int, keys: dict[bytes, None], at_ms: int) -> None:
        nas = self.batch.catalogue.find_nas(event.source, event.nas)
        session = self.batch.open_session(code)
        if at_ms < nas.restarted_ms or (session and (at_ms <= session.released_ms or at_ms < session.whole_ms)):
            self.batch.updates.report("out_of_order", event.subscriber)
            return
        if session and at_ms < session.at_ms and self.batch.is_cut_off(session, at_ms):  # it stays with its NAS
            self.batch.updates.report("out_of_order", event.subscriber)
            return
        known = self.batch.rows.find_id(event.subscriber)
        owner = session.number if session else None
        is_other = owner is not None and (known is None or known.number != owner)
        if session and is_other and at_ms < session.at_ms:
            self.batch.updates.report("out_of_order", event.subscriber)
            return
        subscriber = known or self.batch.make_subscriber(event.subscriber)
        if subscriber is None:
            return
        if event.profile:
            self._note_profile(subscriber, event.profile, at_ms)
        if session is None:
            session = self.batch.rows.make_session(code)
        elif is_other:
            self._end_other(session, subscriber, keys)
        if session.number is None or at_ms >= session.at_ms:
            if session.number != subscriber.number or session.nas != nas.code:
                session.number, session.nas, session.is_moved = subscriber.number, nas.code, True
            session.at_ms, session.expires_s, session.is_changed = at_ms, to_expiry(event.expires_s), True
        self._say_others(event, session, keys, at_ms)
        for key in keys:
            self._say(session, subscriber, key, at_ms)
        if session.live:
            session.is_changed = True
        else:
            session.end()

    def _say_others(self, event: Assign, session: Session, keys: dict[bytes, None], at_ms: int) -> None:
        """What an Assign says of places that it does not name."""
        live = session.live
        if event.adds:
            for key, said_ms in live.items():
                if said_ms < at_ms:
                    live[key] = at_ms
            return
        session.whole_ms = at_ms
        for key in [key for key, said_ms in live.items() if said_ms <= at_ms and key not in keys]:
            self.batch.drop(session, key)

    def _say(self, session: Session, subscriber: Subscriber, key: bytes, at_ms: int) -> None:
        """The session is at this place."""
        said_ms = session.live.get(key)
        if said_ms is not None:
            session.live[key] = max(said_ms, at_ms)
            return
        if key in session.gone and at_ms <= session.gone[key][0]:
            self.batch.updates.report("out_of_order", subscriber.id, place=unpack_place(key))
        elif self.batch.win(key, at_ms, session.row, subscriber):
            session.live[key] = at_ms

    def _end_other(self, session: Session, subscriber: Subscriber, keys: Collection[bytes]) -> None:
        """The session's name is another subscriber's now."""
        assert session.number is not None
        loser = self.batch.rows.find_number(session.number).id
        for key in list(session.live):
            if key in keys:
                self.batch.updates.report("conflict", subscriber.id, loser, unpack_place(key))
            self.batch.drop(session, key)
        session.end()

    def _release(self, event: Release, code: int, keys: dict[bytes, None], at_ms: int) -> None:
        session = self.batch.open_session(code) or self.batch.rows.make_session(code)
        until_s = self.batch.now_s + TOMBSTONE_S
        named = keys if event.places else list(session.live)
        young = [key for key in named if session.live.get(key, -1) > at_ms]
        for key in named:
            if key in session.live and session.live[key] <= at_ms:
                self.batch.drop(session, key)
            if event.places and key not in session.live:
                session.gone[key] = max(session.gone.get(key, (0, 0))[0], at_ms), until_s
        if not event.places:
            session.released_ms, session.released_until_s = max(session.released_ms, at_ms), until_s
        session.is_changed = session.is_moved = True
        if not session.live:
            session.end()
        if young:
            self.batch.updates.report(
                "out_of_order", self.batch.rows.find_number(session.number or 0).id, place=unpack_place(young[0])
            )

    def _restart(self, event: Restart, at_ms: int) -> None:
        nas = self.batch.catalogue.find_nas(event.source, event.nas)
        if at_ms > nas.restarted_ms:
            nas.restarted_ms, nas.is_over, nas.swept_row = at_ms, True, 0
            self.batch.catalogue.save_nas(nas)
            sweep_nas(self.batch, nas)

    def _change(self, event: Change, at_ms: int) -> None:
        subscriber = self.batch.rows.find_id(event.subscriber) or self.batch.make_subscriber(event.subscriber)
        if subscriber is None:
            return
        said: dict[int, int] = {}
        if event.profile is not None:
            said[PROFILE] = self._find_profile(subscriber, event.profile)
        if event.fail is not None:
            said[FAILS_CLOSED] = int(event.fail == "closed")
        if event.packets_per_s is not None:
            said[PACKETS_PER_S] = event.packets_per_s
        if event.paused_until_s is not None:
            until_ms = to_pause(event.paused_until_s)
            said[PAUSED] = until_ms if until_ms > self.batch.now_ms else 0
        words = self.batch.hold(subscriber)
        changes = words.changes
        for field, value in said.items():
            if at_ms < changes.get(field, (0, 0))[1]:
                self.batch.updates.report("out_of_order", subscriber.id)
                continue
            changes[field] = value, at_ms
            row = (subscriber.number, field, value, at_ms)
            self.batch.store.connection.execute("REPLACE INTO changes VALUES(?, ?, ?, ?)", row)
        if event.choices is not None:
            self._choose(subscriber, words, event.choices, at_ms)
        self.batch.touch(subscriber.number)

    def _choose(self, subscriber: Subscriber, words: Words, choices: Choices, at_ms: int) -> None:
        """He chose all of this, and nothing else."""
        if at_ms < words.chosen_ms:
            self.batch.updates.report("out_of_order", subscriber.id)
            return
        words.choices, words.chosen_ms, words.next_s = choices, at_ms, None
        row = (subscriber.number, choices.write(), at_ms)
        self.batch.store.connection.execute("REPLACE INTO choices VALUES(?, ?, ?, NULL)", row)
        self.batch.catalogue.has_choices = True

    def _note_profile(self, subscriber: Subscriber, profile: str, at_ms: int) -> None:
        """A source says which profile he has."""
        if at_ms < subscriber.profile_ms:
            return
        if subscriber.profile is None or self.batch.catalogue.words[subscriber.profile] != profile:
            self.batch.hold(subscriber)
            subscriber.profile = self._find_profile(subscriber, profile)
        subscriber.profile_ms, subscriber.is_changed = at_ms, True

    def _find_profile(self, subscriber: Subscriber, profile: str) -> int:
        if profile not in self.batch.terms.profiles:
            self.batch.updates.report("unknown_profile", subscriber.id, profile)
        return self.batch.catalogue.find_code(profile)
