import { rmSync, writeFileSync } from 'node:fs';
import { takeStartLock } from '../../../scripts/launcher/lock.ts';
import { FleetError } from '../../../platform/errors.ts';

/** Takes the lock named in each message, and answers how that went; gives it back at an empty one. */
const [, , witness = ''] = process.argv;
let release: (() => void) | undefined;

function take(file: string): string {
  try {
    release = takeStartLock(file);
  } catch (error) {
    if (error instanceof FleetError && error.code === 'already_running') return 'refused';
    throw error;
  }
  // Fails where another process holds the lock too.
  writeFileSync(witness, String(process.pid), { flag: 'wx' });
  return 'held';
}

function giveBack(): string {
  if (release !== undefined) rmSync(witness);
  release?.();
  release = undefined;
  return 'given back';
}

process.on('message', (file: string) => {
  process.send?.(file === '' ? giveBack() : take(file));
});
process.send?.('ready');
