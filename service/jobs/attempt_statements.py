"""The statements that begin, end and put back attempts at fits, each at any number of them in one round trip.

Rows of `fit` are locked before their jobs are touched, or together with them: whoever cancels, recovers or deletes a
fit begins with its row too, so that nobody waits for each other. All of them tell of the change on `channel`.
"""

from service.jobs.brought_rows import BroughtRows
from service.jobs.ends import END_TYPES
from service.jobs.queue import DEFERRED, QUEUE
from service.jobs.trajectories import PART_COLUMNS

#: Attempts in hand, by which they are told from others.
FENCE_TYPES = {"id": "uuid", "attempt": "int", "job_id": "bigint"}
PART_TYPES = {
    "id": "uuid",
    "ordinal": "int",
    "account": "bytea",
    "rows": "bigint",
    "first_step": "bigint",
    "last_step": "bigint",
    "body": "bytea",
}

#: Jobs at the front of the queue that are looked at for small fits to take along.
_FRONT = 128


#: What a statement brings along: attempts, ends of some, and the last parts of what these recorded.
HAND = BroughtRows("hand", FENCE_TYPES)
ENDS = BroughtRows("finish", {"id": "uuid"} | END_TYPES)
LAST_PARTS = BroughtRows("part", PART_TYPES)

_MINE = "fit.attempt = hand.attempt AND fit.job_id = hand.job_id AND fit.status = ANY(%(sources)s)"

# Small fits are taken along from where the queue goes on, at their first attempt only: one that brought a process down
# is alone at its next. Jobs or fits that somebody else holds are left to them. The sum of bytes ends what is taken.
BEGIN = f"""
WITH own AS MATERIALIZED (
    SELECT id, job_id, is_tiny AND attempt = 0 AS has_company FROM fit
    WHERE id = %(id)s AND job_id = %(job_id)s AND status = ANY(%(sources)s) AND attempt < %(most)s
        AND cancel_requested_at IS NULL
    FOR UPDATE
), front AS MATERIALIZED (
    SELECT id, args FROM procrastinate_jobs
    WHERE status = 'todo' AND queue_name = '{QUEUE}' AND %(company)s > 0 AND (SELECT has_company FROM own)
    ORDER BY priority DESC, id LIMIT {_FRONT}
), company AS MATERIALIZED (
    SELECT fit.id, job.id AS job_id, job.priority, octet_length(dataset.body) AS size
    FROM front JOIN procrastinate_jobs job ON job.id = front.id AND job.status = 'todo'
    JOIN fit ON fit.id = (front.args->>'fit_id')::uuid AND fit.job_id = front.id
    JOIN dataset ON dataset.id = fit.dataset_id AND dataset.body IS NOT NULL
    WHERE fit.is_tiny AND fit.attempt = 0 AND fit.status = 'queued' AND fit.cancel_requested_at IS NULL
    ORDER BY job.priority DESC, job.id LIMIT %(company)s
    FOR UPDATE OF job, fit SKIP LOCKED
), taken AS (
    SELECT id, job_id, number FROM (
        SELECT *, row_number() OVER queue AS number, sum(size) OVER queue AS total FROM company
        WINDOW queue AS (ORDER BY priority DESC, job_id)
    ) AS counted
    WHERE total <= %(bytes)s
), claimed AS (
    UPDATE procrastinate_jobs SET status = 'doing',
        worker_id = (SELECT id FROM procrastinate_workers WHERE id = %(worker_id)s)
    FROM taken WHERE procrastinate_jobs.id = taken.job_id
), begun AS (
    UPDATE fit SET status = 'running', attempt = attempt + 1, version = version + 1, progress = NULL,
        started_at = coalesce(started_at, now())
    FROM (SELECT id, 0 AS number FROM own UNION ALL SELECT id, number FROM taken) AS chosen
    WHERE fit.id = chosen.id
    RETURNING fit.id, attempt, job_id, dataset_id, task::text AS task, start_state, number
), parts AS (
    DELETE FROM trajectory_block USING begun WHERE fit_id = begun.id
), glimpses AS (
    DELETE FROM trajectory_glimpse USING begun WHERE fit_id = begun.id
)
SELECT begun.id AS fit_id, attempt AS number, job_id, dataset_id, task, start_state, columns, rows, body,
    pg_notify(%(channel)s, begun.id::text)
FROM begun JOIN dataset ON dataset.id = dataset_id
ORDER BY begun.number
"""

