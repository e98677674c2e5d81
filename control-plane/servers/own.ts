import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { StepContext } from '../operations/definition.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { Transaction } from '../registry/registry.ts';
import { insertRdsServer } from './create.ts';
import { deleteInstance } from './delete.ts';
import { rdsProvider, requireRds, type RdsDeps } from './providers/rds.ts';
import { identifierOf, InstanceSpec, specOf } from './providers/rds/instance.ts';
import { ensureStarted, ensureStopped } from './providers/rds/lifecycle.ts';
import type { Rds } from './providers/rds/rds.ts';
import { tlsOf } from './providers/rds/reach.ts';
import { findInstance, setStopped, type InstanceRecord } from './providers/rds/store.ts';
import { admit, check, forgetServer, harden, RegistrationInput, unready } from './registration.ts';
import { retireServer } from './retire.ts';
import { findServer, setEndpoint } from './store.ts';

/**
 * A dedicated server that is made on RDS with its tenant, and stops, starts and goes with it. All of it belongs to the
 * tenant's own operations: whichever of them dies, the next owner finds what there is, and no server stays alone.
 */
export const OwnServer = RegistrationInput.extend({
  masterVersionId: z.uuid(),
  tenantId: z.uuid(),
  identifier: z.string(),
  spec: InstanceSpec,
});
export type OwnServer = z.infer<typeof OwnServer>;

type Context = StepContext<unknown>;

/** One tenant alone takes what PostgreSQL gives there; lowered to that when it is known. */
const MAX_CONNECTIONS = 10_000;

/** What the server will be, with all ids. @throws FleetError `rds_not_configured`, `bad_instance_name` */
export function planOwnServer(rds: Rds, tenant: { id: string; slug: string; region: string }): OwnServer {
  const name = `tenant-${tenant.slug}`;
  return {
    ...{ serverId: randomUUID(), adminVersionId: randomUUID(), migratorVersionId: randomUUID() },
    ...{
      masterVersionId: randomUUID(),
      tenantId: tenant.id,
      tenant: tenant.slug,
      name,
      region: tenant.region,
    },
    identifier: identifierOf(rds.fleet, name),
    spec: specOf(rds.siteOf(tenant.region), {}),
  };
}

/** Its row in the registry, where it is not there yet. */
export async function registerOwnServer(
  tx: Transaction,
  rds: Rds | undefined,
  own: OwnServer,
): Promise<void> {
  if ((await findServer(tx, own.serverId)) !== undefined) return;
  const { identifier, spec, tenantId } = own;
  const server = {
    id: own.serverId,
    name: own.name,
    region: own.region,
    provider: 'rds',
    mode: 'dedicated',
  } as const;
  const tls = tlsOf(requireRds({ rds }, own.region));
  await insertRdsServer(
    tx,
    { ...server, tls, maxConnections: MAX_CONNECTIONS },
    { identifier, spec, tenantId, adopted: false },
  );
}

/** The inverse, once its instance is gone. Where databases are on record there, the row stays as history. */
export async function forgetOwnServer(tx: Transaction, deps: RdsDeps, own: OwnServer): Promise<void> {
  await forgetServer(tx, own, deps);
  await retireServer(tx, deps.secrets, own.serverId);
}

/** From the order at RDS to a server that takes databases. @throws WaitingError */
export async function makeOwnServer(outer: Context, deps: RdsDeps, own: OwnServer): Promise<void> {
  const context = { ...outer, input: own };
  const provider = providerOf(context, deps);
  const { host, port } = await provider.open();
  await context.transaction((tx) => setEndpoint(tx, own.serverId, { host, port }));
  const checked = await check(context, deps, provider);
  context.signal.throwIfAborted();
  const hardened = await harden(context, deps, provider, checked);
  await admit(context, checked, hardened);
}

/** Its tenant's reservation still holds the room there, so that nobody else is placed meanwhile. @throws WaitingError */
export async function unmakeOwnServer(outer: Context, deps: RdsDeps, own: OwnServer): Promise<void> {
  const context = { ...outer, input: own };
  await unready(context, 1);
  await providerOf(context, deps).discard();
}

function providerOf({ input, transaction }: StepContext<OwnServer>, deps: RdsDeps) {
  return rdsProvider(deps, input, transaction);
}

interface Owned {
  tenantId: string;
  serverId: string;
}

/** Stops the tenant's own server; nothing for a tenant without one. @throws WaitingError */
export async function stopOwnServer(context: Context, deps: RdsDeps, owned: Owned): Promise<void> {
  await onOwn(context, deps, owned, async ({ instances, place }) => {
    // Before the deed: what is about to be silent is not called unreachable.
    await context.transaction((tx) => setStopped(tx, owned.serverId, true));
    await ensureStopped(instances, owned.serverId, place);
  });
}

/** Starts it again. @throws WaitingError */
export async function startOwnServer(context: Context, deps: RdsDeps, owned: Owned): Promise<void> {
  await onOwn(context, deps, owned, async ({ instances, place }) => {
    await ensureStarted(instances, owned.serverId, place);
    await context.transaction((tx) => setStopped(tx, owned.serverId, false));
  });
}

/** Deletes it with a final snapshot, databases included, and takes it out of the fleet. @throws WaitingError */
export async function removeOwnServer(context: Context, deps: RdsDeps, owned: Owned): Promise<void> {
  await onOwn(context, deps, owned, async ({ place }) => {
    await deleteInstance(deps, { serverId: owned.serverId, region: place.region });
    await context.transaction((tx) => retireServer(tx, deps.secrets, owned.serverId));
  });
}

async function onOwn(
  context: Context,
  deps: RdsDeps,
  owned: Owned,
  work: (own: {
    instances: Rds['instances'];
    place: { region: string; identifier: string };
  }) => Promise<void>,
): Promise<void> {
  const record = await findOwn(deps.registry, owned);
  const server = record === undefined ? undefined : await findServer(deps.registry, owned.serverId);
  if (record === undefined || server === undefined || server.state === 'retired') return;
  context.signal.throwIfAborted();
  const { instances } = requireRds(deps, server.region);
  await work({ instances, place: { region: server.region, identifier: record.identifier } });
}

async function findOwn(db: Queryable, { serverId, tenantId }: Owned): Promise<InstanceRecord | undefined> {
  const record = await findInstance(db, serverId);
  return record?.tenantId === tenantId ? record : undefined;
}
