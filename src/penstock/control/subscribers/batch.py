"""The rules: what an event makes of the rows, where the last word wins by time.

    a place     belongs to whom the latest Assign gave it; the configuration's claim is a word too, and holds again when
                the younger one is taken back
    a session   is one subscriber's; another one in it is another session of the same name, and the older one's places end
    too late    is an Assign from before its session was released, said anew as a whole, or cut off by its NAS's restart

Events of one time: the later one to arrive wins, but a Release wins over an Assign. It knows rows, not tables; around
it is a transaction.
"""

from collections.abc import Collection, Sequence

from penstock.control.subscribers.checks import check_event, to_expiry, to_ms, to_pause
from penstock.control.subscribers.model import Assign, Change, Event, Release, Restart
from penstock.control.subscribers.place_key import find_shape, pack_place, unpack_place
from penstock.control.subscribers.rows import (
    CONFIGURATION,
    FAILS_CLOSED,
    PACKETS_PER_S,
    PAUSED,
    PROFILE,
    Rows,
    Session,
    Subscriber,
    Words,
)
from penstock.control.subscribers.settings_register import NUMBERS_KEPT, RegisterSettings
from penstock.control.subscribers.store import Catalogue, Store
from penstock.control.subscribers.terms import Terms
from penstock.control.subscribers.updates import Updates

TOMBSTONE_S = 600  # how long a Release is remembered: a NAS repeats for minutes what was not answered (RFC 2866 2)


