"""Which engine keeps the metadata: the scheme of `metadata.url` says it.

    mongodb://…  mongodb+srv://…            MongoDB, for any number of machines
    sqlite:///relative  sqlite:////absolute   a file on this one

An engine's driver is imported only where that engine runs.
"""

from __future__ import annotations

from pathlib import Path

from service import settings
from service.errors import StoreRefused
from service.stores.ports import MetadataStore
from service.stores.record_port import RecordStore

SCHEMES = ("mongodb", "mongodb+srv", "sqlite")


def scheme_of(url: str) -> str:
    """Raises StoreRefused, without the URL: it may hold a password."""
    scheme = url.partition("://")[0]
    if scheme not in SCHEMES:
        raise StoreRefused(f"metadata.url must begin with one of {', '.join(SCHEMES)} and ://")
    return scheme


def open_metadata(chosen: settings.Metadata) -> MetadataStore:
    """The store, not connected yet: `start` is the first call that needs it.

    Raises StoreRefused for a URL that names no engine.
    """
    if scheme_of(chosen.url.get_secret_value()) == "sqlite":
        from service.stores import sqlite

        return sqlite.open_metadata(chosen)
    from service.stores import mongo

    return mongo.open_metadata(chosen)


def open_records(chosen: settings.Metadata) -> RecordStore:
    """The same engine as records; not open until its `open`."""
    if scheme_of(chosen.url.get_secret_value()) == "sqlite":
        from service.stores import sqlite

        return sqlite.open_records(chosen)
    from service.stores import mongo

    return mongo.open_records(chosen)


def file_of(chosen: settings.Metadata) -> Path:
    """Where SQLite keeps the metadata. Raises StoreRefused where another engine does."""
    if scheme_of(chosen.url.get_secret_value()) != "sqlite":
        raise StoreRefused("metadata lie in MongoDB: use its own tools, as docs/metadata.md says")
    from service.stores import sqlite

    return sqlite.path_of(chosen)
