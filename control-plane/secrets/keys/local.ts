import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, readFileSync, rmSync, statSync } from 'node:fs';
import { FleetError } from '../../../platform/errors.ts';
import { writeBeside, writePrivate } from '../../../platform/files.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { open, seal } from '../../../platform/sealing.ts';
import {
  clearDestroyAt,
  deleteDueKey,
  findDataKeys,
  insertDataKey,
  setDestroyAt,
  type DataKeyRow,
} from '../key-store.ts';
import { keyMissing, keyPendingDestruction, refusing } from '../refusals.ts';
import { bindingOf, type KeyService, type SealedValue, type SecretPlace } from './key-service.ts';

/** AES-256. */
const KEY_BYTES = 32;
/** Any right of group or others. */
const FOREIGN_RIGHTS = 0o077;

/**
 * The key that wraps every data key. Made at first use as a 0600 file: written aside and linked into place,
 * so that of two processes that start together one wins and both read the same, whole key.
 * @throws FleetError `master_key_permissions` | `master_key_broken`
 */
export function loadMasterKey(file: string): Buffer {
  if (!existsSync(file)) makeMasterKey(file);
  if (process.platform !== 'win32' && (statSync(file).mode & FOREIGN_RIGHTS) !== 0) {
    throw new FleetError({
      code: 'master_key_permissions',
      status: 500,
      message: `others than its owner may use the master key ${file}`,
      fix: `chmod 600 ${file}, and consider who may have read it`,
    });
  }
  const key = Buffer.from(readFileSync(file, 'utf8').trim(), 'base64url');
  if (key.length !== KEY_BYTES) {
    throw new FleetError({
      code: 'master_key_broken',
      status: 500,
      message: `${file} does not hold a key of ${KEY_BYTES} bytes`,
      fix: 'restore it from a backup: without it no stored credential can be read',
    });
  }
  return key;
}

function makeMasterKey(file: string): void {
  const aside = writeBeside(file, `${randomBytes(KEY_BYTES).toString('base64url')}\n`);
  try {
    linkSync(aside, file);
  } catch (error) {
    // Another process was first: its key is the key.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

/** Seals a small secret (a cluster's superuser password) into a 0600 file. `purpose` is bound, not stored. */
export function sealFile(masterKey: Buffer, file: string, purpose: string, plain: string): void {
  const sealed = seal(masterKey, Buffer.from(plain, 'utf8'), ['file', purpose]);
  writePrivate(file, `${sealed.toString('base64')}\n`);
}

/**
 * The inverse of sealFile; undefined when there is no such file.
 * @throws FleetError `wrong_master_key`, `secret_tampered`, `secret_swapped`, `secret_truncated`, `secret_format_unknown`
 */
export function openFile(masterKey: Buffer, file: string, purpose: string): string | undefined {
  if (!existsSync(file)) return undefined;
  const sealed = Buffer.from(readFileSync(file, 'utf8'), 'base64');
  return refusing('key', file, () => open(masterKey, sealed, ['file', purpose]).toString('utf8'));
}

/**
 * Keys in the registry, two layers of AES-256-GCM.
 *
 *   master key (0600 file) ──wraps──▶ data key of one owner ──seals──▶ value of one version
 *
 * Each layer is bound to what it belongs to, so that a row copied to another owner, subject or version does
 * not open. Deleting the data key's row makes all values of the owner unreadable for good.
 */
export function localKeys(masterKey: Buffer): KeyService {
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
  masterKey: Buffer,
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

async function ensureDataKey(db: Queryable, masterKey: Buffer, owner: string): Promise<DataKeyRow> {
  const find = async () => (await findDataKeys(db, [owner]))[0];
  const row =
    (await find()) ??
    (await insertDataKey(db, owner, seal(masterKey, randomBytes(KEY_BYTES), keyOf(owner)))) ??
    // Another transaction has made it between the two statements.
    (await find());
  if (row === undefined) throw new Error(`the data key of ${owner} vanished`);
  return row;
}

function unwrap(masterKey: Buffer, { owner, wrapped, destroyAt }: DataKeyRow): Buffer {
  if (destroyAt !== null) throw keyPendingDestruction(owner, destroyAt);
  return refusing('key', `the data key of ${owner}`, () => open(masterKey, wrapped, keyOf(owner)));
}

function keyOf(owner: string): string[] {
  return ['data-key', owner];
}

function boundTo(place: SecretPlace): string[] {
  return Object.values(bindingOf(place));
}
