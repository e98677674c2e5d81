import type { Queryable } from '../../platform/pg.ts';
import type { WrappedKey } from './key-store.ts';

/** Which master key the registry is used with: a row of the table `settings`. */
export interface MasterKeyState {
  /** The id of the key that new data keys are wrapped under. */
  keyId: string;
  /** While it is rotated: the id of the one before. */
  from: string | null;
  /** The id of the key that was made to come next, and that the next rotation uses; never the key itself. */
  prepared: string | null;
}

const NAME = 'master-key';

/** Held until the transaction ends, against whoever rotates it. Undefined: none was noted yet. */
export async function holdMasterKey(db: Queryable): Promise<MasterKeyState | undefined> {
  const { rows } = await db.query<{ value: Omit<MasterKeyState, 'prepared'> & Partial<MasterKeyState> }>(
    'SELECT value FROM settings WHERE key = $1 FOR SHARE',
    [NAME],
  );
  // A row that an older release wrote names none.
  return rows[0] && { prepared: null, ...rows[0].value };
}

/** Harmless when one is noted. */
export async function noteMasterKey(db: Queryable, keyId: string): Promise<void> {
  await db.query('INSERT INTO settings (key, value) VALUES ($1, $2) ON CONFLICT (key) DO NOTHING', [
    NAME,
    JSON.stringify({ keyId, from: null, prepared: null } satisfies MasterKeyState),
  ]);
}

/** Waits for everybody who wraps a data key just now. */
export async function changeMasterKey(tx: Queryable, state: MasterKeyState): Promise<void> {
  await tx.query('UPDATE settings SET value = $2, updated_at = now() WHERE key = $1', [
    NAME,
    JSON.stringify(state),
  ]);
}

/** 'FLT2', its algorithm, then 16 bytes of key id (platform/sealing.ts); the first format has none, and is no other's. */
const KEY_ID = "encode(substring(wrapped FROM 6 FOR 16), 'hex')";
const OTHERS = `NOT (substring(wrapped FROM 1 FOR 4) = 'FLT2' AND ${KEY_ID} = $1)`;

/** Data keys that are wrapped under another master key. */
export async function countOthers(db: Queryable, keyId: string): Promise<number> {
  const { rows } = await db.query<{ count: number }>(
    `SELECT count(*)::int AS count FROM data_keys WHERE ${OTHERS}`,
    [keyId],
  );
  return rows[0]?.count ?? 0;
}

/** Some of them, locked until the transaction ends. */
export async function lockOthers(tx: Queryable, keyId: string, limit: number): Promise<WrappedKey[]> {
  const { rows } = await tx.query<WrappedKey>(
    `SELECT owner, wrapped FROM data_keys WHERE ${OTHERS} ORDER BY owner LIMIT $2 FOR UPDATE`,
    [keyId, limit],
  );
  return rows;
}

/** Replaces the wrapping of data keys that are locked; what was sealed under them is not touched. */
export async function saveWrapped(tx: Queryable, keys: WrappedKey[]): Promise<void> {
  await tx.query(
    `UPDATE data_keys k SET wrapped = n.wrapped
       FROM unnest($1::text[], $2::bytea[]) AS n (owner, wrapped) WHERE k.owner = n.owner`,
    [keys.map(({ owner }) => owner), keys.map(({ wrapped }) => wrapped)],
  );
}

/** The region that was made first; undefined when there is none. */
export async function firstRegion(db: Queryable): Promise<string | undefined> {
  const { rows } = await db.query<{ name: string }>(
    'SELECT name FROM regions ORDER BY created_at, name LIMIT 1',
  );
  return rows[0]?.name;
}
