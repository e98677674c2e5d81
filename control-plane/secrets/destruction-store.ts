import type { Queryable } from '../../platform/pg.ts';
import type { DestructionState } from './destruction.ts';

/** All SQL of the table `owner_destructions`. */

export interface NewDestruction {
  owner: string;
  region: string;
  name: string | null;
  retentionDays: number;
}

export interface Destruction extends NewDestruction {
  state: DestructionState;
  requestedAt: Date;
  /** When the key is gone for good: what the store has said, until then what follows from the retention. */
  goneAt: Date;
  destroyedAt: Date | null;
}

const GONE_AT = 'coalesce(key_gone_at, requested_at + make_interval(days => retention_days))';
const COLUMNS = `owner, region, name, retention_days AS "retentionDays", state, requested_at AS "requestedAt",
  ${GONE_AT} AS "goneAt", destroyed_at AS "destroyedAt"`;

export async function insertDestruction(tx: Queryable, wanted: NewDestruction): Promise<void> {
  await tx.query(
    `INSERT INTO owner_destructions (owner, region, name, retention_days) VALUES ($1, $2, $3, $4)
     ON CONFLICT (owner) DO NOTHING`,
    [wanted.owner, wanted.region, wanted.name, wanted.retentionDays],
  );
}

export async function findDestruction(db: Queryable, owner: string): Promise<Destruction | undefined> {
  const { rows } = await db.query<Destruction>(`SELECT ${COLUMNS} FROM owner_destructions WHERE owner = $1`, [
    owner,
  ]);
  return rows[0];
}

/** Like findDestruction, holding the row until the transaction ends: two never tell the store different things. */
export async function lockDestruction(tx: Queryable, owner: string): Promise<Destruction | undefined> {
  const { rows } = await tx.query<Destruction>(
    `SELECT ${COLUMNS} FROM owner_destructions WHERE owner = $1 FOR UPDATE`,
    [owner],
  );
  return rows[0];
}

/** Moves a row that is locked. A retention that begins anew has another end. */
export async function moveDestruction(
  tx: Queryable,
  owner: string,
  { from, to, goneAt }: { from: DestructionState; to: DestructionState; goneAt: Date | undefined },
): Promise<void> {
  await tx.query(
    `UPDATE owner_destructions
        SET state = $3,
            requested_at = CASE WHEN $3 = 'requested' THEN now() ELSE requested_at END,
            key_gone_at = CASE WHEN $3 = 'requested' THEN NULL ELSE coalesce($4, key_gone_at) END,
            destroyed_at = CASE WHEN $3 = 'destroyed' THEN now() END
      WHERE owner = $1 AND state = $2`,
    [owner, from, to, goneAt ?? null],
  );
}

/** Owners of whose key the store has to be told something, the longest waiting first. */
export async function findUntold(db: Queryable, limit: number): Promise<string[]> {
  const { rows } = await db.query<{ owner: string }>(
    `SELECT owner FROM owner_destructions WHERE state IN ('requested', 'keeping')
      ORDER BY requested_at LIMIT $1`,
    [limit],
  );
  return rows.map((row) => row.owner);
}

/** Owners whose key's retention is over. */
export async function findDue(db: Queryable, limit: number): Promise<string[]> {
  const { rows } = await db.query<{ owner: string }>(
    `SELECT owner FROM owner_destructions WHERE state = 'scheduled' AND key_gone_at <= now()
      ORDER BY key_gone_at LIMIT $1`,
    [limit],
  );
  return rows.map((row) => row.owner);
}
