import { randomBytes } from 'node:crypto';
import { open, seal, TamperedError } from '../../../platform/crypto.ts';
import { FleetError } from '../../../platform/errors.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { findDataKey, insertDataKey, putSealed, readSealed, type SealedRow } from '../store.ts';

/**
 * The `local` secret store: two layers of AES-256-GCM in the registry.
 *
 *   master key (0600 file) ──wraps──▶ data key of one owner ──seals──▶ value of one version
 *
 * Each layer is bound to what it belongs to, so that a row copied to another owner, subject or version does
 * not open. Destroying the data key's row makes all values of the owner unreadable for good.
 */
export interface ValueStore {
  put(tx: Queryable, place: SealedPlace, value: string): Promise<void>;
  /** Values by version id; versions without a value are missing. @throws FleetError `secret_tampered` */
  get(db: Queryable, versionIds: string[]): Promise<Map<string, string>>;
}

/** What a sealed value is bound to. */
export interface SealedPlace {
  versionId: string;
  owner: string;
  subject: string;
}

const KEY_BYTES = 32;

/** Keeps values in the registry, sealed with their owner's data key, which the master key wraps. */
export function localStore(masterKey: Buffer): ValueStore {
  return {
    put: async (tx, place, value) => {
      const dataKey = await ensureDataKey(tx, masterKey, place.owner);
      await putSealed(tx, place.versionId, seal(dataKey, Buffer.from(value, 'utf8'), boundTo(place)));
    },
    get: async (db, versionIds) => {
      const rows = await readSealed(db, versionIds);
      return new Map(rows.map((row) => [row.versionId, unseal(masterKey, row)]));
    },
  };
}

async function ensureDataKey(tx: Queryable, masterKey: Buffer, owner: string): Promise<Buffer> {
  const wrapped =
    (await findDataKey(tx, owner)) ??
    (await insertDataKey(tx, owner, seal(masterKey, randomBytes(KEY_BYTES), keyOf(owner)))) ??
    // Another transaction has made it between the two statements.
    (await findDataKey(tx, owner));
  if (wrapped === undefined) throw new Error(`the data key of ${owner} vanished`);
  return refusing(owner, () => open(masterKey, wrapped, keyOf(owner)));
}

function unseal(masterKey: Buffer, row: SealedRow): string {
  return refusing(row.owner, () => {
    const dataKey = open(masterKey, row.wrapped, keyOf(row.owner));
    return open(dataKey, row.sealed, boundTo(row)).toString('utf8');
  });
}

function keyOf(owner: string): string[] {
  return ['data-key', owner];
}

function boundTo(place: SealedPlace): string[] {
  return ['value', place.owner, place.subject, place.versionId];
}

function refusing<T>(owner: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof TamperedError)) throw error;
    throw new FleetError({
      code: 'secret_tampered',
      status: 500,
      message: `a stored credential of ${owner} does not open: another master key, or the row was changed`,
      fix: 'check that master.key is the one this registry was used with; otherwise restore the registry',
      cause: error,
    });
  }
}
