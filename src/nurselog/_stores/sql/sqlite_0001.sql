-- The first schema. What each column means is written down in docs/log-format.md.

-- One row a workflow. Keys are never used twice (AUTOINCREMENT): a worker that has slept through the end of a
-- workflow must not find another one under its number.
CREATE TABLE workflow (
    key        INTEGER PRIMARY KEY AUTOINCREMENT,
    shard      INTEGER NOT NULL,
    id         TEXT    NOT NULL UNIQUE,
    parent     INTEGER,
    name       TEXT    NOT NULL,
    version    TEXT,
    digest     TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    owner      TEXT,
    due_at     INTEGER,
    problem    TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
);

-- What can be claimed: by the time it is due, and first come, first served where that is the same. All that a claim
-- asks for is in it, so that workflows whose function nobody has are passed over without a look at the table.
CREATE INDEX workflow_due ON workflow (due_at, key, name, version, owner) WHERE owner IS NULL AND due_at IS NOT NULL;

-- What a worker owns: read for its messages, and when it is gone.
CREATE INDEX workflow_owner ON workflow (owner) WHERE owner IS NOT NULL;

-- Which roots have ended, the longest ended first: read for what is kept too long. The words are those of the query.
CREATE INDEX workflow_ended ON workflow (updated_at)
    WHERE parent IS NULL AND status IN ('completed', 'failed', 'cancelled', 'killed');

-- The logs, append only. UNIQUE is the fence. A rowid table, because rows are then written one behind another, and
-- only the small index is written all over the place.
CREATE TABLE log (
    workflow INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    after    INTEGER NOT NULL,
    writer   INTEGER NOT NULL,
    format   INTEGER NOT NULL,
    event    TEXT    NOT NULL,
    value    BLOB,
    UNIQUE (workflow, seq)
);

CREATE TABLE worker (
    id         TEXT    NOT NULL PRIMARY KEY,
    expires_at INTEGER NOT NULL,
    pid        INTEGER NOT NULL,
    host       TEXT    NOT NULL,
    beacon     TEXT
);

CREATE TABLE message (
    number   INTEGER PRIMARY KEY AUTOINCREMENT,
    workflow INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    body     BLOB    NOT NULL
);

CREATE INDEX message_workflow ON message (workflow);

-- Which messages were left, by the words that their senders gave them; remembered as long as the workflow is.
CREATE TABLE message_key (
    workflow INTEGER NOT NULL,
    once     TEXT    NOT NULL,
    PRIMARY KEY (workflow, once)
) WITHOUT ROWID;

-- What the application's transactions came to, by their keys: written together with what they write. No outcome: the
-- body has committed by itself.
CREATE TABLE transaction_key (
    workflow INTEGER NOT NULL,
    key      TEXT    NOT NULL,
    outcome  BLOB,
    UNIQUE (workflow, key)
);

-- Messages for workflows that are not there yet, by the id that each will have, and numbered from 1 for each. When the
-- workflow is made they become its first messages.
CREATE TABLE early_message (
    id    TEXT    NOT NULL,
    place INTEGER NOT NULL,
    kind  TEXT    NOT NULL,
    body  BLOB    NOT NULL,
    once  TEXT,
    at    INTEGER NOT NULL,
    PRIMARY KEY (id, place)
);
