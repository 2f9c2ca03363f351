"""The tables of portal.db: tokens, sessions of pages, the audit, what was recorded. Times are seconds since 1970."""

from pathlib import Path

from penstock.portal.database import Database

SCHEMA = """
CREATE TABLE tokens(token INTEGER PRIMARY KEY AUTOINCREMENT, hash BLOB NOT NULL UNIQUE, name TEXT NOT NULL,
    role TEXT NOT NULL, subscriber TEXT, created_s REAL NOT NULL, expires_s REAL, used_s REAL);
CREATE TABLE sessions(hash BLOB PRIMARY KEY, token INTEGER NOT NULL REFERENCES tokens ON DELETE CASCADE,
    expires_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE audit(entry INTEGER PRIMARY KEY AUTOINCREMENT, at_s REAL NOT NULL, token INTEGER, name TEXT, role TEXT,
    address TEXT NOT NULL, operation TEXT NOT NULL, method TEXT NOT NULL, path TEXT NOT NULL, subscriber TEXT,
    status INTEGER);
CREATE INDEX audit_time ON audit(at_s);
CREATE INDEX audit_token ON audit(token);
CREATE INDEX audit_subscriber ON audit(subscriber, entry) WHERE subscriber IS NOT NULL;
CREATE TABLE captures(capture INTEGER PRIMARY KEY AUTOINCREMENT, subscriber TEXT NOT NULL, by TEXT NOT NULL,
    begun_s REAL NOT NULL, ends_s REAL NOT NULL, limit_bytes INTEGER NOT NULL, state TEXT NOT NULL, size_bytes INTEGER,
    packets INTEGER, flows INTEGER);
CREATE INDEX captures_subscriber ON captures(subscriber)"""


def open_database(path: Path) -> Database:
    """The file, made where there is none. Raises DatabaseError."""
    return Database(path, SCHEMA)
