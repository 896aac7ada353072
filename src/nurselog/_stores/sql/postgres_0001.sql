-- The first schema. What each column means is written down in docs/log-format.md. Names are without a schema: whoever
-- runs this has put the store's schema into `search_path`, and so has whoever calls the functions.
--
-- `shard` is in every key, and a function whose first argument is `in_shard` works on that shard alone. So the store
-- may be partitioned by it: then PARTITION BY is no comment any more, and each shard has a partition. Or it may be
-- distributed over several servers by Citus: then these functions run where their shard is.
--
-- Citus plans each statement in them, and refuses more than PostgreSQL does: INSERT in a WITH, and functions that are
-- VOLATILE in an UPDATE or in a WHERE of one. It deals with a statement as a whole on one server only if each table in
-- it is compared with `in_shard`.
--
-- Locks are taken in one order everywhere, so that nobody waits in a circle: workers by id, workflows by key (also those
-- that get messages or children), new ids in their order, log rows by workflow and seq. Whoever cannot keep to it skips
-- what is locked. Messages and their words are behind the lock of their workflow.

-- One row: which version this schema has, the oldest version whose engines may still use it, and how it was made.
CREATE TABLE about (
    version     integer NOT NULL,
    oldest      integer NOT NULL,
    shards      integer NOT NULL,
    distributed boolean NOT NULL
);

-- What keys are made of; see `key_of`.
CREATE SEQUENCE workflow_key;

-- Ids are compared byte by byte: what lies between two of them must not depend on the server's language. The default of
-- `key` is never used: it tells Citus that each server needs the sequence.
--
-- `shard` stands behind in its keys: of a young table the planner knows nothing, takes all indexes for equally good whose
-- first column is compared, and was seen to look for keys by going through all ids.
CREATE TABLE workflow (
    shard      integer NOT NULL,
    key        bigint  NOT NULL DEFAULT nextval('workflow_key'),
    id         text    NOT NULL COLLATE "C",
    parent     bigint,
    name       text    NOT NULL,
    version    text,
    digest     text    NOT NULL,
    status     text    NOT NULL,
    owner      text,
    due_at     bigint,
    problem    text,
    created_at bigint  NOT NULL,
    updated_at bigint  NOT NULL,
    PRIMARY KEY (key, shard),
    UNIQUE (id, shard)
) /* PARTITION BY LIST (shard) */;

-- What can be claimed: by the time it is due, and first come, first served where that is the same.
CREATE INDEX workflow_due ON workflow (shard, due_at, key) WHERE owner IS NULL AND due_at IS NOT NULL;

-- What a worker owns: read for its messages, and when it is gone.
CREATE INDEX workflow_owner ON workflow (owner, shard) WHERE owner IS NOT NULL;

-- Which roots have ended, the longest ended first: read for what is kept too long. The words are those of the query.
CREATE INDEX workflow_ended ON workflow (shard, updated_at)
    WHERE parent IS NULL AND status IN ('completed', 'failed', 'cancelled', 'killed');

-- The logs, append only. The primary key is the fence.
CREATE TABLE log (
    workflow bigint   NOT NULL,
    seq      bigint   NOT NULL,
    at       bigint   NOT NULL,
    after    bigint   NOT NULL,
    writer   bigint   NOT NULL,
    shard    integer  NOT NULL,
    format   integer  NOT NULL,
    event    text     NOT NULL,
    value    bytea,
    PRIMARY KEY (shard, workflow, seq)
) /* PARTITION BY LIST (shard) */;

-- One row for each worker and shard: who claims looks at one shard only.
CREATE TABLE worker (
    shard      integer NOT NULL,
    id         text    NOT NULL,
    expires_at bigint  NOT NULL,
    pid        integer NOT NULL,
    host       text    NOT NULL,
    beacon     integer,
    lit_since  bigint,
    undone     bigint  NOT NULL,
    PRIMARY KEY (shard, id)
) /* PARTITION BY LIST (shard) */;

CREATE SEQUENCE message_number;

CREATE TABLE message (
    shard    integer NOT NULL,
    number   bigint  NOT NULL DEFAULT nextval('message_number'),
    workflow bigint  NOT NULL,
    kind     text    NOT NULL,
    body     bytea   NOT NULL,
    PRIMARY KEY (shard, workflow, number)
) /* PARTITION BY LIST (shard) */;

-- Which messages were left, by the words that their senders gave them; remembered as long as the workflow is.
CREATE TABLE message_key (
    shard    integer NOT NULL,
    workflow bigint  NOT NULL,
    once     text    NOT NULL COLLATE "C",
    PRIMARY KEY (shard, workflow, once)
) /* PARTITION BY LIST (shard) */;

-- What the application's transactions came to, by their keys: written together with what they write. No outcome: the
-- body has committed by itself.
CREATE TABLE transaction_key (
    shard    integer NOT NULL,
    workflow bigint  NOT NULL,
    key      text    NOT NULL COLLATE "C",
    outcome  bytea,
    PRIMARY KEY (shard, workflow, key)
) /* PARTITION BY LIST (shard) */;


