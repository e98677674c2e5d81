import { FleetError } from '../../platform/errors.ts';
import { knownDrift } from '../drift/store.ts';
import type { Transaction } from '../registry/registry.ts';
import { findAbandoned, type RolloutRecord } from './store.ts';
import { databasesToRun } from './target-store.ts';
import { unreachableServers, unsettledElsewhere } from './wait-store.ts';

/**
 * A rollout starts on a fleet that is whole: nothing half done by another one, no outcome that nobody knows, all the
 * servers that it goes to answer, and no schema is known to be other than its migrations made it.
 * @throws FleetError 409 `rollout_abandoned`, 409 `targets_unsettled`, 409 `servers_unreachable`, 409 `schema_drifted`
 */
export async function refuseUnhealthy(tx: Transaction, rollout: RolloutRecord): Promise<void> {
  const abandoned = await findAbandoned(tx);
  if (abandoned !== undefined && abandoned.id !== rollout.id) throw isAbandoned(abandoned);
  const unsettled = await unsettledElsewhere(tx, rollout.id);
  if (unsettled !== undefined) throw isUnsettled(unsettled);
  const away = await unreachableServers(tx, rollout.id);
  if (away.length > 0) throw areUnreachable(away);
  const drifted = await knownDrift(tx, await databasesToRun(tx, rollout.id));
  if (drifted.length > 0) throw haveDrifted(drifted);
}

function isAbandoned({ id, release, undoOf }: RolloutRecord): FleetError {
  const undo =
    undoOf === null
      ? `undo it: fleet rollout undo ${id}`
      : `take the undo up again: fleet rollout undo ${undoOf}`;
  return new FleetError({
    code: 'rollout_abandoned',
    status: 409,
    message: `rollout ${id} of release ${release} was aborted in the middle: some databases have it, others do not`,
    fix: `say that this one takes its place: fleet rollout start … --supersede ${id}; or ${undo}`,
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

function haveDrifted(drifted: readonly { tenant: string; changes: readonly string[] }[]): FleetError {
  return new FleetError({
    code: 'schema_drifted',
    status: 409,
    message: `the schema of ${drifted.length === 1 ? 'a target' : `${drifted.length} targets`} is not what its migrations make: ${drifted.map(({ tenant }) => tenant).join(', ')}`,
    fix: 'fleet drift list --diff; mend each and check it again, or fleet drift accept TENANT --reason TEXT',
    errors: drifted.map(({ tenant, changes }) => ({ path: tenant, message: changes.join('; ') })),
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
