import { setTimeout as wait } from 'node:timers/promises';

/** Between two looks: short against what tests wait for, long against what a look costs. */
const POLL_MS = 20;

/** Waits until `look` answers something, and returns it. @throws when `timeoutMs` have passed. */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  timeoutMs = 20_000,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain: ${what}`);
    await wait(POLL_MS);
  }
}
