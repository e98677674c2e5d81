import { FleetError } from '../../../platform/errors.ts';
import type { PgAddress } from '../../../platform/pg.ts';
import type { Registry, Transaction } from '../../registry/registry.ts';
import type { Secrets } from '../../secrets/secret.ts';
import { verifyAdmin } from '../admin.ts';
import { SERVER_UNREACHABLE } from '../inspect.ts';
import { serverNotFound, serverSubject } from '../server.ts';
import type { Provider } from './provider.ts';
import { MASTER_USER, tagsOf, type Instance } from './rds/instance.ts';
import { ensureInstance, removeInstance } from './rds/lifecycle.ts';
import { reach } from './rds/reach.ts';
import { rdsNotConfigured, type Rds } from './rds/rds.ts';
import { findInstance, type InstanceRecord } from './rds/store.ts';
import { waiting } from './rds/waiting.ts';

export interface RdsDeps {
  registry: Registry;
  secrets: Secrets;
  /** Undefined where no region has a site on RDS. */
  rds?: Rds | undefined;
}

/** A server that is made on RDS. */
export interface RdsServer {
  serverId: string;
  region: string;
  /** Version of the master's password. */
  masterVersionId: string;
}

/**
 * An instance on RDS. The master's password is a secret version, stored before RDS learns of it, so that a repeated
 * step sets the same one. Both functions wait durably: they throw WaitingErrors until RDS has done it.
 */
export function rdsProvider(
  deps: RdsDeps,
  server: RdsServer,
  transaction: <T>(work: (tx: Transaction) => Promise<T>) => Promise<T>,
): Provider {
  return {
    open: async () => {
      const rds = requireRds(deps, server.region);
      const record = await requireRecord(deps, server.serverId);
      const password = await masterPassword(deps, server, transaction);
      const instance = await ensureInstance(rds.instances, server.serverId, {
        region: server.region,
        identifier: record.identifier,
        spec: record.spec,
        tags: tagsOf(rds.fleet, { ...server, tenantId: record.tenantId }),
        password,
      });
      const address = await reach(rds, instance, { user: MASTER_USER, password });
      await requireAnswer(instance, address);
      return address;
    },
    // Nothing was in it yet: it goes without a snapshot.
    discard: async () => {
      const record = await findInstance(deps.registry, server.serverId);
      if (record === undefined) return;
      const { instances } = requireRds(deps, server.region);
      const place = { region: server.region, identifier: record.identifier };
      await removeInstance(instances, server.serverId, place, null);
    },
  };
}

/** A new instance's name is not known everywhere at once. What lies between may be wrong too: the wait says so. */
async function requireAnswer({ identifier }: Instance, address: PgAddress): Promise<void> {
  try {
    await verifyAdmin(address);
  } catch (error) {
    if (!(error instanceof FleetError) || error.code !== SERVER_UNREACHABLE) throw error;
    throw waiting(`instance ${identifier} is there, but ${error.message}`);
  }
}

/** @throws FleetError 409 `rds_not_configured` */
export function requireRds({ rds }: Pick<RdsDeps, 'rds'>, region: string): Rds {
  if (rds === undefined) throw rdsNotConfigured(region);
  return rds;
}

async function requireRecord({ registry }: RdsDeps, serverId: string): Promise<InstanceRecord> {
  const record = await findInstance(registry, serverId);
  if (record === undefined) throw serverNotFound(serverId);
  return record;
}

/** The credential is the server's own from the start: on RDS the master administers it, there is no superuser. */
async function masterPassword(
  { registry, secrets }: RdsDeps,
  { serverId, region, masterVersionId: id }: RdsServer,
  transaction: <T>(work: (tx: Transaction) => Promise<T>) => Promise<T>,
): Promise<string> {
  const subject = serverSubject(serverId);
  await transaction(async (tx) => {
    await secrets.createVersion(tx, { id, owner: subject, subject, region, login: MASTER_USER });
    await secrets.promote(tx, id);
  });
  return secrets.password(registry, id);
}
