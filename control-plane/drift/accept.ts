import type { AcceptDrift } from '../../contract/drift.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Caller } from '../access/caller.ts';
import { audit } from '../audit/audit.ts';
import type { Transaction } from '../registry/registry.ts';
import { acceptDifference, lockDrift, type DriftRow } from './store.ts';

/**
 * Takes the difference of one tenant's database, as the last check found it, for intended: rollouts no longer refuse
 * the database while it differs in just this. It counts at later schema versions too, and ends when a check finds
 * the database as it should be.
 * @throws FleetError 409 `no_drift`, 409 `drift_changed` when the schema is another than the person has seen
 */
export async function acceptDrift(
  tx: Transaction,
  tenant: Pick<Tenant, 'id' | 'slug' | 'region'>,
  request: AcceptDrift & { caller: Caller; requestId: string },
): Promise<DriftRow> {
  const { reason, caller, requestId } = request;
  const drift = await lockDrift(tx, tenant.id);
  if (drift === undefined) throw noDrift(tenant.slug);
  const fingerprint = request.fingerprint ?? drift.fingerprint;
  const accepted = { databaseId: drift.databaseId, fingerprint, by: caller.name, reason };
  if (!(await acceptDifference(tx, accepted))) throw changedMeanwhile(tenant.slug);
  audit(tx, {
    actor: caller.name,
    actorRole: caller.role,
    action: 'drift.accept',
    resource: `tenant:${tenant.slug}`,
    region: tenant.region,
    before: { state: drift.state },
    after: { state: 'accepted', fingerprint, schemaVersion: drift.schemaVersion, changes: drift.changes },
    reason,
    requestId,
  });
  return (await lockDrift(tx, tenant.id)) ?? drift;
}

function noDrift(slug: string): FleetError {
  return new FleetError({
    code: 'no_drift',
    status: 409,
    message: `the last check found nothing in ${slug} that could be accepted`,
    fix: `fleet drift check --tenant ${slug} --wait`,
  });
}

function changedMeanwhile(slug: string): FleetError {
  return new FleetError({
    code: 'drift_changed',
    status: 409,
    message: `the schema of ${slug} has changed since you saw it`,
    fix: `fleet drift list --tenant ${slug} --diff`,
  });
}
