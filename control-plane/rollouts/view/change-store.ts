import type { RolloutState, WaveState } from '../../../contract/rollout.ts';
import type { Queryable } from '../../../platform/pg.ts';
import type { StoredCause } from '../cause.ts';

/** SQL of `rollout_changes`, which triggers write. */
export interface ChangeRow {
  id: string;
  at: Date;
  /** Null: the rollout itself. */
  wave: string | null;
  from: RolloutState | WaveState;
  to: RolloutState | WaveState;
  cause: StoredCause | null;
}

const CHANGE_SQL = `
  SELECT c.id::text, c.at, w.name AS wave, c.was AS "from", c.state AS "to", c.cause
    FROM rollout_changes c
    LEFT JOIN rollout_waves w ON w.rollout_id = c.rollout_id AND w.ordinal = c.wave`;

/** Changes after the one of this number, in their order: a few for each wave. */
export async function changesAfter(db: Queryable, rolloutId: string, after: string): Promise<ChangeRow[]> {
  const { rows } = await db.query<ChangeRow>(
    `${CHANGE_SQL} WHERE c.rollout_id = $1 AND c.id > $2 ORDER BY c.id`,
    [rolloutId, after],
  );
  return rows;
}

/** The last changes of waves, newest first. */
export async function lastWaveChanges(db: Queryable, rolloutId: string, limit: number): Promise<ChangeRow[]> {
  const { rows } = await db.query<ChangeRow>(
    `${CHANGE_SQL} WHERE c.rollout_id = $1 AND c.wave IS NOT NULL ORDER BY c.id DESC LIMIT $2`,
    [rolloutId, limit],
  );
  return rows;
}
