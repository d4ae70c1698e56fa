"""Every table and index; `rows.py` and `upload_rows.py` say what stands in the columns.

Names that users choose (metadata, tags, digests) stand in JSON and are values there, never names of
ours. Columns are what is searched, sorted or compared by. Text compares as the bytes of its UTF-8.
Times are milliseconds since 1970, flags are 0 and 1. Partial indexes hold only what there is work
with; a query states their condition literally, or SQLite would not use them.

`terms` is what searches read by: the strings that a current object is found by (protocol/terms.py),
`whole` ones with the orders that a search may go along. There are some twenty of an object, so they
name its bucket by a number (`bucket_numbers`), and words leave the orders empty. An index on each
of these orders lets a page of "this tag, newest first" cost what the page costs, whatever else
there is.
"""

from __future__ import annotations

APPLICATION_ID = 0x6D676174
"""`mgat`: says in the file's header whose it is."""

_TABLES = """
CREATE TABLE buckets (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    settings TEXT NOT NULL,
    has_kept INTEGER NOT NULL,
    deletion TEXT,
    UNIQUE (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE versions (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('object', 'marker', 'tombstone')),
    tenant TEXT NOT NULL,
    bucket_id TEXT NOT NULL,
    key TEXT NOT NULL,
    latest INTEGER NOT NULL,
    live INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    changed_seq INTEGER NOT NULL,
    own_subject INTEGER NOT NULL,
    blob_key TEXT,
    size_bytes INTEGER,
    digests TEXT,
    facts TEXT,
    created_ms INTEGER,
    modified_ms INTEGER,
    revision INTEGER,
    damaged_ms INTEGER,
    dead_ms INTEGER
) STRICT;

CREATE TABLE bucket_numbers (
    no INTEGER PRIMARY KEY,
    bucket_id TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE terms (
    no INTEGER NOT NULL REFERENCES versions (no) ON DELETE CASCADE,
    term TEXT NOT NULL,
    whole INTEGER NOT NULL,
    bucket_no INTEGER NOT NULL,
    key TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    PRIMARY KEY (no, term)
) STRICT, WITHOUT ROWID;

CREATE TABLE uploads (
    no INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    version_id TEXT NOT NULL,
    tenant TEXT NOT NULL,
    bucket_id TEXT NOT NULL,
    key TEXT NOT NULL,
    blob_key TEXT NOT NULL,
    intent TEXT NOT NULL,
    principal TEXT,
    idempotency_key TEXT,
    ordinal INTEGER,
    fingerprint TEXT,
    state TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    lease_ms INTEGER,
    completion TEXT,
    parts TEXT,
    completing_ms INTEGER,
    committed_ms INTEGER,
    seq INTEGER,
    replaced INTEGER NOT NULL DEFAULT 0,
    clean_ms INTEGER,
    looks INTEGER NOT NULL DEFAULT 0,
    resumer TEXT,
    progress TEXT,
    span_ms INTEGER
) STRICT;

CREATE TABLE upload_parts (
    upload_id TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    size_bytes INTEGER NOT NULL,
    etag TEXT NOT NULL,
    checksum BLOB,
    PRIMARY KEY (upload_id, number)
) STRICT, WITHOUT ROWID;

CREATE TABLE upload_keys (
    upload_id TEXT NOT NULL REFERENCES uploads (id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    blob_key TEXT NOT NULL,
    multipart_id TEXT,
    leftover INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (upload_id, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    secret_sha256 BLOB NOT NULL,
    scopes TEXT NOT NULL,
    buckets TEXT NOT NULL,
    prefixes TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    revoked_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    id TEXT NOT NULL PRIMARY KEY,
    tenant TEXT NOT NULL,
    bucket_id TEXT NOT NULL,
    prefix TEXT NOT NULL,
    state TEXT NOT NULL,
    cursor TEXT NOT NULL,
    deleted INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    owner TEXT,
    lease_ms INTEGER,
    finished_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    id TEXT NOT NULL PRIMARY KEY,
    seq INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    line TEXT NOT NULL,
    pending INTEGER NOT NULL,
    position INTEGER,
    published_ms INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE publishers (
    name TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL,
    epoch INTEGER NOT NULL,
    position INTEGER NOT NULL,
    lease_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE strays (
    name TEXT NOT NULL PRIMARY KEY,
    blob_key TEXT NOT NULL,
    multipart_id TEXT,
    found_ms INTEGER NOT NULL,
    seen_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE progress (
    worker TEXT NOT NULL PRIMARY KEY,
    facts TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE marks (
    name TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
"""

_INDEXES = """
CREATE UNIQUE INDEX versions_latest ON versions (bucket_id, key) WHERE latest = 1;
CREATE INDEX versions_listing ON versions (bucket_id, key) WHERE latest = 1 AND kind = 'object';
CREATE INDEX versions_created ON versions (bucket_id, created_ms, key)
    WHERE latest = 1 AND kind = 'object';
CREATE INDEX versions_size ON versions (bucket_id, size_bytes, key)
    WHERE latest = 1 AND kind = 'object';
CREATE INDEX versions_history ON versions (bucket_id, key, seq) WHERE live = 1;
CREATE INDEX versions_dead ON versions (dead_ms) WHERE dead_ms IS NOT NULL AND kind = 'object';
CREATE INDEX versions_tombstones ON versions (dead_ms) WHERE kind = 'tombstone';
CREATE INDEX versions_blobs ON versions (blob_key) WHERE blob_key IS NOT NULL;

CREATE INDEX terms_words ON terms (bucket_no, term) WHERE whole = 0;
CREATE INDEX terms_by_key ON terms (bucket_no, term, key) WHERE whole = 1;
CREATE INDEX terms_by_created ON terms (bucket_no, term, created_ms, key) WHERE whole = 1;
CREATE INDEX terms_by_size ON terms (bucket_no, term, size_bytes, key) WHERE whole = 1;

CREATE UNIQUE INDEX uploads_idempotency
    ON uploads (tenant, principal, idempotency_key, ordinal) WHERE principal IS NOT NULL;
CREATE INDEX uploads_lease ON uploads (lease_ms) WHERE lease_ms IS NOT NULL;
CREATE INDEX uploads_clean ON uploads (clean_ms) WHERE clean_ms IS NOT NULL;
CREATE INDEX uploads_bucket ON uploads (bucket_id, state);
CREATE INDEX uploads_settled ON uploads (committed_ms)
    WHERE state = 'committed' AND clean_ms IS NULL;
CREATE INDEX uploads_state ON uploads (state);
CREATE INDEX uploads_resumer ON uploads (tenant, resumer, id) WHERE resumer IS NOT NULL;
CREATE INDEX uploads_span ON uploads (span_ms) WHERE span_ms IS NOT NULL;
CREATE INDEX upload_keys_blob ON upload_keys (blob_key);

CREATE INDEX api_keys_tenant ON api_keys (tenant, id);
CREATE INDEX jobs_due ON jobs (lease_ms) WHERE lease_ms IS NOT NULL;
CREATE INDEX jobs_finished ON jobs (finished_ms) WHERE finished_ms IS NOT NULL;
CREATE INDEX events_pending ON events (seq) WHERE pending = 1;
CREATE INDEX events_published ON events (published_ms) WHERE published_ms IS NOT NULL;
CREATE INDEX strays_found ON strays (found_ms);
CREATE INDEX strays_seen ON strays (seen_ms);
"""

STATEMENTS = tuple(
    statement.strip() for statement in (_TABLES + _INDEXES).split(";") if statement.strip()
)
