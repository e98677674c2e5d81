import type { Queryable } from '../../../platform/pg.ts';
import type { Caller } from '../../access/caller.ts';
import { targetAfter, targetSources } from '../rollout.ts';

/** SQL of undoing: what a rollout has changed, and the rollout that takes it back. */
export interface ChangedTarget {
  databaseId: string;
  slug: string;
  tenantState: string;
  /** Names of the migrations that it got from the rollout, in order. */
  migrations: string[];
  /** The last migration that it has by the registry, and its place on the list; 0 for none. */
  schemaVersion: string | null;
  ordinal: number;
}

/**
 * Which of a rollout's targets have, or may have, migrations from it: all that were begun, but for those that have failed
 * in their first try with nothing applied. Of others the registry cannot know: a server was lost, an owner died, and who
 * was to ask next left it behind or was stopped by an abort. Their databases have the last word. Deleted tenants have none.
 */
const CHANGED = `
  FROM rollout_targets t
  JOIN databases d ON d.id = t.database_id AND d.state = 'ready'
  JOIN tenants n ON n.id = t.tenant_id AND n.state NOT IN ('offboarding', 'deleted')
  LEFT JOIN migrations has ON has.name = d.schema_version
  JOIN migrations first ON first.name = t.missing ->> 0
 WHERE t.rollout_id = $1 AND t.tries > 0 AND t.state <> 'undone'
   AND (t.state <> 'failed' OR t.tries > 1
        OR jsonb_array_length(coalesce(t.applied, '[]')) > 0
        OR coalesce(has.ordinal, 0) >= first.ordinal)`;

/**
 * Targets in which a migration of the rollout is half applied, as far as the registry knows: it can neither stay nor be
 * taken back. What went on to its end since does not count.
 */
export async function halfAppliedTargets(
  db: Queryable,
  rolloutId: string,
): Promise<Pick<ChangedTarget, 'slug' | 'schemaVersion'>[]> {
  const { rows } = await db.query<Pick<ChangedTarget, 'slug' | 'schemaVersion'>>(
    `SELECT n.slug, d.schema_version AS "schemaVersion"
       FROM rollout_targets t
       JOIN databases d ON d.id = t.database_id AND d.state = 'ready'
       JOIN tenants n ON n.id = t.tenant_id AND n.state NOT IN ('offboarding', 'deleted')
       JOIN migrations half ON half.name = t.half_applied
       LEFT JOIN migrations has ON has.name = d.schema_version
      WHERE t.rollout_id = $1 AND coalesce(has.ordinal, 0) < half.ordinal
      ORDER BY t.wave, t.ordinal`,
    [rolloutId],
  );
  return rows;
}

/** In the order of the plan. */
export async function changedTargets(db: Queryable, rolloutId: string): Promise<ChangedTarget[]> {
  const { rows } = await db.query<ChangedTarget>(
    `SELECT t.database_id AS "databaseId", n.slug, n.state AS "tenantState", t.missing AS migrations,
            d.schema_version AS "schemaVersion", coalesce(has.ordinal, 0) AS ordinal
       ${CHANGED} ORDER BY t.wave, t.ordinal`,
    [rolloutId],
  );
  return rows;
}

/**
 * Stores the plan of the undo: the waves of the rollout from the last to the first, each after those that came after
 * it, with their targets from the last to the first. It has no windows, and needs no approval: it takes back what was
 * approved.
 */
