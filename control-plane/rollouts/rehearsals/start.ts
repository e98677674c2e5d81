import { randomUUID } from 'node:crypto';
import type { StartRehearsal } from '../../../contract/rehearsal.ts';
import type { RolloutState } from '../../../contract/rollout.ts';
import { FleetError } from '../../../platform/errors.ts';
import { requireRegion, type Asker } from '../../access/caller.ts';
import { auditAsked } from '../../audit/audit.ts';
import { wrongState } from '../../http/conflict.ts';
import { wake } from '../../operations/driver.ts';
import type { Transaction } from '../../registry/registry.ts';
import { rolloutNotFound } from '../rollout.ts';
import { lockRollout } from '../store.ts';
import { insertRehearsal, openRehearsal, rehearsalCandidates, type Candidate } from './store.ts';

/** Nothing is in flight that would be in the way, and something is left to run. */
const REHEARSABLE: readonly RolloutState[] = ['planned', 'awaiting_approval', 'paused', 'halted'];

/**
 * Queues a rehearsal of what a rollout has left to run, or of some tenants of it. Answers its id.
 * @throws FleetError 404 `rollout_not_found`, 404 `tenant_not_found`, 403 `region_forbidden`, 409 `wrong_state`,
 *   409 `undo_not_rehearsed`, 409 `nothing_to_rehearse`, 409 `rehearsal_active`
 */
export async function startRehearsal(
  tx: Transaction,
  rolloutId: string,
  request: StartRehearsal & Asker,
): Promise<string> {
  const rollout = await lockRollout(tx, rolloutId);
  if (rollout === undefined) throw rolloutNotFound(rolloutId);
  if (rollout.undoOf !== null) throw isUndo(rolloutId);
  if (!REHEARSABLE.includes(rollout.state)) {
    const named = { noun: 'rollout' as const, name: rolloutId, state: rollout.state };
    throw wrongState(named, 'rehearse', REHEARSABLE);
  }
  const open = await openRehearsal(tx, rolloutId);
  if (open !== undefined) throw isActive(rolloutId, open);
  const { all, cloned } = choose(await rehearsalCandidates(tx, rolloutId), request);
  if (all.length === 0) throw hasNothing(rolloutId);
  for (const { region } of all) requireRegion(request.caller, region);

  const id = randomUUID();
  const { lockTimeoutMs, maxHoldMs, clones, caller, reason = null } = request;
  await insertRehearsal(tx, {
    ...{
      id,
      rolloutId,
      release: rollout.release,
      lockTimeoutMs,
      maxHoldMs,
      clones,
      actor: caller.name,
      reason,
    },
    databases: all.map(({ databaseId }) => databaseId),
    cloned: cloned.map(({ databaseId }) => databaseId),
  });
  auditAsked(tx, request, {
    action: 'rollout.rehearse',
    resource: `rollout:${rolloutId}`,
    after: {
      ...{ rehearsal: id, targets: all.length, lockTimeoutMs, maxHoldMs, clones },
      clone: cloned.map(({ slug }) => slug),
    },
  });
  await wake(tx, 'rehearsal', id);
  return id;
}

/** A tenant that is to be copied is rehearsed even where only others are named. */
function choose(
  candidates: readonly Candidate[],
  { tenants, clone = [] }: Pick<StartRehearsal, 'tenants' | 'clone'>,
): { all: Candidate[]; cloned: Candidate[] } {
  const isNamed = (names: readonly string[]) => {
    const wanted = new Set(names);
    return ({ slug, tenantId }: Candidate) => wanted.has(slug) || wanted.has(tenantId);
  };
  const named = [...(tenants ?? []), ...clone];
  const known = new Set(candidates.flatMap(({ slug, tenantId }) => [slug, tenantId]));
  const unknown = [...new Set(named.filter((name) => !known.has(name)))];
  if (unknown.length > 0) throw isNoTarget(unknown);
  return {
    all: tenants === undefined ? [...candidates] : candidates.filter(isNamed(named)),
    cloned: candidates.filter(isNamed(clone)),
  };
}

function isNoTarget(names: readonly string[]): FleetError {
  return new FleetError({
    code: 'tenant_not_found',
    status: 404,
    message: `the rollout has no target left to run of ${names.join(', ')}`,
    fix: 'fleet rollout get ID -o json lists its targets',
    errors: names.map((name) => ({ path: name, message: 'no target that waits' })),
  });
}

function isUndo(id: string): FleetError {
  return new FleetError({
    code: 'undo_not_rehearsed',
    status: 409,
    message: `rollout ${id} takes back another one, and only what goes forward is rehearsed`,
    fix: `fleet rollout get ${id}`,
  });
}

function isActive(rolloutId: string, id: string): FleetError {
  return new FleetError({
    code: 'rehearsal_active',
    status: 409,
    message: `rehearsal ${id} of this rollout is not over`,
    fix: `wait for it: fleet api GET /api/v1/rollouts/${rolloutId}/rehearsals/${id}`,
  });
}

function hasNothing(id: string): FleetError {
  return new FleetError({
    code: 'nothing_to_rehearse',
    status: 409,
    message: `rollout ${id} has no target left to run`,
    fix: `fleet rollout get ${id}`,
  });
}