-- Messages for workflows that are not there yet, by the id that each will have, and numbered from 1 for each. When the
-- workflow is made they become its first messages.
CREATE TABLE early_message (
    shard  integer NOT NULL,
    id     text    NOT NULL COLLATE "C",
    place  bigint  NOT NULL,
    kind   text    NOT NULL,
    body   bytea   NOT NULL,
    once   text    COLLATE "C",
    at     bigint  NOT NULL,
    PRIMARY KEY (shard, id, place)
) /* PARTITION BY LIST (shard) */;


-- The key of a new workflow: a number out of the sequence, times 1,024, plus the shard. So the shard is known from the
-- key, and the newest workflow has the highest one. Where the sequence is on several servers, Citus puts the server's
-- number into its upper 16 bits, and times 1,024 the 32nd would be too large. So those move down by 8 bits, which
-- leaves 40 for counting; the newest workflow has the highest key of its server then.
CREATE FUNCTION key_of(number bigint, shard integer) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT ((number >> 48 << 40) | (number & 1099511627775)) * 1024 + shard
$$;


-- The database's clock, in microseconds; `given` is another one, for tests. Each shard has its own, where they are on
-- several servers: all that is said of a worker in a shard is said by that one.
CREATE FUNCTION lease_clock(given bigint) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(given, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
$$;


-- Beacons: an advisory lock that a worker's listening connection holds. The server lets go of it when the connection
-- ends, which it does when the process dies, however it dies.
CREATE FUNCTION beacon_class() RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT hashtext('nurselog beacon ' || current_schema())
$$;


-- When this server was started: what was lit before has gone out without meaning anything.
CREATE FUNCTION server_start() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint
$$;


-- Whether nobody can be there any more. The lock is tried, and let go of at the end of the transaction.
CREATE FUNCTION is_out(beacon integer, lit_since bigint) RETURNS boolean LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN lit_since = server_start() THEN pg_try_advisory_xact_lock(beacon_class(), beacon) ELSE FALSE END
$$;


-- Light a beacon, for as long as this connection lives; return since when the server has been running.
CREATE FUNCTION light_beacon(in_worker text, in_beacon integer) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_lock(beacon_class(), in_beacon);
    UPDATE worker SET beacon = in_beacon, lit_since = server_start() WHERE id = in_worker;
    RETURN server_start();
END
$$;


CREATE FUNCTION is_final(status text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT status IN ('completed', 'failed', 'cancelled', 'killed')
$$;


-- The writer that a claim gives to a workflow: made of the claim's own random number, so that a claim whose answer was
-- lost can be found again.
CREATE FUNCTION writer_of(claim bigint, workflow bigint) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT greatest(1, ('x' || left(md5(claim || '-' || workflow), 16))::bit(64)::bigint & 9223372036854775807)
$$;


-- The fence. Append the rows of those workflows whose last row is by the same writer and reaches up to the append, and
-- return the others. `firsts` has, for each row, the seq of the first one of its append; rows without a key are for
-- nobody. Rows that are there already are the writer's own, and are left as they are.
--
-- What is inserted was decided by a snapshot, and begins right behind the last row of that snapshot, which is where
-- everybody else's next row must be too. So whoever comes second waits, and collides: unique_violation, and nothing is
-- written. Therefore there is no ON CONFLICT here: it would leave out the first row and insert the rest.
CREATE FUNCTION append_rows(
    in_shard integer, keys bigint[], firsts bigint[], seqs bigint[], ats bigint[], afters bigint[], writers bigint[],
    formats bigint[], events text[], contents bytea[]
) RETURNS bigint[] LANGUAGE plpgsql AS $$
DECLARE
    lasts bigint[];
    refused bigint[];
BEGIN
    -- For each row the last seq that its log has; NULL where it must not be written.
    SELECT array_agg(CASE WHEN line.passes THEN line.last END ORDER BY line.place),
        array_agg(DISTINCT line.workflow) FILTER (WHERE line.workflow IS NOT NULL AND NOT line.passes)
    INTO lasts, refused
    FROM (
        SELECT given.workflow, given.place, coalesce(last.seq, 0) AS last, given.workflow IS NOT NULL
            AND CASE WHEN last.seq IS NULL THEN given.first = 1 AND EXISTS (
                    SELECT FROM workflow WHERE workflow.shard = in_shard AND workflow.key = given.workflow
                )
                ELSE last.writer = given.writer AND last.seq >= given.first - 1 END AS passes
        FROM unnest(keys, firsts, writers) WITH ORDINALITY AS given (workflow, first, writer, place)
        LEFT JOIN LATERAL (
            SELECT log.seq, log.writer FROM log
            WHERE log.shard = in_shard AND log.workflow = given.workflow ORDER BY log.seq DESC LIMIT 1
        ) AS last ON TRUE
    ) AS line;
    INSERT INTO log (shard, workflow, seq, at, after, writer, format, event, value)
    SELECT in_shard, line.workflow, line.seq, line.at, line.after, line.writer, line.format, line.event, line.value
    FROM unnest(keys, seqs, ats, afters, writers, formats, events, contents, lasts)
        AS line (workflow, seq, at, after, writer, format, event, value, last)
    WHERE line.seq > line.last ORDER BY line.workflow, line.seq;
    RETURN coalesce(refused, '{}');
END
$$;


-- Leave messages, those that have a key: for workflows that have not ended, each once only, and while there is room. Those
-- for one workflow are left in their order. Return a line for each, in no order: what became of it, who owns its workflow,
-- and the number that it has got if it has a bound, and nothing waited before those of this call.
--
-- A workflow's row comes first. So an end that is being written at the same time is waited for, and no message is left
-- behind it; and nobody else leaves any for this workflow, so that what was left before, and how much waits, is certain.
CREATE FUNCTION leave_messages(
    in_shard integer, keys bigint[], kinds text[], bodies bytea[], onces text[], mosts bigint[]
) RETURNS TABLE (place bigint, posted text, owner text, first bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    one record;
    receiver bigint;
    given_number bigint;
    empty boolean;
    living boolean;
    woken boolean;
    waiting bigint;
BEGIN
    FOR one IN
        SELECT *, max(most) OVER (PARTITION BY key) AS bound
        FROM unnest(keys, kinds, bodies, onces, mosts) WITH ORDINALITY AS given (key, kind, body, once, most, place)
        WHERE key IS NOT NULL ORDER BY key, place
    LOOP
        IF receiver IS DISTINCT FROM one.key THEN
            receiver := one.key;
            woken := FALSE;
            SELECT workflow.owner INTO owner FROM workflow
            WHERE workflow.shard = in_shard AND workflow.key = one.key AND NOT is_final(workflow.status) FOR UPDATE;
            living := FOUND;
            empty := FALSE;
            IF one.bound IS NOT NULL THEN
                SELECT count(*) INTO waiting FROM (
                    SELECT FROM message WHERE message.shard = in_shard AND message.workflow = one.key LIMIT one.bound
                ) AS waits;
                empty := waiting = 0;
            END IF;
        END IF;
        place := one.place;
        first := NULL;
        IF NOT living OR one.most <= waiting THEN
            PERFORM FROM message_key WHERE shard = in_shard AND workflow = one.key AND once = one.once;
            posted := CASE WHEN FOUND THEN 'known' WHEN living THEN 'full' ELSE 'ended' END;
        ELSE
            posted := 'left';
            IF one.once IS NOT NULL THEN
                INSERT INTO message_key (shard, workflow, once) VALUES (in_shard, one.key, one.once)
                ON CONFLICT (shard, workflow, once) DO NOTHING;
                posted := CASE WHEN FOUND THEN 'left' ELSE 'known' END;
            END IF;
        END IF;
        IF posted = 'left' THEN
            INSERT INTO message (shard, workflow, kind, body) VALUES (in_shard, one.key, one.kind, one.body)
            RETURNING number INTO given_number;
            first := CASE WHEN empty THEN given_number END;
            waiting := waiting + 1;
            IF NOT woken THEN
                UPDATE workflow SET due_at = 0
                WHERE workflow.shard = in_shard AND workflow.key = one.key AND due_at IS DISTINCT FROM 0;
                woken := TRUE;
            END IF;
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;


-- Leave messages by the ids of workflows, which need not be there yet: for those that are, as `leave_messages` does; for
-- the others they are kept until `move_early`. Return a line for each, in no order, as `leave_messages` does, or with
-- 'kept'; but none for a workflow that comes into being meanwhile: then ask again.
--
-- Who makes a workflow looks for what is kept for its id, and must not overlook what is being kept just then; who keeps
-- something must not overlook a workflow that is being made. A lock for each id would do, but would be dear for those who
-- make workflows, thousands at once, for the sake of the few who are early. So the early ones bear it: they make a
-- workflow of the id, and remove it. Until they have committed, that keeps everybody else from making one, who then
-- sees what was kept; and it waits for whoever is making one.
CREATE FUNCTION leave_early(
    in_shard integer, in_now bigint, ids text[], kinds text[], bodies bytea[], onces text[], mosts bigint[]
) RETURNS TABLE (place bigint, posted text, owner text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    one record;
    keys bigint[];
    free text[];
    held bigint[];
BEGIN
    keys := ARRAY(
        SELECT (SELECT workflow.key FROM workflow WHERE workflow.shard = in_shard AND workflow.id = given.id LIMIT 1)
        FROM unnest(ids) WITH ORDINALITY AS given (id, place) ORDER BY given.place
    );
    RETURN QUERY SELECT letter.place, letter.posted, letter.owner
        FROM leave_messages(in_shard, keys, kinds, bodies, onces, mosts) AS letter;
    free := ARRAY(SELECT DISTINCT given.id COLLATE "C" FROM unnest(ids, keys) AS given (id, key) WHERE given.key IS NULL);
    held := ARRAY(
        SELECT key_of(nextval('workflow_key'), in_shard) FROM generate_series(1, cardinality(free))
    );
    INSERT INTO workflow (shard, key, id, name, digest, status, created_at, updated_at)
    SELECT in_shard, new.key, new.id, '', '', 'pending', in_now, in_now
    FROM unnest(held, free) AS new (key, id) ORDER BY new.id COLLATE "C"
    ON CONFLICT (id, shard) DO NOTHING;
    free := ARRAY(SELECT workflow.id FROM workflow WHERE workflow.shard = in_shard AND workflow.key = ANY (held));
    FOR one IN
        SELECT * FROM unnest(ids, kinds, bodies, onces, mosts) WITH ORDINALITY
            AS given (id, kind, body, once, most, place)
        WHERE given.id = ANY (free) ORDER BY given.place
    LOOP
        place := one.place;
        PERFORM FROM early_message WHERE shard = in_shard AND id = one.id AND once = one.once;
        IF FOUND THEN
            posted := 'known';
        ELSE
            INSERT INTO early_message (shard, id, place, kind, body, once, at)
            SELECT in_shard, one.id, last.place + 1, one.kind, one.body, one.once, in_now
            FROM (
                SELECT coalesce(max(early.place), 0) AS place FROM early_message AS early
                WHERE early.shard = in_shard AND early.id = one.id
            ) AS last
            WHERE one.most IS NULL OR last.place < one.most;
            posted := CASE WHEN FOUND THEN 'kept' ELSE 'full' END;
        END IF;
        RETURN NEXT;
    END LOOP;
    DELETE FROM workflow WHERE workflow.shard = in_shard AND workflow.key = ANY (held);
END
$$;


-- Give workflows that were just made what was kept for their ids; those that are not there get nothing.
CREATE FUNCTION move_early(in_shard integer, ids text[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    one text;
    receiver bigint;
BEGIN
    FOREACH one IN ARRAY ids LOOP
        SELECT workflow.key INTO receiver FROM workflow WHERE workflow.shard = in_shard AND workflow.id = one;
        CONTINUE WHEN NOT FOUND;
        INSERT INTO message (shard, workflow, kind, body)
        SELECT in_shard, receiver, early.kind, early.body FROM early_message AS early
        WHERE early.shard = in_shard AND early.id = one ORDER BY early.place;
        INSERT INTO message_key (shard, workflow, once)
        SELECT in_shard, receiver, early.once FROM early_message AS early
        WHERE early.shard = in_shard AND early.id = one AND early.once IS NOT NULL;
        DELETE FROM early_message WHERE shard = in_shard AND id = one;
    END LOOP;
END
$$;


-- A whole batch. Creation number n of the arrays `new_*` has its rows under the key -n; of each of `parents` the batch has
-- an append, with rows or without (no `writer`). Each entry of `stand_*` is
-- an append that has more than rows, or none (no `last`): then it is not the log that decides, but whether the worker
-- owns the workflow. Some of the messages in `taken` are of those that are marked by `takes`; those of `post_*` are left
-- if the append of the one in `post_froms` is written, when all else is.
--
-- Return a line for each workflow that was refused, then one for each owner of a workflow that got messages (NULL: one
-- has none), and then one for each creation, but for children whose parent was refused; `mail` says whether messages wait
-- for it already.
CREATE FUNCTION commit_batch(
    in_shard integer, in_worker text, in_now bigint,
    new_ids text[], new_parents bigint[], new_names text[], new_versions text[], new_digests text[],
    new_statuses text[], new_owners text[], new_ats bigint[], new_lasts bigint[], new_writers bigint[],
    parents bigint[], parent_firsts bigint[], parent_writers bigint[],
    keys bigint[], firsts bigint[], seqs bigint[], ats bigint[], afters bigint[], writers bigint[],
    formats bigint[], events text[], contents bytea[],
    stand_keys bigint[], stand_lasts bigint[], stand_writers bigint[], stand_takes bigint[], stand_statuses text[],
    stand_problems text[],
    stand_releases bigint[], stand_dues bigint[], taken bigint[],
    post_froms bigint[], post_keys bigint[], post_kinds text[], post_bodies bytea[], post_onces text[],
    post_mosts bigint[]
) RETURNS TABLE (
    refused bigint, fresh boolean,
    shard integer, key bigint, id text, parent bigint, name text, version text, digest text, status text, owner text,
    due_at bigint, problem text, created_at bigint, updated_at bigint, mail boolean, gone_on boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    living text[];
    new_keys bigint[];
    made bigint[];
    awaited text[];
    barred bigint[] := '{}';
    lost bigint[];
    one record;
BEGIN
    -- Only who has a row in `worker` may own: nobody would see that another one is gone. Held until the end, so that
    -- nobody can find the worker dead, let its workflows go, and not see this one.
    IF cardinality(new_owners) > 0 THEN
        living := ARRAY(
            SELECT worker.id FROM worker WHERE worker.shard = in_shard AND worker.id = ANY (new_owners)
            ORDER BY worker.id FOR KEY SHARE
        );
    END IF;
    IF cardinality(stand_keys) > 0 OR cardinality(post_keys) > 0 OR cardinality(parents) > 0 THEN
        PERFORM FROM workflow
        WHERE workflow.shard = in_shard AND workflow.key = ANY (stand_keys || post_keys || parents)
        ORDER BY workflow.key FOR UPDATE;
    END IF;
    -- Whose append will be refused has no children. By now nobody can take the parents over any more; so the fence, given
    -- nothing to write, says what it will say below.
    IF cardinality(parents) > 0 THEN
        -- By itself: Citus refuses a function that asks something inside of a statement that does.
        barred := append_rows(in_shard, parents, parent_firsts, '{}', '{}', '{}', parent_writers, '{}', '{}', '{}');
        barred := barred || ARRAY(
            SELECT given.key FROM unnest(parents, parent_firsts) AS given (key, first)
            WHERE given.first IS NULL AND NOT EXISTS (
                SELECT FROM workflow
                WHERE workflow.shard = in_shard AND workflow.key = given.key AND owner IS NOT DISTINCT FROM in_worker
            )
        );
    END IF;
    IF cardinality(new_ids) > 0 THEN
        new_keys := ARRAY(
            SELECT key_of(nextval('workflow_key'), in_shard) FROM generate_series(1, cardinality(new_ids))
        );
        INSERT INTO workflow (
            shard, key, id, parent, name, version, digest, status, owner, due_at, created_at, updated_at
        )
        SELECT in_shard, new.key, new.id, new.parent, new.name, new.version, new.digest, new.status,
            CASE WHEN new.owner = ANY (living) THEN new.owner END, 0, new.at, new.at
        FROM unnest(
            new_keys, new_ids, new_parents, new_names, new_versions, new_digests, new_statuses, new_owners, new_ats
        ) AS new (key, id, parent, name, version, digest, status, owner, at)
        WHERE new.parent IS NULL OR new.parent <> ALL (barred)
        ORDER BY new.id COLLATE "C"
        ON CONFLICT (id, shard) DO NOTHING;
        made := ARRAY(
            SELECT workflow.key FROM workflow WHERE workflow.shard = in_shard AND workflow.key = ANY (new_keys)
        );
        keys := ARRAY(
            SELECT CASE
                WHEN line.key > 0 THEN line.key
                WHEN new_keys[-line.key] IN (SELECT unnest(made)) THEN new_keys[-line.key]
            END
            FROM unnest(keys) WITH ORDINALITY AS line (key, number) ORDER BY line.number
        );
        -- Not EXISTS: a planner that knows nothing might take it for a join, and go through all that is kept.
        awaited := ARRAY(
            SELECT new.id FROM unnest(new_ids) AS new (id)
            WHERE (
                SELECT early.place FROM early_message AS early
                WHERE early.shard = in_shard AND early.id = new.id ORDER BY early.place LIMIT 1
            ) = 1
        );
        IF cardinality(awaited) > 0 THEN
            PERFORM move_early(in_shard, awaited);
        END IF;
    END IF;
    lost := append_rows(in_shard, keys, firsts, seqs, ats, afters, writers, formats, events, contents);
    -- A loop, and not one statement: a join with an array is planned by what the tables held when it was planned, which
    -- may have been nothing, and then compares everything with everything. By their keys rows are found in any case.
    FOR one IN
        SELECT * FROM unnest(
            stand_keys, stand_lasts, stand_writers, stand_takes, stand_statuses, stand_problems, stand_releases,
            stand_dues
        ) AS given (key, last, writer, takes, status, problem, release, due_at)
    LOOP
        IF one.last IS NULL THEN
            -- Not `=`: a planner that knows nothing of the table yet would look through all that the worker owns.
            PERFORM FROM workflow WHERE shard = in_shard AND key = one.key AND owner IS NOT DISTINCT FROM in_worker;
            -- It may have lost the workflow meanwhile, and own it again, by another claim.
            IF NOT FOUND OR one.writer <> (
                SELECT log.writer FROM log WHERE log.shard = in_shard AND log.workflow = one.key
                ORDER BY log.seq DESC LIMIT 1
            ) THEN
                lost := lost || one.key;
            END IF;
        END IF;
        CONTINUE WHEN one.key = ANY (lost);
        IF one.takes = 1 OR is_final(one.status) THEN
            DELETE FROM message
            WHERE shard = in_shard AND workflow = one.key AND (is_final(one.status) OR number = ANY (taken));
        END IF;
        CONTINUE WHEN one.status IS NULL;
        -- Rows behind those of the append: it was written long ago, its sender had given up on it and tried again, and
        -- the network has delivered it all the same. What it says of the workflow is not the last word any more.
        CONTINUE WHEN EXISTS (
            SELECT FROM log WHERE log.shard = in_shard AND log.workflow = one.key AND log.seq > one.last
        );
        -- A message may have come when the owner had already decided to let go: then the workflow is due at once.
        -- Without this it would sleep on, and the message with it. Not so a stuck one: it may be unable to take any
        -- message, and would be claimed and get stuck again for ever.
        UPDATE workflow SET status = one.status, problem = one.problem, updated_at = in_now,
            owner = CASE WHEN one.release = 0 THEN owner END,
            due_at = CASE
                WHEN one.status <> 'stuck'
                    AND EXISTS (SELECT FROM message WHERE message.shard = in_shard AND message.workflow = one.key)
                THEN 0 ELSE one.due_at
            END
        WHERE shard = in_shard AND key = one.key;
    END LOOP;
    IF cardinality(lost) > 0 THEN
        RETURN QUERY SELECT unnest(lost), NULL::boolean,
            NULL::integer, NULL::bigint, NULL, NULL::bigint, NULL, NULL, NULL, NULL, NULL, NULL::bigint, NULL,
            NULL::bigint, NULL::bigint, NULL::boolean, NULL::boolean;
    END IF;
    IF cardinality(post_keys) > 0 THEN
        RETURN QUERY SELECT DISTINCT NULL::bigint, NULL::boolean,
            NULL::integer, NULL::bigint, NULL, NULL::bigint, NULL, NULL, NULL, NULL, letter.owner, NULL::bigint, NULL,
            NULL::bigint, NULL::bigint, NULL::boolean, NULL::boolean
            FROM leave_messages(
                in_shard, ARRAY(
                    SELECT CASE WHEN given.sender <> ALL (lost) THEN given.receiver END
                    FROM unnest(post_froms, post_keys) WITH ORDINALITY AS given (sender, receiver, place) ORDER BY place
                ), post_kinds, post_bodies, post_onces, post_mosts
            ) AS letter WHERE letter.posted = 'left';
    END IF;
    IF cardinality(new_ids) > 0 THEN
        -- A creation that was written before, and whose answer was lost, is new all the same.
        RETURN QUERY SELECT NULL::bigint,
            found.key = new.key OR EXISTS (
                SELECT FROM log
                WHERE log.shard = in_shard AND log.workflow = found.key AND log.seq = new.last AND log.writer = new.writer
            ),
            found.shard, found.key, found.id, found.parent, found.name, found.version, found.digest, found.status,
            found.owner, found.due_at, found.problem, found.created_at, found.updated_at,
            EXISTS (SELECT FROM message WHERE message.shard = in_shard AND message.workflow = found.key),
            found.key <> new.key AND EXISTS (
                SELECT FROM log WHERE log.shard = in_shard AND log.workflow = found.key AND log.seq > new.last
            )
            FROM unnest(new_ids, new_keys, new_lasts, new_writers) AS new (id, key, last, writer)
            JOIN LATERAL (
                SELECT * FROM workflow WHERE workflow.shard = in_shard AND workflow.id = new.id
                LIMIT 1 -- there is no other; without it, a planner that knows nothing would go through all for each
            ) AS found ON TRUE;
    END IF;
END
$$;


-- Let the workflows of these workers go, and remove them.
CREATE FUNCTION remove_workers(in_shard integer, workers text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM worker WHERE worker.shard = in_shard AND worker.id = ANY (workers);
    PERFORM FROM workflow WHERE workflow.shard = in_shard AND workflow.owner = ANY (workers)
    ORDER BY workflow.key FOR UPDATE;
    UPDATE workflow SET owner = NULL WHERE workflow.shard = in_shard AND workflow.owner = ANY (workers);
END
$$;


-- Remove the dead, except those that somebody else is just removing, or that are just making a workflow; and except
-- `in_spared`, who asks: it keeps what it has until somebody else looks.
CREATE FUNCTION remove_dead(in_shard integer, in_now bigint, in_spared text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    clock bigint := lease_clock(in_now);
    dead text[] := ARRAY(
        SELECT id FROM worker
        WHERE shard = in_shard AND (expires_at <= clock OR is_out(beacon, lit_since)) AND id IS DISTINCT FROM in_spared
        ORDER BY id FOR UPDATE SKIP LOCKED
    );
BEGIN
    IF cardinality(dead) > 0 THEN
        PERFORM remove_workers(in_shard, dead);
    END IF;
END
$$;


-- Enter a worker with nothing in its hands; return whether that could be done. `again`: it has been here before.
-- What it has claimed up to `in_undone` is over.
CREATE FUNCTION enter_worker(
    in_shard integer, in_id text, in_duration bigint, in_now bigint, in_pid bigint, in_host text, in_beacon integer,
    in_lit_since bigint, in_undone bigint, again bigint
) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    IF again = 1 THEN
        PERFORM remove_workers(in_shard, ARRAY[in_id]);
    END IF;
    INSERT INTO worker (shard, id, expires_at, pid, host, beacon, lit_since, undone)
    VALUES (in_shard, in_id, lease_clock(in_now) + in_duration, in_pid, in_host, in_beacon, in_lit_since, in_undone)
    ON CONFLICT (shard, id) DO NOTHING;
    RETURN FOUND;
END
$$;


-- Extend a worker's lease, also one that has expired: while its row is there nobody has taken anything from it. Return
-- whether that was done.
CREATE FUNCTION renew_worker(in_shard integer, in_id text, in_duration bigint, in_now bigint) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    clock bigint := lease_clock(in_now);
BEGIN
    UPDATE worker SET expires_at = clock + in_duration WHERE shard = in_shard AND id = in_id;
    RETURN FOUND;
END
$$;


-- Take workflows over for a worker that lives: those in `in_keys`, or, where that is NULL, what is due of what the
-- worker has the functions for. Append `claimed` to each, and return them with their new writers.
--
-- A former owner's append may be under way: then the two collide, one of them is undone, and tries again.
CREATE FUNCTION claim_workflows(
    in_shard integer, in_worker text, in_claim bigint, in_now bigint, in_lease_now bigint, in_limit bigint,
    in_keys bigint[], names text[], version_names text[], versions text[], in_format bigint, in_event text
) RETURNS TABLE (key bigint, writer bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    clock bigint := lease_clock(in_lease_now);
    picked bigint[];
BEGIN
    PERFORM FROM worker
    WHERE shard = in_shard AND id = in_worker AND expires_at > clock AND undone < in_claim
    FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF in_keys IS NULL THEN
        picked := ARRAY(
            SELECT workflow.key FROM workflow
            WHERE shard = in_shard AND owner IS NULL AND due_at <= in_now AND (
                name = ANY (names) OR (name, version) IN (SELECT * FROM unnest(version_names, versions))
            )
            ORDER BY due_at, workflow.key LIMIT in_limit FOR UPDATE SKIP LOCKED
        );
    ELSE
        picked := ARRAY(
            SELECT workflow.key FROM workflow
            WHERE shard = in_shard AND workflow.key = ANY (in_keys) AND owner IS NULL AND NOT is_final(status)
            ORDER BY workflow.key LIMIT in_limit FOR UPDATE
        );
    END IF;
    IF cardinality(picked) = 0 THEN
        RETURN;
    END IF;
    INSERT INTO log (shard, workflow, seq, at, after, writer, format, event)
    SELECT in_shard, one.key, coalesce(last.seq, 0) + 1, greatest(in_now, last.at), 0,
        writer_of(in_claim, one.key), in_format, in_event
    FROM unnest(picked) AS one (key)
    LEFT JOIN LATERAL (
        SELECT log.seq, log.at FROM log WHERE log.shard = in_shard AND log.workflow = one.key
        ORDER BY log.seq DESC LIMIT 1
    ) AS last ON TRUE
    ORDER BY one.key;
    -- A cancelled workflow goes on being cancelled; everything else that is not final runs, also what was stuck.
    UPDATE workflow SET owner = in_worker, due_at = 0, problem = NULL, updated_at = in_now,
        status = CASE WHEN status = 'cancelling' THEN status ELSE 'running' END
    WHERE shard = in_shard AND workflow.key = ANY (picked);
    RETURN QUERY SELECT one.key, writer_of(in_claim, one.key) FROM unnest(picked) AS one (key);
END
$$;


-- Let go of what a claim took whose answer was lost, or whose logs could not be read: the worker does not know that it
-- owns them, and nobody else would claim them while it lives. The lock waits for the claim, should it still be running;
-- `undone` keeps it out, should it not have arrived yet: a worker's claims have ascending numbers.
--
-- It may be undone twice, by two who claim, or late, by a network; what the worker has claimed again meanwhile stays its
-- own. So the claim must be the last thing in the log: who knows nothing of it has appended nothing.
CREATE FUNCTION undo_claim(in_shard integer, in_worker text, in_claim bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    held bigint[];
BEGIN
    PERFORM FROM worker WHERE shard = in_shard AND id = in_worker FOR UPDATE;
    UPDATE worker SET undone = greatest(undone, in_claim) WHERE shard = in_shard AND id = in_worker;
    held := ARRAY(
        SELECT key FROM workflow
        WHERE shard = in_shard AND owner = in_worker AND writer_of(in_claim, key) = (
            SELECT log.writer FROM log WHERE log.shard = in_shard AND log.workflow = key ORDER BY log.seq DESC LIMIT 1
        )
        ORDER BY key FOR UPDATE
    );
    UPDATE workflow SET owner = NULL WHERE shard = in_shard AND key = ANY (held);
END
$$;


-- The members of families, by key: each root among these keys, and all that descend from it. Their ids begin with its
-- own and a slash; `0` is what comes behind the slash.
CREATE FUNCTION members_of(in_shard integer, roots bigint[]) RETURNS bigint[] LANGUAGE plpgsql STABLE AS $$
BEGIN
    RETURN ARRAY(
        SELECT member.key FROM workflow AS root
        CROSS JOIN LATERAL (
            SELECT root.key UNION ALL
            SELECT workflow.key FROM workflow
            WHERE workflow.shard = in_shard AND workflow.id > root.id || '/' AND workflow.id < root.id || '0'
        ) AS member
        WHERE root.shard = in_shard AND root.key = ANY (roots) AND root.parent IS NULL
        ORDER BY member.key
    );
END
$$;


-- Remove families in which all have ended. Return a line for each root that was there: how many were removed, or the id
-- of one that has not ended.
--
-- While one waits for the locks, children may be made, and others may remove the family; so who belongs to it is looked up
-- again when one has them. From then on nothing moves: who has the lock of its parent makes a child, and who has ended makes
-- none. Who appends rows and nothing else takes no lock; but behind an end its writer has none, and all others the fence
-- refuses.
CREATE FUNCTION delete_families(in_shard integer, roots bigint[])
RETURNS TABLE (root bigint, removed bigint, living text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    members bigint[] := members_of(in_shard, roots);
    doomed bigint[] := '{}';
    family bigint[];
BEGIN
    PERFORM FROM workflow WHERE workflow.shard = in_shard AND workflow.key = ANY (members)
    ORDER BY workflow.key FOR UPDATE;
    FOREACH root IN ARRAY roots LOOP
        family := members_of(in_shard, ARRAY[root]);
        CONTINUE WHEN cardinality(family) = 0;
        living := (
            SELECT workflow.id FROM workflow
            WHERE workflow.shard = in_shard AND workflow.key = ANY (family) AND NOT is_final(workflow.status)
            ORDER BY workflow.key LIMIT 1
        );
        removed := CASE WHEN living IS NULL THEN cardinality(family) ELSE 0 END;
        IF living IS NULL THEN
            doomed := doomed || family;
        END IF;
        RETURN NEXT;
    END LOOP;
    DELETE FROM message WHERE shard = in_shard AND workflow = ANY (doomed);
    DELETE FROM message_key WHERE shard = in_shard AND workflow = ANY (doomed);
    DELETE FROM transaction_key WHERE shard = in_shard AND workflow = ANY (doomed);
    DELETE FROM log WHERE shard = in_shard AND workflow = ANY (doomed);
    DELETE FROM workflow WHERE shard = in_shard AND key = ANY (doomed);
END
$$;


-- What `outbox` calls, on a connection of the application's, in its own transaction. That connection's settings
-- are not ours, so these functions bring their own; what they are is said at the end. `in_root` is a hash of the root's id,
-- of which the shard follows. A schema of which `in_known` is too old a version gets nothing: `needs` is then the oldest
-- that will do. Others are told in the same transaction, since nobody is there afterwards who could (see `_postgres/voice`
-- for what that costs). And nothing raises an error that the application could want to survive: it would undo its work.

-- Make a workflow that nobody owns. `fresh` says whether that was done; the rest is of whoever has the id.
CREATE FUNCTION outbox_create(
    in_known integer, in_root bigint, in_id text, in_name text, in_version text, in_digest text, in_at bigint,
    in_after bigint, in_writer bigint, in_format bigint, in_event text, in_value bytea
) RETURNS TABLE (needs integer, fresh boolean, name text, digest text, input bytea) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    in_shard integer;
    new_key bigint;
BEGIN
    SELECT oldest, in_root % shards INTO needs, in_shard FROM about;
    IF needs > in_known THEN
        RETURN NEXT;
        RETURN;
    END IF;
    new_key := key_of(nextval('workflow_key'), in_shard);
    LOOP
        INSERT INTO workflow (shard, key, id, name, version, digest, status, due_at, created_at, updated_at)
        VALUES (in_shard, new_key, in_id, in_name, in_version, in_digest, 'pending', 0, in_at, in_at)
        ON CONFLICT (id, shard) DO NOTHING;
        fresh := FOUND;
        IF fresh THEN
            PERFORM append_rows(
                in_shard, ARRAY[new_key], ARRAY[1::bigint], ARRAY[1::bigint], ARRAY[in_at], ARRAY[in_after],
                ARRAY[in_writer], ARRAY[in_format], ARRAY[in_event], ARRAY[in_value]
            );
            -- Where all is seen as it was when the transaction began, nothing is seen of what was kept since. So the first
            -- place is taken, for a moment: if it is taken already, unseen, that is a serialization failure.
            IF current_setting('transaction_isolation') <> 'read committed' THEN
                INSERT INTO early_message (shard, id, place, kind, body, at) VALUES (in_shard, in_id, 1, '', '', in_at)
                ON CONFLICT (shard, id, place) DO NOTHING;
                IF FOUND THEN
                    DELETE FROM early_message WHERE shard = in_shard AND id = in_id;
                END IF;
            END IF;
            PERFORM move_early(in_shard, ARRAY[in_id]);
            PERFORM pg_notify(current_schema(), 'due');
        END IF;
        RETURN QUERY SELECT needs, fresh, workflow.name, workflow.digest, log.value
            FROM workflow JOIN log ON log.shard = in_shard AND log.workflow = workflow.key AND log.seq = 1
            WHERE workflow.shard = in_shard AND workflow.id = in_id;
        EXIT WHEN FOUND; -- else who had the id was deleted in between
    END LOOP;
END
$$;


-- Leave a message. `posted` is what became of it, and `status` its receiver's; both are NULL if there is no receiver.
CREATE FUNCTION outbox_leave(
    in_known integer, in_root bigint, in_id text, in_kind text, in_body bytea, in_once text, in_most bigint
) RETURNS TABLE (needs integer, posted text, status text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    in_shard integer;
    receiver bigint;
    its_owner text;
BEGIN
    SELECT oldest, in_root % shards INTO needs, in_shard FROM about;
    IF needs <= in_known THEN
        SELECT workflow.key INTO receiver FROM workflow WHERE workflow.shard = in_shard AND workflow.id = in_id;
        SELECT letter.posted, letter.owner INTO posted, its_owner FROM leave_messages(
            in_shard, ARRAY[receiver], ARRAY[in_kind], ARRAY[in_body], ARRAY[in_once], ARRAY[in_most]
        ) AS letter;
        -- By now its row is locked, or its end is final.
        SELECT workflow.status INTO status FROM workflow WHERE workflow.shard = in_shard AND workflow.key = receiver;
        IF posted = 'left' THEN
            PERFORM pg_notify(current_schema(), coalesce(its_owner, 'due'));
        END IF;
    END IF;
    RETURN NEXT;
END
$$;


-- The store's schema first, and the planner's settings as for the store's connections (see `_postgres/session`), with plans
-- that Citus can make, too.
DO $$
DECLARE
    one text;
BEGIN
    FOREACH one IN ARRAY ARRAY['outbox_create', 'outbox_leave'] LOOP
        EXECUTE format('ALTER FUNCTION %I SET search_path = %I, pg_temp', one, current_schema());
        EXECUTE format('ALTER FUNCTION %I SET plan_cache_mode = auto', one);
        EXECUTE format('ALTER FUNCTION %I SET enable_seqscan = off', one);
        EXECUTE format('ALTER FUNCTION %I SET enable_hashjoin = off', one);
        EXECUTE format('ALTER FUNCTION %I SET enable_mergejoin = off', one);
    END LOOP;
END
$$;
