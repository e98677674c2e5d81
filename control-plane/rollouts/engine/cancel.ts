import { withClient } from '../../../platform/pg.ts';
import type { Run } from './run.ts';
import type { ClaimedTarget } from '../target-store.ts';

/**
 * After an abort: cancels the statements of targets in flight that only wait for a lock, by force also those that
 * run. Each is in a transaction, which rolls back. What runs outside one, as CONCURRENTLY does, goes by another name
 * and may end: cancelling it would leave an invalid index behind. A server that does not answer is left alone.
 */
export async function cancelInFlight(
  run: Run,
  targets: readonly ClaimedTarget[],
  force: boolean,
): Promise<void> {
  await Promise.all(targets.map((target) => cancelOne(run, target, force)));
}

async function cancelOne(run: Run, target: ClaimedTarget, force: boolean): Promise<void> {
  try {
    const address = await run.servers.migrator(target.serverId, target);
    await withClient(address, { applicationName: 'fleet-cancel' }, (client) =>
      client.query(CANCEL, [run.applicationName, force]),
    );
  } catch (error) {
    run.logger.warn('a statement could not be cancelled', { tenant: target.slug, error });
  }
}

/** Sessions of the same login, so that no other right is needed. */
const CANCEL = `
  SELECT pg_cancel_backend(pid) FROM pg_stat_activity
   WHERE application_name = $1 AND datname = current_database() AND state = 'active'
     AND ($2 OR wait_event_type = 'Lock')`;
