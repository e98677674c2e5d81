import { readFileSync } from 'node:fs';

/** Whether a process with this id lives, ours or another user's. One that has ended is not alive, collected or not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !isZombie(pid);
  } catch (error) {
    // EPERM: it lives, under another user.
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

/** Dead, but not yet collected by its parent: in a container whose first process collects nobody, for ever. */
export function isZombie(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
  } catch {
    // Gone in this moment, or a system without /proc: then the answer of kill stands.
    return false;
  }
}