export async function insertUndo(
  db: Queryable,
  undo: { id: string; of: string; author: Caller },
): Promise<void> {
  await db.query(
    `INSERT INTO rollouts (id, release, state, spec, author, author_id, undo_of)
     SELECT $2, release, 'planned', spec - 'calendar' || '{"approve": false}', $3, $4, id FROM rollouts WHERE id = $1`,
    [undo.of, undo.id, undo.author.name, undo.author.principalId],
  );
  await db.query(
    `INSERT INTO rollout_waves (rollout_id, ordinal, name, state, parallel, per_server, budget, regions, gates, depends_on)
     SELECT $2, last.ordinal - w.ordinal, w.name, 'pending', w.parallel, w.per_server, w.budget, w.regions, w.gates,
            ARRAY(SELECT last.ordinal - after.ordinal FROM rollout_waves after
                   WHERE after.rollout_id = $1 AND w.ordinal = ANY (after.depends_on) ORDER BY 1)
       FROM rollout_waves w, (SELECT max(ordinal) AS ordinal FROM rollout_waves WHERE rollout_id = $1) AS last
      WHERE w.rollout_id = $1`,
    [undo.of, undo.id],
  );
  await db.query(
    `INSERT INTO rollout_targets (rollout_id, tenant_id, database_id, server_id, wave, ordinal, state, missing)
     SELECT $2, t.tenant_id, t.database_id, d.server_id,
            (SELECT max(ordinal) FROM rollout_waves WHERE rollout_id = $1) - t.wave,
            row_number() OVER (ORDER BY t.wave DESC, t.ordinal DESC), 'pending',
            (SELECT jsonb_agg(m.name ORDER BY m.place DESC)
               FROM jsonb_array_elements_text(t.missing) WITH ORDINALITY AS m (name, place))
       ${CHANGED}`,
    [undo.of, undo.id],
  );
}

/** By database, the migration that it had before the rollout which `undoId` takes back; null for none. */
export async function undoGoals(db: Queryable, undoId: string): Promise<Map<string, string | null>> {
  const { rows } = await db.query<{ databaseId: string; downTo: string | null }>(
    `SELECT t.database_id AS "databaseId", before.name AS "downTo"
       FROM rollout_targets t
       JOIN migrations first ON first.name = t.missing ->> -1
       LEFT JOIN migrations before ON before.ordinal = first.ordinal - 1
      WHERE t.rollout_id = $1`,
    [undoId],
  );
  return new Map(rows.map((row) => [row.databaseId, row.downTo]));
}

/** The undo of the rollout that is not over, if there is one. */
export async function findOpenUndo(db: Queryable, rolloutId: string): Promise<string | undefined> {
  const { rows } = await db.query<{ id: string }>(
    `SELECT id FROM rollouts WHERE undo_of = $1 AND finished_at IS NULL`,
    [rolloutId],
  );
  return rows[0]?.id;
}

/** What the undo has taken back is undone in the rollout that it belongs to. */
export async function markUndone(db: Queryable, undo: { id: string; of: string }): Promise<void> {
  await db.query(
    `UPDATE rollout_targets t SET state = $4
       FROM rollout_targets back
      WHERE t.rollout_id = $2 AND back.rollout_id = $1 AND back.database_id = t.database_id
        AND back.state = 'verified' AND t.state = ANY ($3)`,
    [undo.id, undo.of, targetSources('undo'), targetAfter('undo')],
  );
}

/** Notes what new tenants are born at until now. In the transaction that changes it. */
export async function rememberPreviousRelease(db: Queryable, rolloutId: string): Promise<void> {
  await db.query(
    `UPDATE rollouts SET previous_release = (SELECT value ->> 'name' FROM settings WHERE key = 'current_release')
      WHERE id = $1`,
    [rolloutId],
  );
}

/**
 * What new tenants were born at before the rollout succeeded; where that was not noted, the newest release that its
 * targets had whole. Null when there was none.
 */
export async function previousRelease(db: Queryable, rolloutId: string): Promise<string | null> {
  const { rows } = await db.query<{ name: string | null }>(
    `SELECT coalesce(r.previous_release, (
              SELECT b.name FROM releases b
               WHERE b.head_ordinal < (SELECT min(m.ordinal) FROM rollout_targets t
                                         JOIN migrations m ON m.name = t.missing ->> 0 WHERE t.rollout_id = r.id)
               ORDER BY b.head_ordinal DESC LIMIT 1)) AS name
       FROM rollouts r WHERE r.id = $1`,
    [rolloutId],
  );
  return rows[0]?.name ?? null;
}
