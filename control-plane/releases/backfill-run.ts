import type { BackfillProgress } from '../../contract/backfill.ts';
import type { PgClient } from '../../platform/pg.ts';
import { backOffMs, sleep, type BackOff } from '../../platform/wait.ts';
import { etaSeconds, rateOf, type Pace } from './backfill-eta.ts';
import type { BackfillKey } from './backfill-key.ts';
import type { ChunkLimits } from './backfill-size.ts';
import type { RangedSql } from './backfill-statement.ts';
import { saveBackfillSql, type BackfillState } from './backfill-store.ts';
import type { Migration } from './release.ts';

/** What a backfill asks, and tells, while it runs. */
export interface BackfillControl {
  /** Asked before each chunk: why it may not run now; null lets it go. */
  throttle?: (() => Promise<Hold | null>) | undefined;
  /** Asked before each chunk, and several times a second while it is held. */
  isStopping?: (() => boolean) | undefined;
  /** Told after each chunk, and several times a second while it is held. */
  onProgress?: ((progress: BackfillCount) => void) | undefined;
  /**
   * Asked while it is held, with the milliseconds that it has been in a row: for how many milliseconds it is to be left
   * alone, so that its place is free for others; null lets it wait on.
   */
  leaveAlone?: ((heldMs: number) => number | null) | undefined;
  /** Shorter in tests. */
  holding?: BackOff | undefined;
  limits?: ChunkLimits | undefined;
}

export type BackfillCount = Omit<BackfillProgress, 'at'>;

export interface Hold {
  reason: string;
  /** When to ask again, in milliseconds; absent for what passes by itself: less and less often. */
  againMs?: number | undefined;
}

/** The rollout or the process has to stop: the backfill has, behind a whole chunk, and goes on from there. */
export class BackfillStoppedError extends Error {
  constructor(migration: string) {
    super(`${migration} was stopped between two chunks`);
    this.name = 'BackfillStoppedError';
  }
}

/** It is held, and somebody else needs its place: it goes on from where it stands, later. */
export class BackfillHeldError extends Error {
  readonly reason: string;
  /** Milliseconds until it is worth asking again. */
  readonly againMs: number;

  constructor(migration: string, hold: { reason: string; againMs: number }) {
    super(`${migration} is held`);
    this.name = 'BackfillHeldError';
    this.reason = hold.reason;
    this.againMs = hold.againMs;
  }
}

/** A backfill under way in one database. */
export interface BackfillRun {
  client: PgClient;
  migration: Migration;
  ownerRole: string;
  signal: AbortSignal;
  control: BackfillControl;
  limits: ChunkLimits;
  key: BackfillKey;
  statement: RangedSql;
  /** As the database has it. */
  state: BackfillState;
  pace: Pace;
  /** Rows that the statement changed, in this run. */
  changed: number;
  /** Failures in a row of the smallest chunk. */
  failures: number;
}

/** An overload of seconds is waited out at once; after that nobody wants to be asked each ten seconds for hours. */
const HOLDING: BackOff = { firstMs: 10_000, maxMs: 600_000 };
/** A fifth of a second: a stop and the count of the time held look prompt to people. */
const LOOK_MS = 200;

/**
 * Waits until the next chunk may run.
 * @throws BackfillStoppedError, BackfillHeldError
 */
export async function waitForLeave(run: BackfillRun): Promise<void> {
  const { control } = run;
  let heldMs = 0;
  for (let tries = 1; ; tries += 1) {
    refuseToStop(run);
    const hold = (await control.throttle?.()) ?? null;
    if (hold === null) return;
    const untilMs = performance.now() + (hold.againMs ?? backOffMs(tries, control.holding ?? HOLDING));
    for (let now = performance.now(); now < untilMs; now = performance.now()) {
      refuseToStop(run);
      await sleep(Math.min(LOOK_MS, untilMs - now), run.signal);
      const waited = performance.now() - now;
      heldMs += waited;
      run.state = { ...run.state, heldMs: run.state.heldMs + waited };
      tell(run, hold.reason);
      const againMs = control.leaveAlone?.(heldMs) ?? null;
      if (againMs !== null) await leave(run, { reason: hold.reason, againMs });
    }
  }
}

/** The time that it was held is kept with the cursor. @throws BackfillHeldError */
async function leave(
  { client, migration, state }: BackfillRun,
  hold: { reason: string; againMs: number },
): Promise<never> {
  await client.query(`BEGIN; SET LOCAL ROLE NONE; ${saveBackfillSql(state)} COMMIT`);
  throw new BackfillHeldError(migration.name, hold);
}

/** @throws BackfillStoppedError; the signal's reason when it has fired */
export function refuseToStop({ signal, control, migration }: BackfillRun): void {
  signal.throwIfAborted();
  if (control.isStopping?.() === true) throw new BackfillStoppedError(migration.name);
}

export function tell({ control, migration, state, pace }: BackfillRun, reason: string | null): void {
  // The estimate is only that: it is never less than what is done.
  const rowsEstimated = Math.max(state.rowsEstimated, state.rowsDone);
  control.onProgress?.({
    migration: migration.name,
    rowsDone: state.rowsDone,
    rowsEstimated,
    heldMs: Math.round(state.heldMs),
    rate: rateOf(pace),
    etaSeconds: etaSeconds(pace, state.rowsDone, rowsEstimated),
    reason,
    quarantined: state.quarantine.length,
  });
}
