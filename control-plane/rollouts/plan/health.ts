import { FleetError } from '../../../platform/errors.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { knownDrift } from '../../drift/store.ts';
import type { Transaction } from '../../registry/registry.ts';
import { findAbandoned, type RolloutRecord } from '../store.ts';
import { databasesToRun } from '../target-store.ts';
import { unreachableServers, unsettledElsewhere } from '../engine/wait-store.ts';

/** Something that has to be mended before a start. */
export interface Trouble {
  /** Tenants or servers; not every reader may see all of them. */
  named: Named[];
  /** In words that name these, of all that there are. */
  say: (named: readonly Named[]) => FleetError;
}

interface Named {
  name: string;
  region: string;
  /** What is the matter with it, where that differs. */
  why?: string;
}

/**
 * A rollout starts on a fleet that is whole: nothing half done by another one, no outcome that nobody knows, all the
 * servers that it goes to answer, and no schema is known to be other than its migrations made it.
 * @throws FleetError 409 `rollout_abandoned`, 409 `targets_unsettled`, 409 `servers_unreachable`, 409 `schema_drifted`
 */
export async function refuseUnhealthy(tx: Transaction, rollout: RolloutRecord): Promise<void> {
  for await (const { named, say } of findTroubles(tx, rollout)) throw say(named);
}

/** What stands against a start of the rollout, the gravest first; asking changes nothing. */
export async function* findTroubles(
  db: Queryable,
  rollout: Pick<RolloutRecord, 'id'>,
): AsyncGenerator<Trouble, void> {
  const abandoned = await findAbandoned(db);
  if (abandoned !== undefined && abandoned.id !== rollout.id)
    yield { named: [], say: () => isAbandoned(abandoned) };
  const unsettled = await unsettledElsewhere(db, rollout.id);
  if (unsettled !== undefined) yield { named: [], say: () => isUnsettled(unsettled) };
  const away = await unreachableServers(db, rollout.id);
  if (away.length > 0) yield { named: away, say: (named) => areUnreachable(named, away.length) };
  const drifted = await knownDrift(db, await databasesToRun(db, rollout.id));
  if (drifted.length === 0) return;
  const named = drifted.map(({ tenant: name, region, changes }) => ({
    name,
    region,
    why: changes.join('; '),
  }));
  yield { named, say: (those) => haveDrifted(those, drifted.length) };
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

function haveDrifted(those: readonly Named[], count: number): FleetError {
  return new FleetError({
    code: 'schema_drifted',
    status: 409,
    message: `the schema of ${count === 1 ? 'a target' : `${count} targets`} is not what its migrations make${list(those, count)}`,
    fix: 'fleet drift list --diff; mend each and check it again, or fleet drift accept TENANT --reason TEXT',
    errors: those.map(({ name, why = '' }) => ({ path: name, message: why })),
  });
}

function areUnreachable(those: readonly Named[], count: number): FleetError {
  return new FleetError({
    code: 'servers_unreachable',
    status: 409,
    message: `servers with targets of this rollout do not answer${list(those, count)}`,
    fix: 'bring them back; each is asked every minute: fleet server list',
    retryable: true,
  });
}

/** More names hide the sentence that they stand in. */
const NAMES_TOLD = 20;

function list(those: readonly Named[], count: number): string {
  const names = those.slice(0, NAMES_TOLD).map(({ name }) => name);
  const more = count - names.length;
  if (names.length === 0) return `: ${count} in regions that you may not see`;
  return `: ${names.join(', ')}${more > 0 ? ` and ${more} more (-o json)` : ''}`;
}
