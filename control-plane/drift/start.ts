import type { Match } from '../../contract/rollout.ts';
import { requireRegion, visibleRegions, type Caller } from '../access/caller.ts';
import { audit } from '../audit/audit.ts';
import { wake } from '../operations/driver.ts';
import type { Transaction } from '../registry/registry.ts';
import { insertCheck } from './check-store.ts';

/**
 * Queues a check of the tenants that `match` takes, within the caller's regions.
 * @throws FleetError 403 `region_forbidden` when `match` names a region that is not the caller's
 */
export async function startDriftCheck(
  tx: Transaction,
  request: { id: string; match: Match; caller: Caller; requestId: string | null },
): Promise<void> {
  const { id, match, caller, requestId } = request;
  for (const region of [match.region ?? []].flat()) requireRegion(caller, region);
  const regions = visibleRegions(caller);
  await insertCheck(tx, { id, match, regions, actor: caller.name });
  audit(tx, {
    actor: caller.name,
    actorRole: caller.role,
    action: 'drift.check',
    resource: `drift:${id}`,
    after: { match, regions },
    requestId,
  });
  await wake(tx, 'drift', id);
}
