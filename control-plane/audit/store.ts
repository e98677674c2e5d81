import type { Queryable } from '../../platform/pg.ts';
import type { ChainedEntry } from './audit.ts';

export interface Head {
  seq: number;
  hash: string;
  /** The instant for the next entry, from the database's clock, in ISO 8601 with milliseconds. */
  now: string;
}

/** Locks the chain's end until the transaction is over. */
export async function lockHead(tx: Queryable): Promise<Head> {
  const { rows } = await tx.query<{ seq: string; hash: string; now: Date }>(
    'SELECT seq, hash, clock_timestamp() AS now FROM audit_head FOR UPDATE',
  );
  const row = rows[0];
  if (row === undefined) throw new Error('audit_head has no row');
  return { seq: Number(row.seq), hash: row.hash, now: row.now.toISOString() };
}

/** Writes the entry and moves the chain's end to it. The end must be locked: see lockHead. */
export async function appendEntries(tx: Queryable, entry: ChainedEntry): Promise<void> {
  await tx.query(
    `WITH written AS (
       INSERT INTO audit_log (seq, at, actor, actor_role, action, resource, region, before, after, reason,
                              request_id, prev_hash, hash)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9::jsonb, $10, $11, $12, $13))
     UPDATE audit_head SET seq = $1, hash = $13`,
    [
      entry.seq,
      entry.at,
      entry.actor,
      entry.actorRole,
      entry.action,
      entry.resource,
      entry.region,
      JSON.stringify(entry.before),
      JSON.stringify(entry.after),
      entry.reason,
      entry.requestId,
      entry.prevHash,
      entry.hash,
    ],
  );
}

interface AuditRow {
  seq: string;
  at: Date;
  actor: string;
  actor_role: string;
  action: string;
  resource: string;
  region: string | null;
  before: unknown;
  after: unknown;
  reason: string | null;
  request_id: string | null;
  prev_hash: string;
  hash: string;
}

function fromRow(row: AuditRow): ChainedEntry {
  return {
    seq: Number(row.seq),
    at: row.at.toISOString(),
    actor: row.actor,
    actorRole: row.actor_role,
    action: row.action,
    resource: row.resource,
    region: row.region,
    before: row.before,
    after: row.after,
    reason: row.reason,
    requestId: row.request_id,
    prevHash: row.prev_hash,
    hash: row.hash,
  };
}

/** Entries after `seq` in chain order. */
export async function readChain(db: Queryable, after: number, limit: number): Promise<ChainedEntry[]> {
  const { rows } = await db.query<AuditRow>('SELECT * FROM audit_log WHERE seq > $1 ORDER BY seq LIMIT $2', [
    after,
    limit,
  ]);
  return rows.map(fromRow);
}

/** The chain's end, without holding it. */
export async function readHead(db: Queryable): Promise<{ seq: number; hash: string }> {
  const { rows } = await db.query<{ seq: string; hash: string }>('SELECT seq, hash FROM audit_head');
  const row = rows[0];
  if (row === undefined) throw new Error('audit_head has no row');
  return { seq: Number(row.seq), hash: row.hash };
}

export interface AuditQuery {
  resource?: string | undefined;
  actor?: string | undefined;
  action?: string | undefined;
  /** Regions the reader may see; null = all, entries without a region included. */
  regions: string[] | null;
  /** Newest first: entries older than this one. */
  before?: number | undefined;
  limit: number;
}

/** Newest first. */
export async function listEntries(db: Queryable, query: AuditQuery): Promise<ChainedEntry[]> {
  const { rows } = await db.query<AuditRow>(
    `SELECT * FROM audit_log
      WHERE ($1::text IS NULL OR resource = $1) AND ($2::text IS NULL OR actor = $2)
        AND ($3::text IS NULL OR action = $3) AND ($4::text[] IS NULL OR region = ANY ($4))
        AND ($5::bigint IS NULL OR seq < $5)
      ORDER BY seq DESC LIMIT $6`,
    [
      query.resource ?? null,
      query.actor ?? null,
      query.action ?? null,
      query.regions,
      query.before ?? null,
      query.limit,
    ],
  );
  return rows.map(fromRow);
}
