import { FleetError } from '../../../platform/errors.ts';
import { visibleRegions, type Asker } from '../../access/caller.ts';
import { auditAsked } from '../../audit/audit.ts';
import type { Transaction } from '../../registry/registry.ts';
import type { RolloutRecord } from '../store.ts';
import { failingRehearsals } from './store.ts';

/** Tenants named in a refusal; the rest is counted. */
const TENANTS_NAMED = 20;

/**
 * Refuses a start where the last rehearsal of the release on a target's database has said that it would fail; or
 * remembers who wanted it all the same.
 * @throws FleetError 409 `rehearsal_failed` naming the tenants
 */
export async function refuseFailingRehearsal(
  tx: Transaction,
  { id, release }: Pick<RolloutRecord, 'id' | 'release'>,
  asker: Asker & { despiteRehearsal?: boolean | undefined },
): Promise<void> {
  const failing = await failingRehearsals(tx, release, id);
  if (failing.length === 0) return;
  const tenants = failing.map(({ tenant }) => tenant);
  if (asker.despiteRehearsal === true) {
    return auditAsked(tx, asker, {
      action: 'rollout.despite_rehearsal',
      resource: `rollout:${id}`,
      after: { failing: tenants },
    });
  }
  const regions = visibleRegions(asker.caller);
  throw wouldFail(
    { id, release },
    failing.filter(({ region }) => regions?.includes(region) ?? true),
    failing.length,
  );
}

type Failing = Pick<Awaited<ReturnType<typeof failingRehearsals>>[number], 'tenant' | 'error'>;

/** The refusal, with the first of those that the reader may see, of so many in all. */
export function wouldFail(
  { id, release }: Pick<RolloutRecord, 'id' | 'release'>,
  seen: readonly Failing[],
  count: number,
): FleetError {
  const shown = seen.slice(0, TENANTS_NAMED);
  const more = count - shown.length;
  return new FleetError({
    code: 'rehearsal_failed',
    status: 409,
    message: `release ${release} would fail on ${shown.map(({ tenant }) => tenant).join(', ')}${more > 0 ? ` and ${more} more` : ''}, as its last rehearsal there has shown`,
    fix: `mend them and rehearse again: fleet rollout rehearse ${id}; if the release is at fault: fleet release withdraw ${release}; or start all the same: --despite-rehearsal`,
    errors: shown.map(({ tenant, error }) => ({
      path: tenant,
      message: error?.message ?? 'would fail',
      code: error?.code,
    })),
  });
}
