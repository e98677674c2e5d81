import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { isAlive } from '../../platform/processes.ts';

/** The command line of a process, or undefined when there is none with this id. */
export function commandLine(pid: number): string | undefined {
  if (!isAlive(pid)) return undefined;
  try {
    const file = `/proc/${pid}/cmdline`;
    if (existsSync('/proc/self')) return readFileSync(file, 'utf8').replaceAll('\0', ' ');
    return execFileSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' });
  } catch {
    // It ended while we looked.
    return undefined;
  }
}
