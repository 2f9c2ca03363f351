"""The configuration's subscribers as rows: who is in the file, what it says of him, and where it says he is.

A place's time is when the configuration first named it for him. It is a claim: in force unless somebody younger is there,
and again when he leaves. It does not know the other sources.
"""

from penstock.control.configuration import Configuration
from penstock.control.configuration import Subscriber as Entry
from penstock.control.subscribers.batch import Batch
from penstock.control.subscribers.place_key import make_place, pack_place
from penstock.control.subscribers.rows import CONFIGURATION, Subscriber
from penstock.control.subscribers.schema import StoreError
from penstock.control.subscribers.settings_register import NUMBERS_KEPT
from penstock.control.subscribers.terms import Terms

Choice = tuple[int, int, int | None]


def synchronise(batch: Batch, configuration: Configuration, before: Terms) -> None:
    """Make the rows agree with the configuration. `before`: what held for everybody."""
    _check_capacity(batch)
    batch.store.connection.execute("REPLACE INTO meta VALUES('terms', ?)", (batch.terms.write(),))
    batch.updates.are_all_lines_new = before != batch.terms
    if before.zone != batch.terms.zone:  # whose zone it is has another next change; `sweep` finds it
        query = "UPDATE choices SET next_s=min(coalesce(next_s, ?1), ?1) WHERE instr(text, '\"schedules\"')"
        batch.store.connection.execute(query, (batch.now_s,))
    entries = {entry.id: entry for entry in configuration.subscribers}
    batch.rows.fetch_ids(entries)
    named: dict[str, Subscriber] = {}
    for name in entries:
        subscriber = batch.rows.find_id(name) or batch.make_subscriber(name)
        if subscriber:
            named[name] = subscriber
    batch.rows.write()
    batch.rows.fetch_all_words(list(named.values()))
    _set_choices(batch, {subscriber.number: entries[name] for name, subscriber in named.items()})
    _set_claims(batch, {name: (subscriber, entries[name]) for name, subscriber in named.items()})


def _check_capacity(batch: Batch) -> None:
    highest = batch.store.connection.execute("SELECT max(number) FROM subscribers").fetchone()[0] or 0
    if highest > batch.settings.capacity - NUMBERS_KEPT:
        raise StoreError(
            f"register.capacity: {batch.settings.capacity:,} is too little for those who have a number: expected more than "
            f"{highest + NUMBERS_KEPT - 1:,}, or `register.database` moved aside"
        )


def _set_choices(batch: Batch, entries: dict[int, Entry]) -> None:
    connection = batch.store.connection
    present: dict[int, Choice] = {row[0]: row[1:] for row in connection.execute("SELECT * FROM configured")}
    gone = present.keys() - entries.keys()
    batch.rows.fetch_numbers(gone)
    for number in gone:
        subscriber = batch.rows.find_number(number)
        batch.hold(subscriber).configured = None
        batch.touch(number)
    changed: list[tuple[int, int, int, int | None]] = []
    for number, entry in entries.items():
        code = batch.catalogue.find_code(entry.profile)
        choice: Choice = code, int(entry.fail == "closed"), entry.packets_per_s
        if present.get(number) != choice:
            subscriber = batch.rows.find_number(number)
            batch.hold(subscriber).configured = choice
            changed.append((number, *choice))
            batch.touch(number)
    connection.executemany("DELETE FROM configured WHERE number=?", [(number,) for number in gone])
    connection.executemany("REPLACE INTO configured VALUES(?, ?, ?, ?)", changed)


def _set_claims(batch: Batch, named: dict[str, tuple[Subscriber, Entry]]) -> None:
    connection, rows = batch.store.connection, batch.rows
    wanted = {
        pack_place(make_place(prefix, entry.scope)): subscriber
        for subscriber, entry in named.values()
        for prefix in entry.prefixes
    }
    present = {key: (number, at_ms) for key, number, at_ms in connection.execute("SELECT * FROM claims")}
    gone = [key for key in present if key not in wanted or present[key][0] != wanted[key].number]
    rows.fetch_places({*wanted, *gone})
    connection.executemany("DELETE FROM claims WHERE place=?", [(key,) for key in gone])
    for key in gone:
        owner = rows.find_place(key)
        if owner and owner[0] == CONFIGURATION:
            batch.lose(owner[1])
            batch.release_place(key)
    fresh = [key for key in wanted if key not in present or key in gone]
    new = [(key, wanted[key].number, batch.now_ms) for key in fresh]
    connection.executemany("INSERT INTO claims VALUES(?, ?, ?)", new)
    batch.catalogue.has_claims = bool(wanted)
    times = {key: at_ms for key, (_, at_ms) in present.items()} | {key: at_ms for key, _, at_ms in new}
    for key, subscriber in wanted.items():
        owner = rows.find_place(key)
        if owner is None or key in fresh:
            batch.win(key, times[key], CONFIGURATION, subscriber)
