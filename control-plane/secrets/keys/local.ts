import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, readFileSync, rmSync, statSync } from 'node:fs';
import { open, seal } from '../../../platform/crypto.ts';
import { FleetError } from '../../../platform/errors.ts';
import { writeBeside, writePrivate } from '../../../platform/files.ts';

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

/** The inverse of sealFile; undefined when there is no such file. @throws TamperedError */
export function openFile(masterKey: Buffer, file: string, purpose: string): string | undefined {
  if (!existsSync(file)) return undefined;
  const sealed = Buffer.from(readFileSync(file, 'utf8'), 'base64');
  return open(masterKey, sealed, ['file', purpose]).toString('utf8');
}