#: What becomes of a job that came to nothing: its fit is finished, used up or has another job, or is to be cancelled.
DISMISS = """
WITH cancelled AS (
    UPDATE fit SET status = 'cancelled', version = version + 1, digest = NULL, finished_at = now()
    WHERE id = %(id)s AND job_id = %(job_id)s AND status = ANY(%(sources)s) AND cancel_requested_at IS NOT NULL
    RETURNING id
), gone AS (
    DELETE FROM procrastinate_jobs WHERE id = %(job_id)s
)
SELECT pg_notify(%(channel)s, id::text) FROM cancelled
"""

# The job goes with the end of its fit. What was written down of one that failed goes too; of one that had to be killed
# it stays, glimpses and all, as there will be no more of it.
FINISH = f"""
WITH changed AS (
    UPDATE fit SET status = finish.status, version = version + 1, result = finish.result::json,
        progress = coalesce(finish.progress::json, fit.progress), error = finish.error::json,
        end_state = finish.end_state, digest = CASE WHEN is_repeatable THEN digest END, finished_at = now()
    FROM {HAND.many} JOIN {ENDS.many} USING (id)
    WHERE fit.id = hand.id AND {_MINE}
    RETURNING fit.id, fit.job_id, fit.status, fit.result IS NULL AS is_empty
), jobs AS (
    DELETE FROM procrastinate_jobs USING changed WHERE procrastinate_jobs.id = changed.job_id
), parts AS (
    DELETE FROM trajectory_block USING changed WHERE fit_id = changed.id AND changed.status = 'failed'
), glimpses AS (
    DELETE FROM trajectory_glimpse USING changed
    WHERE fit_id = changed.id AND NOT (changed.status = 'cancelled' AND is_empty)
), last_parts AS (
    INSERT INTO trajectory_block (fit_id, {", ".join(PART_COLUMNS)})
    SELECT {", ".join(f"part.{name}" for name in PART_TYPES)} FROM {LAST_PARTS.many} JOIN changed USING (id)
)
SELECT id, pg_notify(%(channel)s, id::text) FROM changed
"""

# A fit that is to be cancelled does not go back: nobody would begin it.
RELEASE = f"""
WITH held AS MATERIALIZED (
    SELECT fit.id, fit.job_id, priority, cancel_requested_at IS NOT NULL AS is_over
    FROM fit JOIN {HAND.many} ON fit.id = hand.id AND {_MINE}
    FOR UPDATE OF fit
), mine AS (
    SELECT *, row_number() OVER (PARTITION BY is_over ORDER BY job_id) AS number FROM held
), deferred AS (
    SELECT {DEFERRED} AS ids FROM mine WHERE NOT is_over
), changed AS (
    UPDATE fit SET status = CASE WHEN is_over THEN 'cancelled' ELSE 'queued' END, version = version + 1,
        attempt = CASE WHEN is_over THEN attempt ELSE attempt - 1 END,
        progress = CASE WHEN is_over THEN progress END,
        digest = CASE WHEN NOT is_over THEN digest END,
        job_id = new.job_id,
        finished_at = CASE WHEN is_over THEN now() END
    FROM mine LEFT JOIN (
        SELECT job.* FROM deferred, unnest(ids) WITH ORDINALITY AS job (job_id, number)
    ) AS new ON new.number = mine.number AND NOT is_over
    WHERE fit.id = mine.id
    RETURNING fit.id
), glimpses AS (
    DELETE FROM trajectory_glimpse USING mine WHERE fit_id = mine.id AND NOT is_over
), gone AS (
    DELETE FROM procrastinate_jobs USING mine WHERE procrastinate_jobs.id = mine.job_id
)
SELECT id, pg_notify(%(channel)s, id::text) FROM changed
"""
