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
  for (const serverId of new Set(targets.map((target) => target.serverId))) {
    const there = targets.filter((target) => target.serverId === serverId);
    try {
      const address = await run.servers.migrator(serverId, there[0]?.database ?? '');
      const names = there.map((target) => target.database);
      await withClient(address, { applicationName: 'fleet-cancel' }, (client) =>
        client.query(CANCEL, [run.applicationName, names, force]),
      );
    } catch (error) {
      run.logger.warn('statements could not be cancelled', { server: serverId, error });
    }
  }
}

/** Sessions of the same login, so that no other right is needed. */
const CANCEL = `
  SELECT pg_cancel_backend(pid) FROM pg_stat_activity
   WHERE application_name = $1 AND datname = ANY($2) AND state = 'active'
     AND ($3 OR wait_event_type = 'Lock')`;
