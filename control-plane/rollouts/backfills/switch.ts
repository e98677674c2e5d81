import type { SwitchBackfills } from '../../../contract/backfill.ts';
import { requireFleetWide, requireRegion, type Asker } from '../../access/caller.ts';
import { audit } from '../../audit/audit.ts';
import { wake } from '../../operations/driver.ts';
import type { Transaction } from '../../registry/registry.ts';
import { serverNotFound } from '../../servers/server.ts';
import { findServer } from '../../servers/store.ts';
import { findTenant } from '../../tenants/store.ts';
import { tenantNotFound } from '../../tenants/tenant.ts';
import { touchRollout } from '../store.ts';
import { recallHeld, switchOff, switchOn, type SwitchSubject } from './store.ts';

/**
 * Holds the backfills of the fleet, a server or a tenant behind the chunk in hand, or lets them go on. Doing it
 * again changes nothing but the reason.
 * @throws FleetError 404 `server_not_found`, `tenant_not_found`; 403 `region_forbidden`
 */
export async function switchBackfills(tx: Transaction, request: SwitchBackfills & Asker): Promise<void> {
  const { on, reason, caller, requestId } = request;
  const { subject, resource, region } = await find(tx, request);
  const changed = on
    ? await switchOn(tx, subject)
    : await switchOff(tx, subject, { reason: reason ?? '', by: caller.name });
  if (on && !changed) return;
  if (on) await wakeHeld(tx);
  audit(tx, {
    actor: caller.name,
    actorRole: caller.role,
    action: on ? 'backfill.release' : 'backfill.hold',
    resource,
    region,
    after: { on },
    reason: reason ?? null,
    requestId,
  });
}

/** Those that something else still holds say so again. */
async function wakeHeld(tx: Transaction): Promise<void> {
  for (const id of await recallHeld(tx)) {
    await touchRollout(tx, id);
    await wake(tx, 'rollout', id);
  }
}

interface Found {
  subject: SwitchSubject;
  resource: string;
  /** Null where it is every region's. */
  region: string | null;
}

async function find(tx: Transaction, { scope, name = '', caller }: SwitchBackfills & Asker): Promise<Found> {
  if (scope === 'fleet') {
    requireFleetWide(caller, 'the switch of all backfills');
    return { subject: { serverId: null, tenantId: null }, resource: 'fleet', region: null };
  }
  if (scope === 'server') {
    const server = await findServer(tx, name);
    if (server === undefined) throw serverNotFound(name);
    requireRegion(caller, server.region);
    return {
      subject: { serverId: server.id, tenantId: null },
      resource: `server:${server.name}`,
      region: server.region,
    };
  }
  const tenant = await findTenant(tx, name);
  if (tenant === undefined) throw tenantNotFound(name);
  requireRegion(caller, tenant.region);
  return {
    subject: { serverId: null, tenantId: tenant.id },
    resource: `tenant:${tenant.slug}`,
    region: tenant.region,
  };
}
