import { randomUUID } from 'node:crypto';
import type { RotateSecret } from '../../contract/secret.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Asker } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import { wrongState } from '../http/conflict.ts';
import { startOperation } from '../operations/operation.ts';
import { findOpenOperation } from '../operations/store.ts';
import type { Transaction } from '../registry/registry.ts';
import { databaseSubject } from '../secrets/secret.ts';
import { findStaged } from '../secrets/store.ts';
import { findLiveDatabase } from '../servers/database-store.ts';
import { databaseNames } from '../servers/database.ts';
import { tenantToChange } from '../tenants/admit.ts';
import { tenantSubject } from '../tenants/tenant.ts';
import { rotateSecret, type RotateInput } from './rotate.ts';
import { countBehind } from './store.ts';

export interface StartedRotation {
  tenant: string;
  operationId: string;
  /** It was under way already. */
  joined: boolean;
}

/**
 * Starts to rotate a tenant's credential, or joins the rotation that is under way. A suspended tenant's logins let
 * nobody in, and an offboarding one's are about to go: theirs are not rotated.
 * @throws FleetError 409 `wrong_state`, `previous_in_use`, `operation_in_progress`
 */
export async function startRotateSecret(
  tx: Transaction,
  slugOrId: string,
  { now }: RotateSecret,
  asker: Asker,
): Promise<StartedRotation> {
  const tenant = await tenantToChange(tx, slugOrId, asker);
  const open = await findOpenOperation(tx, tenantSubject(tenant.id));
  // One that is to revoke at once cannot be had by joining one that waits for the apps.
  if (open?.kind === rotateSecret.kind && !now) {
    return { tenant: tenant.slug, operationId: open.id, joined: true };
  }
  const database = tenant.state === 'active' ? await findLiveDatabase(tx, tenant.id) : undefined;
  if (database === undefined) {
    throw wrongState({ noun: 'tenant', name: tenant.slug, state: tenant.state }, 'rotate', ['active']);
  }
  const subject = databaseSubject(database.id);
  const current = await findStaged(tx, subject, 'current');
  if (current === undefined) throw new Error(`database ${database.id} is served without a credential`);
  if (!now && (await findStaged(tx, subject, 'previous')) !== undefined) {
    throw previousInUse(tenant.slug, await countBehind(tx, tenant.id));
  }
  const { loginA, loginB } = databaseNames(database.id);
  const input: RotateInput = {
    tenantId: tenant.id,
    slug: tenant.slug,
    region: tenant.region,
    databaseId: database.id,
    serverId: database.serverId,
    connectionLimit: database.connectionLimit,
    versionId: randomUUID(),
    login: current.login === loginA ? loginB : loginA,
    before: { versionId: current.id, login: current.login },
    now,
  };
  const operationId = randomUUID();
  await startOperation(tx, {
    id: operationId,
    definition: rotateSecret,
    subject: tenantSubject(tenant.id),
    subjectName: tenant.slug,
    region: tenant.region,
    input,
    caller: asker.caller,
    requestId: asker.requestId,
  });
  auditAsked(tx, asker, {
    action: rotateSecret.kind,
    resource: `tenant:${tenant.slug}`,
    region: tenant.region,
    before: input.before,
    after: { versionId: input.versionId, login: input.login, now, operation: operationId },
  });
  return { tenant: tenant.slug, operationId, joined: false };
}

/** Its login is the one that the next version needs. */
function previousInUse(slug: string, behind: number): FleetError {
  const why =
    behind === 0
      ? 'sessions that were opened with it are still there'
      : `${behind} app ${behind === 1 ? 'instance has' : 'instances have'} not taken over the newer one yet`;
  return new FleetError({
    code: 'previous_in_use',
    status: 409,
    message: `the credential of ${slug} that was rotated out last may still be in use: ${why}`,
    fix: `wait (fleet secret get ${slug}), or revoke it at once: fleet secret rotate ${slug} --now`,
    retryable: true,
  });
}
