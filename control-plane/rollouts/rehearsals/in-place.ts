import type { RehearsedMigration } from '../../../contract/rehearsal.ts';
import { summarizeError } from '../../../platform/errors.ts';
import type { PgAddress, PgClient } from '../../../platform/pg.ts';
import { processId } from '../../releases/apply.ts';
import {
  LockWaitError,
  retryContention,
  type Blocker,
  type FindBlockers,
} from '../../releases/contention.ts';
import { migrationFailure } from '../../releases/failure.ts';
import { proveSchema, type SchemaGuard } from '../../releases/guard.ts';
import { takeLock } from '../../releases/lock.ts';
import { missingMigrations, type Migration } from '../../releases/release.ts';
import { withMigrationSession } from '../../releases/session.ts';
import { advanceStamp, isSameStamp, readStamp, type SchemaStamp } from '../../releases/stamp.ts';
import type { Limits, Rehearsed } from './rehearsal.ts';
import type { LeftOut } from './left-out.ts';
import type { Prepare, Prepared } from './prepare.ts';
import { openTransaction, type Trial } from './trial.ts';
import { trySteps, type Ending } from './try-steps.ts';

export interface InPlaceRequest {
  ownerRole: string;
  /** The complete list up to the wanted head. */
  migrations: Migration[];
  applicationName: string;
  limits: Limits;
  prepare: Prepare;
  /** Compares the schema with what its migrations make. */
  guard: SchemaGuard;
  findBlockers: FindBlockers;
  signal: AbortSignal;
}

/**
 * Two repeats, with jittered pauses of some tenths of a second: enough to slip in between a tenant's short
 * transactions; whoever holds a lock for longer is told as busy.
 */
const LOCK_RETRIES = 2;

/**
 * Runs the migrations that the database lacks in one transaction that is always rolled back. It takes the migration
 * lock, proves what is applied and the schema, and confines them as a rollout does. Nothing stays: no record, no
 * progress; but sequences that were drawn from have a gap, as after any insert that failed.
 *
 * A live tenant never waits longer than `maxHoldMs` for it, in all: the server ends the transaction by then, whatever
 * it does, and gives up each single wait for a lock after `lockTimeoutMs`.
 * @param address of the server's migrator
 * @throws FleetError `migration_locked`, `migration_edited`, `migration_out_of_order`, `migration_record_missing`,
 *   `schema_drifted`; errors of connecting as the driver gives them
 */
export async function rehearseInPlace(
  address: PgAddress,
  request: InPlaceRequest,
): Promise<InPlaceRehearsed> {
  return withMigrationSession(address, request, async (client) => {
    const found = await takeLock(client, request);
    const { applied, interrupted } = found;
    const missing = missingMigrations(applied, request.migrations);
    if (applied.some(({ name }) => name === interrupted?.migration)) {
      const rehearsed = verdict(missing, undefined, {
        reason: 'an undo of its last migration stands half done',
      });
      return { rehearsed, stamp: null };
    }
    const proven = missing.length === 0 ? null : await proveSchema(client, found, request.guard);
    const steps = await request.prepare(missing);
    const session = { client, request, missing, steps, blockers: [], trial: undefined, changes: 0 };
    const rehearsed = await rehearse(session);
    return { rehearsed, stamp: await stampAfter(session, proven) };
  });
}

export interface InPlaceRehearsed {
  rehearsed: Rehearsed;
  /** Of the proven schema, with what the rehearsal has written and taken back; null where nobody knows. */
  stamp: SchemaStamp | null;
}

interface Session {
  client: PgClient;
  request: InPlaceRequest;
  missing: Migration[];
  steps: (Prepared | LeftOut)[];
  blockers: Blocker[];
  /** The last try. */
  trial: Trial | undefined;
  /** Rows that all tries have written in the catalogues; null where one failed, and nobody knows. */
  changes: number | null;
}

async function rehearse(session: Session): Promise<Rehearsed> {
  const { missing } = session;
  const waiting = { pid: undefined, retries: LOCK_RETRIES, signal: session.request.signal };
  try {
    const { value, lockWaitMs } = await retryContention(() => tryOnce(session), waiting);
    return { ...verdict(missing, session.trial, value), lockWaitMs };
  } catch (error) {
    const { trial } = session;
    if (!(error instanceof LockWaitError) || trial?.current === undefined) throw error;
    const told = new LockWaitError(error.cause, session.blockers);
    return verdict(missing, trial, { busy: true, error: migrationFailure(told, trial.current.migration) });
  }
}

/** One transaction. @throws what a repeat may help against */
async function tryOnce(session: Session): Promise<Ending> {
  const { client, request } = session;
  const trial = await openTransaction(client, {
    ...request,
    onWait: () => void noteBlockers(session),
  });
  session.trial = trial;
  try {
    return await trySteps(trial, session.steps);
  } finally {
    await trial.rollBack();
    session.changes =
      session.changes === null || trial.changes === null ? null : session.changes + trial.changes;
  }
}

/**
 * The server counts what was taken back as well: without a new stamp the next rollout would have to compare a schema
 * that nobody has touched.
 */
async function stampAfter(
  { client, changes }: Session,
  proven: SchemaStamp | null,
): Promise<SchemaStamp | null> {
  const expected = advanceStamp(proven, proven?.version ?? null, changes);
  if (expected === null) return null;
  return isSameStamp(expected, await readStamp(client, expected.version)) ? expected : null;
}

/** Only words for a message: what fails here fails the rehearsal in no way. */
async function noteBlockers(session: Session): Promise<void> {
  const pid = processId(session.client);
  const seen = pid === undefined ? [] : await session.request.findBlockers(pid).catch(() => []);
  if (seen.length > 0) session.blockers = seen;
}

function verdict(missing: readonly Migration[], trial: Trial | undefined, ending: Ending): Rehearsed {
  const passed = new Map((trial?.steps ?? []).map((step) => [step.name, step]));
  const { reason = null, error, busy = false } = ending;
  const failed = error !== undefined && !busy ? trial?.current?.migration.name : undefined;
  const migrations = missing.map(({ name }): RehearsedMigration => {
    const outcome = name === failed ? 'failed' : 'not_rehearsed';
    return passed.get(name) ?? { name, outcome, durationMs: null, rows: null };
  });
  return {
    outcome: busy ? 'busy' : error !== undefined ? 'fails' : reason !== null ? 'not_rehearsed' : 'passes',
    reason,
    error: error === undefined ? null : summarizeError(error),
    migrations,
    lockWaitMs: null,
    heldMs: trial?.heldMs() ?? null,
    locks: trial?.watch.locks() ?? [],
    rewrites: trial?.watch.rewrites() ?? [],
  };
}
