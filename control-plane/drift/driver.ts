import { randomUUID } from 'node:crypto';
import { isRetryable, summarizeError } from '../../platform/errors.ts';
import { SYSTEM_CALLER } from '../access/caller.ts';
import type { Driver } from '../operations/driver.ts';
import { LeaseLostError, type Lease } from '../operations/lease.ts';
import { lookAt, type DriftDeps } from './check.ts';
import {
  findCheck,
  isCheckDue,
  moveCheck,
  OPEN_CHECKS_SQL,
  saveProgress,
  type DriftCheckRecord,
} from './check-store.ts';
import { countLooks, isFinding, isUnread, NO_COUNTS } from './drift.ts';
import { recordFindings } from './record.ts';
import { startDriftCheck } from './start.ts';
import { targetsByMatch } from './store.ts';

/**
 * Carries a drift check. It changes nothing but what is known of the databases, so the next owner of one that was
 * interrupted simply begins again: 5,000 databases take about a minute.
 */
export function createDriftDriver(deps: DriftDeps): Driver {
  return {
    kind: 'drift',
    openIdsSql: OPEN_CHECKS_SQL,
    drive: (id, lease) => drive(deps, id, lease),
  };
}

async function drive(deps: DriftDeps, id: string, lease: Lease): Promise<void> {
  const check = await findCheck(deps.registry, id);
  if (check === undefined || !(await lease.transaction((tx) => moveCheck(tx, check, 'start')))) return;
  const running: DriftCheckRecord = { ...check, state: 'running', counts: NO_COUNTS, unread: [] };
  try {
    await run(deps, running, lease);
    if (!lease.stopping.aborted) await lease.transaction((tx) => moveCheck(tx, running, 'succeed'));
  } catch (error) {
    // What may pass by itself is tried again by the next owner; anything else would fail for ever.
    if (error instanceof LeaseLostError || lease.signal.aborted || isRetryable(error)) throw error;
    deps.logger.error('the drift check cannot go on', { check: id, error });
    await lease.transaction((tx) => moveCheck(tx, running, 'fail', summarizeError(error)));
  }
}

async function run(deps: DriftDeps, check: DriftCheckRecord, lease: Lease): Promise<void> {
  let { counts, unread } = check;
  await lookAt(deps, await targetsByMatch(deps.registry, check.match, check.regions), {
    signal: lease.stopping,
    onLooks: async (looks) => {
      counts = countLooks({ ...NO_COUNTS, ...counts }, looks);
      const failed = looks
        .filter(isUnread)
        .flatMap(({ tenant, region, error }) => (error === null ? [] : [{ tenant, region, error }]));
      unread = [...unread, ...failed].slice(0, UNREAD_KEPT);
      await lease.transaction(async (tx) => {
        await recordFindings(tx, looks.filter(isFinding));
        await saveProgress(tx, { id: check.id, counts, unread });
      });
    },
  });
}

/** A server that is down has thousands of databases which all say the same. */
const UNREAD_KEPT = 100;

/** Starts a check of the whole fleet when the last one is `intervalMs` old. Harmless to run at any time. */
export async function checkWhenDue(deps: DriftDeps, intervalMs: number): Promise<void> {
  await deps.registry.transaction(async (tx) => {
    if (!(await isCheckDue(tx, intervalMs))) return;
    await startDriftCheck(tx, { id: randomUUID(), match: {}, caller: SYSTEM_CALLER, requestId: null });
  });
}
