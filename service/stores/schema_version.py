"""What a database says of itself, the same for every engine."""

SCHEMA_VERSION = 4

UNFINISHED = {
    "rebuild": "a rebuild of this database was not finished: run `mediagate rebuild` again",
    "copy": "a copy into this database was not finished: run `mediagate metadata copy` again",
}
"""A mark that stands in a database which is not whole, and what to say of it."""
