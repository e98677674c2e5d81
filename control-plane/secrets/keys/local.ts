import { randomBytes } from 'node:crypto';
import type { Queryable } from '../../../platform/pg.ts';
import { open, openWithAny, seal } from '../../../platform/sealing.ts';
import {
  clearDestroyAt,
  deleteDueKey,
  findDataKeys,
  insertDataKey,
  setDestroyAt,
  type DataKeyRow,
  type WrappedKey,
} from '../key-store.ts';
import { holdMasterKey } from '../master-key-store.ts';
import { keyMissing, keyPendingDestruction, refusing } from '../refusals.ts';
import { bindingOf, type KeyService, type SealedValue, type SecretPlace } from './key-service.ts';
import { keysOf, requireKey, type MasterKey } from './master-key.ts';

/** AES-256. */
const KEY_BYTES = 32;

/**
 * Keys in the registry, two layers of AES-256-GCM.
 *
 *   master key (0600 file) ──wraps──▶ data key of one owner ──seals──▶ value of one version
 *
 * Each layer is bound to what it belongs to, so that a row copied to another owner, subject or version does
 * not open. Deleting the data key's row makes all values of the owner unreadable for good.
 */
export function localKeys(masterKey: MasterKey): KeyService {
  return {
    seal: async (db, place, value) => {
      const dataKey = unwrap(masterKey, await ensureDataKey(db, masterKey, place.owner));
      return seal(dataKey, Buffer.from(value, 'utf8'), boundTo(place));
    },
    open: (db, values) => openAll(db, masterKey, values),
    scheduleDestruction: (db, { owner }, days) => setDestroyAt(db, owner, days),
    cancelDestruction: async (db, { owner }) => {
      if (!(await clearDestroyAt(db, owner))) throw keyMissing(owner);
    },
    endDestruction: async (db, { owner }) => {
      await deleteDueKey(db, owner);
      return (await findDataKeys(db, [owner])).length === 0;
    },
  };
}

async function openAll(
  db: Queryable,
  masterKey: MasterKey,
  values: SealedValue[],
): Promise<Map<string, string>> {
  const rows = await findDataKeys(db, [...new Set(values.map(({ place }) => place.owner))]);
  const dataKeys = new Map(rows.map((row) => [row.owner, unwrap(masterKey, row)]));
  return new Map(
    values.map(({ place, sealed }) => {
      const dataKey = dataKeys.get(place.owner);
      if (dataKey === undefined) throw keyMissing(place.owner);
      const plain = refusing('value', `a stored credential of ${place.owner}`, () =>
        open(dataKey, sealed, boundTo(place)),
      );
      return [place.versionId, plain.toString('utf8')];
    }),
  );
}

async function ensureDataKey(db: Queryable, masterKey: MasterKey, owner: string): Promise<DataKeyRow> {
  const find = async () => (await findDataKeys(db, [owner]))[0];
  const row =
    (await find()) ??
    (await insertDataKey(
      db,
      owner,
      seal(await wrappingKey(db, masterKey), randomBytes(KEY_BYTES), keyOf(owner)),
    )) ??
    // Another transaction has made it between the two statements.
    (await find());
  if (row === undefined) throw new Error(`the data key of ${owner} vanished`);
  return row;
}

/**
 * The data key as it is wrapped under `next`, by whichever master key it was before.
 * @throws FleetError `wrong_master_key`, `secret_tampered`, `secret_swapped`
 */
export function rewrap(masterKey: MasterKey, next: Buffer, { owner, wrapped }: WrappedKey): Buffer {
  const plain = refusing('key', `the data key of ${owner}`, () =>
    openWithAny(keysOf(masterKey), wrapped, keyOf(owner)),
  );
  return seal(next, plain, keyOf(owner));
}

/** Held against a rotation until the transaction ends: after it no data key is wrapped under the key of before. */
async function wrappingKey(db: Queryable, masterKey: MasterKey): Promise<Buffer> {
  const state = await holdMasterKey(db);
  return requireKey(masterKey, state?.keyId);
}

function unwrap(masterKey: MasterKey, { owner, wrapped, destroyAt }: DataKeyRow): Buffer {
  if (destroyAt !== null) throw keyPendingDestruction(owner, destroyAt);
  return refusing('key', `the data key of ${owner}`, () =>
    openWithAny(keysOf(masterKey), wrapped, keyOf(owner)),
  );
}

function keyOf(owner: string): string[] {
  return ['data-key', owner];
}

function boundTo(place: SecretPlace): string[] {
  return Object.values(bindingOf(place));
}
