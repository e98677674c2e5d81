import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, readFileSync, rmSync, statSync } from 'node:fs';
import { FleetError } from '../../../platform/errors.ts';
import { syncFolder, writeBeside, writePrivate } from '../../../platform/files.ts';
import { keyId, openWithAny, seal } from '../../../platform/sealing.ts';
import { refusing } from '../refusals.ts';

/** What wraps data keys and seals files: one key, or the keys of a file, of which there are two while it is rotated. */
export type MasterKey = Buffer | MasterKeyFile;

export interface MasterKeyFile {
  file: string;
  /**
   * Each of them opens; the first seals files. Read anew each time, so that all processes that share the file know a
   * new one at once: some 30 µs.
   * @throws FleetError `master_key_permissions` | `master_key_broken`
   */
  keys(): Buffer[];
}

/** AES-256. */
const KEY_BYTES = 32;
/** Any right of group or others. */
const FOREIGN_RIGHTS = 0o077;

/**
 * The keys of the file. Made at first use as a 0600 file: written aside and linked into place, so that of two
 * processes that start together one wins and both read the same, whole key.
 * @throws FleetError `master_key_permissions` | `master_key_broken`
 */
export function loadMasterKey(file: string): MasterKeyFile {
  if (!existsSync(file)) makeMasterKey(file);
  let known = readKeys(file);
  return {
    file,
    keys: () => {
      // Taken away while this process runs: what it knows goes on to work until the file is back.
      if (existsSync(file)) known = readKeys(file);
      return known;
    },
  };
}

function readKeys(file: string): Buffer[] {
  if (process.platform !== 'win32' && (statSync(file).mode & FOREIGN_RIGHTS) !== 0) {
    throw new FleetError({
      code: 'master_key_permissions',
      status: 500,
      message: `others than its owner may use the master key ${file}`,
      fix: `chmod 600 ${file}, and consider who may have read it`,
    });
  }
  const lines = readFileSync(file, 'utf8').split('\n');
  const keys = lines
    .filter((line) => line.trim() !== '')
    .map((line) => Buffer.from(line.trim(), 'base64url'));
  if (keys.length > 0 && keys.every((key) => key.length === KEY_BYTES)) return keys;
  throw new FleetError({
    code: 'master_key_broken',
    status: 500,
    message: `${file} does not hold keys of ${KEY_BYTES} bytes`,
    fix: 'restore it from a backup: without it no stored credential can be read',
  });
}

function makeMasterKey(file: string): void {
  const aside = writeBeside(file, textOf([randomBytes(KEY_BYTES)]));
  try {
    linkSync(aside, file);
    syncFolder(file);
  } catch (error) {
    // Another process was first: its key is the key.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

function textOf(keys: readonly Buffer[]): string {
  return keys.map((key) => `${key.toString('base64url')}\n`).join('');
}

export function keysOf(masterKey: MasterKey): Buffer[] {
  return Buffer.isBuffer(masterKey) ? [masterKey] : masterKey.keys();
}

/** Adds a new key behind those that there are, and returns it. */
export function addKey(masterKey: MasterKeyFile): Buffer {
  const made = randomBytes(KEY_BYTES);
  writePrivate(masterKey.file, textOf([...masterKey.keys(), made]));
  return made;
}

/** Makes the key with this id the first, or the only one. */
export function keepKeys(masterKey: MasterKeyFile, id: string, others: 'keep' | 'forget'): void {
  const first = requireKey(masterKey, id);
  const rest = others === 'keep' ? masterKey.keys().filter((key) => !key.equals(first)) : [];
  writePrivate(masterKey.file, textOf([first, ...rest]));
}

/** As it stands in the registry. */
export function idOf(key: Buffer): string {
  return keyId(key).toString('hex');
}

/** The key with this id; the first when there is none. @throws FleetError `wrong_master_key` */
export function requireKey(masterKey: MasterKey, id: string | undefined): Buffer {
  const keys = keysOf(masterKey);
  const found = id === undefined ? keys[0] : keys.find((key) => idOf(key) === id);
  if (found !== undefined) return found;
  throw new FleetError({
    code: 'wrong_master_key',
    status: 500,
    message: 'this control plane’s master.key does not hold the master key that the registry is used with',
    fix: 'copy master.key from where it was rotated, or put back the one that belongs to this registry; nothing is lost',
  });
}

/** Seals a small secret (a cluster's superuser password) into a 0600 file. `purpose` is bound, not stored. */
export function sealFile(masterKey: MasterKey, file: string, purpose: string, plain: string): void {
  const key = requireKey(masterKey, undefined);
  const sealed = seal(key, Buffer.from(plain, 'utf8'), ['file', purpose]);
  writePrivate(file, `${sealed.toString('base64')}\n`);
  // Rotated meanwhile: it was sealed under a key that may be gone when it is needed.
  if (!requireKey(masterKey, undefined).equals(key)) sealFile(masterKey, file, purpose, plain);
}

/**
 * The inverse of sealFile; undefined when there is no such file.
 * @throws FleetError `wrong_master_key`, `secret_tampered`, `secret_swapped`, `secret_truncated`, `secret_format_unknown`
 */
export function openFile(masterKey: MasterKey, file: string, purpose: string): string | undefined {
  if (!existsSync(file)) return undefined;
  const sealed = Buffer.from(readFileSync(file, 'utf8'), 'base64');
  return refusing('key', file, () =>
    openWithAny(keysOf(masterKey), sealed, ['file', purpose]).toString('utf8'),
  );
}
