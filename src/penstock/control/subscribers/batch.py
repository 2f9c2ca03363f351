"""A transaction's work on the rows: whose a place is, who gets a number, what is said in the end.

A place is won by who is not older than its holder, and falls back to the configuration's claim when it is taken away. It
knows rows, not tables, and no event: `rules` calls it for those, `sweep` for what time does, `synchronise` for the file.
"""

from penstock.control.subscribers.checks import to_ms
from penstock.control.subscribers.devices import list_owners
from penstock.control.subscribers.effective import Layer, find_effective
from penstock.control.subscribers.holding import Holding
from penstock.control.subscribers.place_key import find_shape, unpack_place
from penstock.control.subscribers.rows import CONFIGURATION, Rows, Session, Subscriber
from penstock.control.subscribers.schema import DamagedRowError
from penstock.control.subscribers.settings_register import NUMBERS_KEPT, RegisterSettings
from penstock.control.subscribers.store import Catalogue, Store
from penstock.control.subscribers.terms import Person, Terms
from penstock.control.subscribers.updates import NamesChange, Updates
from penstock.control.subscribers.words import Words

SHARE = 2000  # rows of one kind that time takes away in one transaction: about 50 ms


class Batch:
    """One transaction's work."""

    def __init__(
        self, store: Store, catalogue: Catalogue, settings: RegisterSettings, terms: Terms, now_s: float
    ) -> None:
        self.store, self.catalogue, self.settings, self.terms = store, catalogue, settings, terms
        self.now_s, self.now_ms, self.exact_now_s = int(now_s), to_ms(now_s), now_s
        self.rows = Rows(store.connection, catalogue, self.now_s)
        self.updates = Updates()
        self.share = SHARE
        """Rows that restarts may still take away in this transaction."""
        self._touched: set[int] = set()
        """Numbers that may have become idle, or are no longer."""

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
            if key not in holder.live:
                raise DamagedRowError(f"session {holder.row} does not have a place that is its own")
            if self.is_cut_off(holder, holder.live[key]):
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
    def open_session(self, code: int) -> Session | None:
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
        for key in [key for key, said_ms in session.live.items() if self.is_cut_off(session, said_ms)]:
            self.drop(session, key)
            if not session.live:
                session.end()

    def is_cut_off(self, session: Session, said_ms: int) -> bool:
        """Has the session's NAS restarted since something was said of it?"""
        return session.nas is not None and said_ms < self.catalogue.nas_by_code[session.nas].restarted_ms

    # ---- subscribers --------------------------------------------------------------------------------------------------
    def make_subscriber(self, name: str) -> Subscriber | None:
        """A number for somebody new; None, and a report, when there is none."""
        number = self._find_number()
        if number is None:
            self.updates.report("full", name, "subscribers")
            return None
        if list_owners(name):
            self.catalogue.note_devices()
        self._hold_devices(name)
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
            if number not in self.rows.numbers or number in self.rows.aside:
                self.forget(number)
                execute("DELETE FROM freed WHERE number=?", (number,))
                return int(number)
        return None

    def forget(self, number: int) -> None:
        """Forget who had a number: nothing holds for it any more."""
        self.rows.fetch_numbers((number,))
        forgotten = self.rows.find_number(number)
        self._hold_devices(forgotten.id)
        names = self._list_gone(number, forgotten.before or self._judge(forgotten, is_before=True))
        if names:
            self.updates.names[number] = NamesChange(names, {})
        for statement in ("DELETE FROM subscribers WHERE number=?", "DELETE FROM choices WHERE number=?"):
            self.store.connection.execute(statement, (number,))
        self.store.connection.execute("INSERT INTO freed(number) VALUES(?)", (number,))
        del self.rows.numbers[number]
        self.rows.aside.discard(number)
        self.rows.ids[forgotten.id] = None
        self.updates.lines[number] = self.terms.nobody
        self.updates.look_again.add(number)
        self.updates.counts["forgotten"] += 1

    def hold(self, subscriber: Subscriber) -> Words:
        """What the configuration and calls say of him, which is about to change, or what sources say."""
        words = self.rows.fetch_words(subscriber)
        if subscriber.before is None and subscriber.number not in self.updates.lines:
            subscriber.before = self._judge(subscriber, is_before=True)
            self._hold_devices(subscriber.id)
        return words

    def _hold_devices(self, name: str) -> None:
        """What holds for his devices is about to change with him."""
        for device in self.rows.find_devices(name):
            if device.before is None and device.number not in self.updates.lines:
                device.before = self._judge(device, is_before=True)

    def _judge(self, subscriber: Subscriber, is_before: bool = False) -> Holding:
        """What holds for him; `is_before`: what held at last, where time has changed it since."""
        people = [*self.rows.find_owners(subscriber.id), subscriber]
        all_words = [self.rows.fetch_words(one) for one in people]
        due = [words.next_s - 1 for words in all_words if words.next_s is not None and words.next_s <= self.now_s]
        subscriber.is_due |= is_before and bool(due)
        at_s = min([self.exact_now_s, *due]) if is_before else self.exact_now_s
        said = [Person(one.id, one.profile, words) for one, words in zip(people, all_words, strict=True)]
        return self.terms.judge(said, self.catalogue.words, at_s)

    def touch(self, number: int) -> None:
        """Something was said of him, or he lost a place: he may be idle from now on, or is no longer."""
        self._touched.add(number)

    # ---- the end ------------------------------------------------------------------------------------------------------
    def finish(self) -> Updates:
        """Write the rows, and say what holds now."""
        self.rows.write()
        self.store.connection.executemany(_TOUCH, [(self.now_s, number) for number in sorted(self._touched) if number])
        for number, subscriber in list(self.rows.numbers.items()):
            if subscriber.before is not None or number in self.updates.lines:
                self._tell(subscriber)
        return self.updates

    def _tell(self, subscriber: Subscriber) -> None:
        """Say what holds for him, where it is not what held before, and note when that ends by itself."""
        number, before, after = subscriber.number, subscriber.before, self._judge(subscriber)
        is_due, gone = subscriber.is_due, self._list_gone(number, before)
        if before is None or is_due or after.line != before.line:
            self.updates.lines[number] = after.line
        if gone != after.names.keys() or (before and ((is_due and gone) or before.names != after.names)):
            self.updates.names[number] = NamesChange(gone - after.names.keys(), after.names)
        if before and (is_due or before.disagrees(after)):
            self.updates.look_again.add(number)
        if before and after.is_stricter(before):
            self.updates.stricter.add(number)
        words = self.rows.fetch_words(subscriber)
        if words.chosen_ms >= 0:
            self._note_next(subscriber, words, after.effective.next_change_s)

    def _list_gone(self, number: int, before: Holding | None) -> frozenset[str]:
        """Names that the table may have of a number; another one may have had it in this batch."""
        told = self.updates.names.get(number)
        return frozenset(before.names if before else ()) | (told.gone if told else frozenset())

    def _note_next(self, subscriber: Subscriber, words: Words, next_s: int | None) -> None:
        """His own choices' next change; his owner's are the owner's."""
        owners = [self.rows.fetch_words(one).choices for one in self.rows.find_owners(subscriber.id)]
        if owners:
            zone = next((choices.zone for choices in reversed(owners) if choices.zone), self.terms.zone)
            next_s = find_effective([Layer(None, words.choices)], self.exact_now_s, zone).next_change_s
        if next_s != words.next_s:
            words.next_s = next_s
            row = (next_s, subscriber.number)
            self.store.connection.execute("UPDATE choices SET next_s=? WHERE number=?", row)


# While somebody has sessions nobody asks when he was last heard of: his row is left alone.
_TOUCH = """UPDATE subscribers SET seen_s=?1,
is_idle = NOT EXISTS(SELECT 1 FROM sessions s WHERE s.number=?2)
AND NOT EXISTS(SELECT 1 FROM configured c WHERE c.number=?2) AND NOT EXISTS(SELECT 1 FROM changes h WHERE h.number=?2)
AND NOT EXISTS(SELECT 1 FROM choices o WHERE o.number=?2 AND o.text <> '{}')
WHERE number=?2 AND (is_idle OR NOT EXISTS(SELECT 1 FROM sessions s WHERE s.number=?2))"""
