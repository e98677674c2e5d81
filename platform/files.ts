import { randomBytes } from 'node:crypto';
import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/**
 * Replaces a file that only its owner may read, in one step: a reader finds the old text or the new, and a kill
 * leaves one of them. Makes its folder (0700) when that is missing.
 */
export function writePrivate(file: string, text: string): void {
  renameSync(writeBeside(file, text), file);
  syncFolder(file);
}

/** Makes the name of a file last as long as what is in it: until then a loss of power takes back the renaming. */
export function syncFolder(file: string): void {
  const folder = openSync(dirname(file), 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

/**
 * Writes a new 0600 file beside `file`, and returns its path for the caller to rename or link into place. It is on
 * disk then: a key that is used before would be lost with the machine's power.
 */
export function writeBeside(file: string, text: string): string {
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
  const beside = `${file}.${randomBytes(6).toString('hex')}.new`;
  const handle = openSync(beside, 'wx', 0o600);
  try {
    writeFileSync(handle, text);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  return beside;
}
