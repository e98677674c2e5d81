import { FleetError } from '../../../platform/errors.ts';
import type { Asker } from '../../access/caller.ts';
import { auditAsked } from '../../audit/audit.ts';
import type { Transaction } from '../../registry/registry.ts';
import { lockPublishing } from '../../releases/store.ts';
import { findWithdrawn, type WithdrawnRecord } from '../../releases/withdrawn-store.ts';
import { lockLastRelease, releaseInUse, takeOut, type LastRelease } from '../../releases/withdrawn.ts';
import { lockActiveRollout, moveRollout } from '../store.ts';
import { skipPending } from '../target-store.ts';
import {
  birthsUnderWay,
  lockPlans,
  possibleBearers,
  targetsInFlight,
  type Bearer,
} from './withdraw-store.ts';

/**
 * Takes the newest release out of the list, with the migrations that are its own, as long as no database has any of
 * them or may have. Their names are free again, its own is not. Plans of it are aborted. Saying it twice is the same as
 * once. No start and no plan of the release goes on beside it: one of the two finds what the other has done.
 * @throws FleetError 404 `release_not_found`, 409 `release_not_last`, `release_current`, `release_in_use`,
 *   `rollout_active`, `targets_unsettled`
 */
export async function withdrawRelease(
  tx: Transaction,
  name: string,
  asker: Asker & { reason: string },
): Promise<WithdrawnRecord> {
  await lockPublishing(tx);
  const before = await findWithdrawn(tx, name);
  if (before !== undefined) return before;
  const release = await lockLastRelease(tx, name);
  await refuseActive(tx, name);
  await refuseUsed(tx, release);
  const plans = await abortPlans(tx, name, asker);
  await takeOut(tx, release, { by: asker.caller.name, reason: asker.reason });
  auditAsked(tx, asker, {
    action: 'release.withdraw',
    resource: `release:${name}`,
    before: { head: release.head, checksum: release.checksum, current: release.current },
    after: {
      migrations: release.own.map(({ name: own, checksum }) => ({ name: own, checksum })),
      aborted: plans,
    },
  });
  const withdrawn = await findWithdrawn(tx, name);
  if (withdrawn === undefined) throw new Error(`release ${name} has vanished`);
  return withdrawn;
}

async function refuseActive(tx: Transaction, name: string): Promise<void> {
  const active = await lockActiveRollout(tx);
  if (active?.release !== name) return;
  throw new FleetError({
    code: 'rollout_active',
    status: 409,
    message: `rollout ${active.id} of release ${name} is ${active.state}`,
    fix: `end it first: fleet rollout abort ${active.id}`,
  });
}

async function refuseUsed(tx: Transaction, { name, own }: LastRelease): Promise<void> {
  const names = own.map((migration) => migration.name);
  const inFlight = await targetsInFlight(tx, names);
  const [first] = inFlight;
  if (first !== undefined) {
    throw new FleetError({
      code: 'targets_unsettled',
      status: 409,
      message: `${inFlight.length} targets of release ${name} are still in flight or not settled`,
      fix: `wait until they have ended (fleet rollout get ${first.rollout} -w), then withdraw`,
    });
  }
  refuse(name, tenantsOf(await possibleBearers(tx, names)));
  refuse(name, await birthsUnderWay(tx, name));
}

function refuse(name: string, tenants: readonly string[]): void {
  if (tenants.length > 0) throw releaseInUse(name, { tenants, count: tenants.length });
}

function tenantsOf(bearers: readonly Bearer[]): string[] {
  return [...new Set(bearers.map(({ tenant }) => tenant))];
}

async function abortPlans(tx: Transaction, name: string, { caller, reason }: Asker): Promise<string[]> {
  const actor = caller.name;
  const message = `release ${name} was withdrawn by ${actor}: ${reason}`;
  const plans = await lockPlans(tx, name);
  for (const plan of plans) {
    await moveRollout(tx, plan, 'abort', { code: 'release_withdrawn', message, actor });
    await skipPending(tx, plan.id, 'aborted');
  }
  return plans.map(({ id }) => id);
}
