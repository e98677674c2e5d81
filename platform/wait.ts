import { setTimeout as wait } from 'node:timers/promises';

/** Waits; ends early, and as quietly, when `signal` aborts: look at the signal afterwards. */
export async function sleep(ms: number, signal: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal }).catch(() => undefined);
}

/** Bounds of the time between tries, in milliseconds. */
export interface BackOff {
  firstMs: number;
  maxMs: number;
}

/**
 * How long to wait after the `tries`-th failure (1, 2 …), in milliseconds: doubling up to the bound, and from half
 * of that to all of it by chance, so that those who failed together do not come back together.
 */
export function backOffMs(tries: number, { firstMs, maxMs }: BackOff): number {
  const most = Math.min(firstMs * 2 ** Math.max(0, tries - 1), maxMs);
  return most * (0.5 + Math.random() / 2);
}