class Batch:
    """One transaction's work."""

    def __init__(
        self, store: Store, catalogue: Catalogue, settings: RegisterSettings, terms: Terms, now_s: float
    ) -> None:
        self.store, self.catalogue, self.settings, self.terms = store, catalogue, settings, terms
        self.now_s, self.now_ms = int(now_s), to_ms(now_s)
        self.rows = Rows(store.connection, catalogue, self.now_s)
        self.updates = Updates()
        self._touched: set[int] = set()
        """Numbers that may have become idle, or are no longer."""

    # ---- events -------------------------------------------------------------------------------------------------------
    def apply(self, events: Sequence[Event]) -> None:
        """Every event, in this order."""
        checked = [(event, found) for event in events if (found := self._check(event))]
        codes = {found[0] for event, found in checked if isinstance(event, Assign | Release)}
        self.rows.fetch_sessions(codes)
        self.rows.fetch_ids({event.subscriber for event, _ in checked if isinstance(event, Assign | Change)})
        wanted: set[bytes] = set()
        for event, (code, keys, _) in checked:
            if isinstance(event, Assign):
                session = self.rows.sessions[code]
                wanted.update(keys if session is None else keys.keys() - session.live.keys())
        self.rows.fetch_places(wanted)
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
        self.updates.counts[type(event).__name__.lower()] += 1
        try:
            at_ms = check_event(event)
            if isinstance(event, Assign | Release):
                code = self.store.hash_session(event.source, event.session)
                return code, dict.fromkeys(map(pack_place, event.places)), at_ms
            return 0, {}, at_ms
        except (ValueError, OverflowError) as error:  # also names that are no Unicode
            self.updates.report("malformed", repr(getattr(event, "subscriber", "")).strip("'"), str(error))
            return None

    def _assign(self, event: Assign, code: int, keys: dict[bytes, None], at_ms: int) -> None:
        nas = self.catalogue.find_nas(event.source, event.nas)
        session = self._open(code)
        if at_ms < nas.restarted_ms or (session and (at_ms <= session.released_ms or at_ms < session.whole_ms)):
            self.updates.report("out_of_order", event.subscriber)
            return
        known = self.rows.find_id(event.subscriber)
        owner = session.number if session else None
        is_other = owner is not None and (known is None or known.number != owner)
        if session and is_other and at_ms < session.at_ms:
            self.updates.report("out_of_order", event.subscriber)
            return
        subscriber = known or self.make_subscriber(event.subscriber)
        if subscriber is None:
            return
        if event.profile:
            self._note_profile(subscriber, event.profile, at_ms)
        if session is None:
            session = self.rows.make_session(code)
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
            self.drop(session, key)

    def _say(self, session: Session, subscriber: Subscriber, key: bytes, at_ms: int) -> None:
        """The session is at this place."""
        said_ms = session.live.get(key)
        if said_ms is not None:
            session.live[key] = max(said_ms, at_ms)
            return
        if key in session.gone and at_ms <= session.gone[key][0]:
            self.updates.report("out_of_order", subscriber.id, place=unpack_place(key))
        elif self.win(key, at_ms, session.row, subscriber):
            session.live[key] = at_ms
            session.gone.pop(key, None)

    def _end_other(self, session: Session, subscriber: Subscriber, keys: Collection[bytes]) -> None:
        """The session's name is another subscriber's now."""
        assert session.number is not None
        loser = self.rows.find_number(session.number).id
        for key in list(session.live):
            if key in keys:
                self.updates.report("conflict", subscriber.id, loser, unpack_place(key))
            self.drop(session, key)
        session.end()

    def _release(self, event: Release, code: int, keys: dict[bytes, None], at_ms: int) -> None:
        session = self._open(code) or self.rows.make_session(code)
        until_s = self.now_s + TOMBSTONE_S
        named = keys if event.places else list(session.live)
        young = [key for key in named if session.live.get(key, -1) > at_ms]
        for key in named:
            if key in session.live and session.live[key] <= at_ms:
                self.drop(session, key)
            if event.places and key not in session.live:
                session.gone[key] = max(session.gone.get(key, (0, 0))[0], at_ms), until_s
        if not event.places:
            session.released_ms, session.released_until_s = max(session.released_ms, at_ms), until_s
        session.is_changed = session.is_moved = True
        if not session.live:
            session.end()
        if young:
            self.updates.report(
                "out_of_order", self.rows.find_number(session.number or 0).id, place=unpack_place(young[0])
            )

    def _restart(self, event: Restart, at_ms: int) -> None:
        nas = self.catalogue.find_nas(event.source, event.nas)
        nas.restarted_ms, nas.is_over = max(nas.restarted_ms, at_ms), True
        self.catalogue.save_nas(nas)

    def _change(self, event: Change, at_ms: int) -> None:
        subscriber = self.rows.find_id(event.subscriber) or self.make_subscriber(event.subscriber)
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
            said[PAUSED] = until_ms if until_ms > self.now_ms else 0
        changes = self.hold(subscriber)[1]
        for field, value in said.items():
            if at_ms < changes.get(field, (0, 0))[1]:
                self.updates.report("out_of_order", subscriber.id)
                continue
            changes[field] = value, at_ms
            row = (subscriber.number, field, value, at_ms)
            self.store.connection.execute("REPLACE INTO changes VALUES(?, ?, ?, ?)", row)
        self.touch(subscriber.number)

    # ---- places -------------------------------------------------------------------------------------------------------
    def win(self, key: bytes, at_ms: int, session: int, subscriber: Subscriber) -> bool:
        """Give a place to a session, if nobody younger has it and there is room. Returns whether."""
        owner = self._find_owner(key)
        if owner is not None:
            held_ms = self._find_time(key, owner[0])
            if at_ms < held_ms:
                self.updates.report("out_of_order", subscriber.id, place=unpack_place(key))
                return False
            if owner[1] != subscriber.number:
                loser = self.rows.find_number(owner[1]).id
                self.updates.report("conflict", subscriber.id, loser, unpack_place(key))
                self.lose(owner[1])
            if owner[0] != CONFIGURATION:
                self._forget_place(self.rows.by_row[owner[0]], key)
        elif not self._has_room(key, subscriber):
            return False
        self.rows.set_place(key, (session, subscriber.number))
        if owner is None or owner[1] != subscriber.number:
            self.updates.places[key] = subscriber.number
        if subscriber.is_idle:
            self.touch(subscriber.number)
        return True

    def _find_owner(self, key: bytes) -> tuple[int, int] | None:
        """Session and number of who is at a place, those of a restarted NAS left out."""
        owner = self.rows.find_place(key)
        if owner is not None and owner[0] != CONFIGURATION:
            holder = self.rows.find_holder(owner[0])
            if self._is_cut_off(holder, holder.live[key]):
                self.drop(holder, key)
                if not holder.live:
                    holder.end()
                return self.rows.find_place(key)
        return owner

    def _find_time(self, key: bytes, session: int) -> int:
        if session != CONFIGURATION:
            return self.rows.by_row[session].live[key]
        claim = self.rows.find_claim(key)
        return claim[1] if claim else 0

    def _has_room(self, key: bytes, subscriber: Subscriber) -> bool:
        if self.catalogue.place_count >= self.settings.addresses:
            self.updates.report("full", subscriber.id, "addresses", unpack_place(key))
            return False
        if not self.catalogue.has_shape(find_shape(key)):
            self.updates.report("full", subscriber.id, "prefix lengths", unpack_place(key))
            return False
        return True

    def drop(self, session: Session, key: bytes) -> None:
        """Take a place from its session; the configuration's claim to it holds again."""
        del session.live[key]
        session.is_changed = True
        if session.number is not None:
            self.lose(session.number)
        self.rows.find_place(key)
        self.release_place(key)

    def release_place(self, key: bytes) -> None:
        """Nobody but the configuration is at a place any more."""
        claim = self.rows.find_claim(key)
        self.rows.set_place(key, (CONFIGURATION, claim[0]) if claim else None)
        self.updates.places[key] = claim[0] if claim else 0

    def _forget_place(self, session: Session, key: bytes) -> None:
        """A place is another session's now."""
        del session.live[key]
        session.is_changed = True
        if not session.live:
            session.end()

    def lose(self, number: int) -> None:
        self.touch(number)
        self.updates.look_again.add(number)

    # ---- sessions -----------------------------------------------------------------------------------------------------
    def _open(self, code: int) -> Session | None:
        """The session, without what is over."""
        session = self.rows.sessions.get(code)
        if session is None:
            return None
        self.cut_off(session)
        if session.released_until_s <= self.now_s:
            session.released_ms, session.released_until_s = -1, 0
        if session.gone:
            session.gone = {key: gone for key, gone in session.gone.items() if gone[1] > self.now_s}
        return session

    def cut_off(self, session: Session) -> None:
        """Take away the places that a restart of the session's NAS ended."""
        for key in [key for key, said_ms in session.live.items() if self._is_cut_off(session, said_ms)]:
            self.drop(session, key)
            if not session.live:
                session.end()

    def _is_cut_off(self, session: Session, said_ms: int) -> bool:
        return session.nas is not None and said_ms < self.catalogue.nas_by_code[session.nas].restarted_ms

    # ---- subscribers --------------------------------------------------------------------------------------------------
    def make_subscriber(self, name: str) -> Subscriber | None:
        """A number for somebody new; None, and a report, when there is none."""
        number = self._find_number()
        if number is None:
            self.updates.report("full", name, "subscribers")
            return None
        subscriber = self.rows.make_subscriber(name, number)
        self.updates.lines[number] = self.terms.nobody  # until the end of the batch
        self.touch(number)
        return subscriber

    def _find_number(self) -> int | None:
        """A number that nobody had, else the one that is free for the longest time, else that of whom nobody was heard of
        for the longest time."""
        end = self.settings.capacity - NUMBERS_KEPT + 1
        if self.catalogue.next_number < end:
            self.catalogue.next_number += 1
            return self.catalogue.next_number - 1
        execute = self.store.connection.execute
        row = execute("SELECT turn, number FROM freed WHERE number < ? ORDER BY turn LIMIT 1", (end,)).fetchone()
        if row:
            execute("DELETE FROM freed WHERE turn=?", row[:1])
            return int(row[1])
        for (number,) in execute("SELECT number FROM subscribers WHERE is_idle AND number < ? ORDER BY seen_s", (end,)):
            if number not in self.rows.numbers:
                self.forget(number)
                execute("DELETE FROM freed WHERE number=?", (number,))
                return int(number)
        return None

    def forget(self, number: int) -> None:
        """Forget who had a number: nothing holds for it any more."""
        self.store.connection.execute("DELETE FROM subscribers WHERE number=?", (number,))
        self.store.connection.execute("INSERT INTO freed(number) VALUES(?)", (number,))
        forgotten = self.rows.numbers.pop(number, None)
        if forgotten:
            self.rows.ids[forgotten.id] = None
        self.updates.lines[number] = self.terms.nobody
        self.updates.look_again.add(number)
        self.updates.counts["forgotten"] += 1

    def _note_profile(self, subscriber: Subscriber, profile: str, at_ms: int) -> None:
        """A source says which profile he has."""
        if at_ms < subscriber.profile_ms:
            return
        if subscriber.profile is None or self.catalogue.words[subscriber.profile] != profile:
            self.hold(subscriber)
            subscriber.profile = self._find_profile(subscriber, profile)
        subscriber.profile_ms, subscriber.is_changed = at_ms, True

    def _find_profile(self, subscriber: Subscriber, profile: str) -> int:
        if profile not in self.terms.profiles:
            self.updates.report("unknown_profile", subscriber.id, profile)
        return self.catalogue.find_code(profile)

    def hold(self, subscriber: Subscriber) -> Words:
        """What the configuration and calls say of him, which is about to change, or what sources say."""
        words = self.rows.fetch_words(subscriber)
        if subscriber.before is None and subscriber.number not in self.updates.lines:
            subscriber.before = self.terms.judge(subscriber.profile, words, self.catalogue.words)
        return words

    def touch(self, number: int) -> None:
        """Something was said of him, or he lost a place: he may be idle from now on, or is no longer."""
        self._touched.add(number)

    # ---- the end ------------------------------------------------------------------------------------------------------
    def finish(self) -> Updates:
        """Write the rows, and say what holds now."""
        self.rows.write()
        self.store.connection.executemany(_TOUCH, [(self.now_s, number) for number in sorted(self._touched) if number])
        for number, subscriber in self.rows.numbers.items():
            is_new = number in self.updates.lines
            if subscriber.before is None and not is_new:
                continue
            line = self.terms.judge(subscriber.profile, self.rows.fetch_words(subscriber), self.catalogue.words)
            before = subscriber.before
            if is_new or line != before:
                self.updates.lines[number] = line
            if before and (before.profile, before.is_paused) != (line.profile, line.is_paused):
                self.updates.look_again.add(number)
        return self.updates


_TOUCH = """UPDATE subscribers SET seen_s=?, is_idle =
NOT EXISTS(SELECT 1 FROM sessions s WHERE s.number=subscribers.number)
AND NOT EXISTS(SELECT 1 FROM configured c WHERE c.number=subscribers.number)
AND NOT EXISTS(SELECT 1 FROM changes h WHERE h.number=subscribers.number) WHERE number=?"""
