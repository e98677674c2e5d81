import { FleetError } from '../../platform/errors.ts';
import type { Transaction } from '../registry/registry.ts';
import { findAbandoned, type RolloutRecord } from './store.ts';
import { unreachableServers, unsettledElsewhere } from './wait-store.ts';

/**
 * A rollout starts on a fleet that is whole: nothing half done by another one, no outcome that nobody knows, and all
 * the servers that it goes to answer.
 * @throws FleetError 409 `rollout_abandoned`, 409 `targets_unsettled`, 409 `servers_unreachable`
 */
export async function refuseUnhealthy(tx: Transaction, rollout: RolloutRecord): Promise<void> {
  const abandoned = await findAbandoned(tx);
  if (abandoned !== undefined && abandoned.id !== rollout.id) throw isAbandoned(abandoned);
  const unsettled = await unsettledElsewhere(tx, rollout.id);
  if (unsettled !== undefined) throw isUnsettled(unsettled);
  const away = await unreachableServers(tx, rollout.id);
  if (away.length > 0) throw areUnreachable(away);
}

function isAbandoned({ id, release }: RolloutRecord): FleetError {
  return new FleetError({
    code: 'rollout_abandoned',
    status: 409,
    message: `rollout ${id} of release ${release} was aborted in the middle: some databases have it, others do not`,
    fix: `say that this one takes its place: fleet rollout start … --supersede ${id}; or undo it: fleet rollout undo ${id}`,
  });
}

function isUnsettled({ rolloutId, count }: { rolloutId: string; count: number }): FleetError {
  return new FleetError({
    code: 'targets_unsettled',
    status: 409,
    message: `${count} targets of rollout ${rolloutId} are still in flight, or nobody knows their outcome yet`,
    fix: `a worker is asking their databases; wait for it: fleet rollout get ${rolloutId}`,
    retryable: true,
  });
}

function areUnreachable(names: readonly string[]): FleetError {
  return new FleetError({
    code: 'servers_unreachable',
    status: 409,
    message: `servers with targets of this rollout do not answer: ${names.join(', ')}`,
    fix: 'bring them back; each is asked every minute: fleet server list',
    retryable: true,
  });
}
