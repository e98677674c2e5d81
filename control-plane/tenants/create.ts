import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { Tier, type CreateTenant, type PlacementReport } from '../../contract/tenant.ts';
import { scramVerifier } from '../../platform/crypto.ts';
import { FleetError, SQLSTATE, sqlState } from '../../platform/errors.ts';
import { withClient } from '../../platform/pg.ts';
import { requireRegion, type Asker } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import type { OperationDefinition, StepContext } from '../operations/definition.ts';
import { startOperation } from '../operations/operation.ts';
import { markDatabaseReady, markDatabaseReserved, releaseReservation } from '../servers/database-store.ts';
import { databaseNames } from '../servers/database.ts';
import {
  forgetOwnServer,
  makeOwnServer,
  OwnServer,
  planOwnServer,
  registerOwnServer,
  unmakeOwnServer,
} from '../servers/own.ts';
import { NO_ROOM, reserveDatabase, reserveOn } from '../servers/reserve.ts';
import { databaseSubject } from '../secrets/secret.ts';
import { requireKnownRegion } from '../servers/region.ts';
import { STAMP_SQL, toStamp, type SchemaStamp } from '../releases/stamp.ts';
import { ensureTemplate } from '../releases/template.ts';
import type { Transaction } from '../registry/registry.ts';
import { joinFleet } from './catch-up.ts';
import type { TenantDeps } from './deps.ts';
import { claimDomains } from './domains.ts';
import { hardeningSql } from './hardening.ts';
import { checkLogin } from './login-check.ts';
import { createDatabase, dropDatabase } from './physical-database.ts';
import { createRoles, dropRoles } from './roles.ts';
import { insertTenant, lockState, moveTenant, savePlacement } from './store.ts';
import { requireTransition, tenantSubject, transition } from './tenant.ts';

const Input = z.object({
  tenantId: z.uuid(),
  slug: z.string(),
  region: z.string(),
  tier: Tier,
  databaseId: z.uuid(),
  secretVersionId: z.uuid(),
  /** Made with the tenant, where no other has room. */
  server: OwnServer.optional(),
});
type Input = z.infer<typeof Input>;
type Context = StepContext<Input>;

/** From nothing to a tenant that is served. Cancelled or failed, it leaves nothing on the server. */
export const createTenant: OperationDefinition<Input, TenantDeps> = {
  kind: 'tenant.create',
  input: Input,
  cancellable: true,
  steps: [
    { name: 'reserve', do: reserve, undo: release },
    { name: 'server', do: makeServer, undo: unmakeServer },
    { name: 'secret', do: makeSecret, undo: destroySecret },
    { name: 'roles', do: makeRoles, undo: removeRoles },
    { name: 'database', do: makeDatabase, undo: removeDatabase },
    { name: 'harden', do: harden },
    { name: 'verify', do: verify },
    { name: 'activate', do: activate, undo: withdraw },
  ],
  unwound: async (tx, input, end) => {
    const state = await lockState(tx, input.tenantId);
    // A tenant that is gone, or went on to be deleted, has no failure to tell of.
    if (state === undefined || transition(state, 'fail') === undefined) return;
    await moveTenant(tx, input.tenantId, state, 'fail', end.error);
  },
  retried: async (tx, input) => {
    const state = await lockState(tx, input.tenantId);
    if (state === undefined) throw new Error(`tenant ${input.tenantId} has no row`);
    requireTransition({ slug: input.slug, state }, 'retry');
    if (input.server !== undefined) throw ownServerGone(input.slug);
    await moveTenant(tx, input.tenantId, state, 'retry');
  },
};

/** The ids of the server and its credential are those of the attempt, and stand for what was destroyed. */
function ownServerGone(slug: string): FleetError {
  return new FleetError({
    code: 'not_retryable',
    status: 409,
    message: `the server that was ordered for ${slug} was given back, its credential and key included`,
    fix: `fleet tenant delete ${slug}, then create it anew`,
  });
}

/**
 * Accepts a new tenant: the name, the hosts and the room for its database are taken in `tx`, which also starts
 * the operation that makes the rest. Returns the ids of the operation and the tenant.
 * @throws FleetError `region_not_found`, `region_forbidden`, `slug_taken`, `domain_taken`, `domain_reserved`,
 *   `no_room`: then nothing at all is left, as `tx` rolls back
 */
export async function startCreateTenant(
  tx: Transaction,
  body: CreateTenant,
  asker: Asker,
  deps: Pick<TenantDeps, 'rds'> = {},
): Promise<{ operationId: string; tenantId: string }> {
  const { caller, requestId } = asker;
  requireRegion(caller, body.region);
  await requireKnownRegion(tx, body.region);
  const [operationId, tenantId, databaseId] = [randomUUID(), randomUUID(), randomUUID()];
  const { slug, region, tier } = body;
  await insert(tx, tenantId, body);
  const { report, server } = await place(tx, { databaseId, tenantId, slug, region, tier }, deps);
  await savePlacement(tx, tenantId, report);
  await startOperation(tx, {
    id: operationId,
    definition: createTenant,
    subject: tenantSubject(tenantId),
    subjectName: slug,
    region,
    input: {
      tenantId,
      slug,
      region,
      tier,
      databaseId,
      server,
      secretVersionId: randomUUID(),
    } satisfies Input,
    caller,
    requestId,
  });
  auditAsked(tx, asker, {
    action: 'tenant.create',
    resource: `tenant:${slug}`,
    region,
    after: { ...body, id: tenantId, server: report.server, operation: operationId },
  });
  return { operationId, tenantId };
}

type Wanted = Pick<Input, 'tenantId' | 'databaseId' | 'slug' | 'region' | 'tier'>;

/** Takes room for the database: an enterprise tenant gets a server of its own where none is free and RDS can make one. */
async function place(
  tx: Transaction,
  wanted: Wanted,
  { rds }: Pick<TenantDeps, 'rds'>,
): Promise<{ report: PlacementReport; server?: OwnServer }> {
  try {
    return { report: (await reserveDatabase(tx, wanted)).report };
  } catch (error) {
    const isFull = error instanceof FleetError && error.code === NO_ROOM;
    if (!isFull || wanted.tier !== 'enterprise' || rds?.hasSite(wanted.region) !== true) throw error;
    const server = planOwnServer(rds, { id: wanted.tenantId, slug: wanted.slug, region: wanted.region });
    await registerOwnServer(tx, rds, server);
    return { report: (await reserveOn(tx, wanted, server)).report, server };
  }
}

async function insert(tx: Transaction, id: string, body: CreateTenant): Promise<void> {
  const inserted = await insertTenant(tx, {
    id,
    slug: body.slug,
    name: body.name ?? body.slug,
    tier: body.tier,
    region: body.region,
    labels: body.labels,
    contact: body.contact ?? null,
    crmRef: body.crmRef ?? null,
  });
  if (!inserted) {
    throw new FleetError({
      code: 'slug_taken',
      status: 409,
      message: `there is already a tenant ${body.slug}`,
      fix: 'choose another slug, or delete that tenant first',
    });
  }
  await claimDomains(tx, id, body.domains);
}

const Reserved = z.object({ serverId: z.uuid(), connectionLimit: z.number().int() });
const Made = z.object({ schemaVersion: z.string().nullable() });

/** The request has reserved already; a retry after an undo reserves anew, perhaps elsewhere. */
async function reserve(context: Context, deps: TenantDeps): Promise<z.infer<typeof Reserved>> {
  const { server } = context.input;
  return context.transaction(async (tx) => {
    if (server !== undefined) await registerOwnServer(tx, deps.rds, server);
    const { database, report } =
      server === undefined
        ? await reserveDatabase(tx, context.input)
        : await reserveOn(tx, context.input, server);
    // Found again, the first report stands: it knows the other servers.
    if (report.considered.length > 0) await savePlacement(tx, context.input.tenantId, report);
    return { serverId: database.serverId, connectionLimit: database.connectionLimit };
  });
}

async function release(context: Context, deps: TenantDeps): Promise<void> {
  const { databaseId, server } = context.input;
  await context.transaction(async (tx) => {
    await releaseReservation(tx, databaseId);
    if (server !== undefined) await forgetOwnServer(tx, deps, server);
  });
}

async function makeServer(context: Context, deps: TenantDeps): Promise<void> {
  const { server } = context.input;
  if (server !== undefined) await makeOwnServer(context, deps, server);
}

async function unmakeServer(context: Context, deps: TenantDeps): Promise<void> {
  const { server } = context.input;
  if (server !== undefined) await unmakeOwnServer(context, deps, server);
}

async function makeSecret(context: Context, deps: TenantDeps): Promise<void> {
  const { tenantId, databaseId, region, secretVersionId } = context.input;
  await context.transaction((tx) =>
    deps.secrets.createVersion(tx, {
      id: secretVersionId,
      owner: tenantSubject(tenantId),
      subject: databaseSubject(databaseId),
      region,
      login: databaseNames(databaseId).loginA,
    }),
  );
}

async function destroySecret(context: Context, deps: TenantDeps): Promise<void> {
  await context.transaction((tx) => deps.secrets.destroyVersion(tx, context.input.secretVersionId));
}

async function makeRoles(context: Context, deps: TenantDeps): Promise<void> {
  const { serverId, connectionLimit } = context.output('reserve', Reserved);
  const password = await deps.secrets.password(deps.registry, context.input.secretVersionId);
  const verifier = scramVerifier(password);
  await deps.servers.makeMigrators(serverId, (migratorVerifier) => {
    context.signal.throwIfAborted();
    return deps.servers.admin(serverId, (admin) =>
      createRoles(admin, databaseNames(context.input.databaseId), {
        ...{ verifier, migratorVerifier, connectionLimit },
      }),
    );
  });
}

async function removeRoles(context: Context, deps: TenantDeps): Promise<void> {
  const { serverId } = context.output('reserve', Reserved);
  await deps.servers.admin(serverId, (admin) => dropRoles(admin, databaseNames(context.input.databaseId)));
}

async function makeDatabase(context: Context, deps: TenantDeps): Promise<z.infer<typeof Made>> {
  const { serverId, connectionLimit } = context.output('reserve', Reserved);
  const names = databaseNames(context.input.databaseId);
  for (let tries = 1; ; tries += 1) {
    const { template, schemaVersion } = await ensureTemplate(deps, serverId);
    context.signal.throwIfAborted();
    try {
      await deps.servers.admin(serverId, (admin) =>
        createDatabase(admin, names, { template, connectionLimit }),
      );
      return { schemaVersion };
    } catch (error) {
      // A newer release has just replaced the template.
      if (sqlState(error) !== SQLSTATE.invalidCatalogName || tries === TEMPLATE_TRIES) throw error;
    }
  }
}

/** Releases do not follow each other that fast; more misses than this are a fault. */
const TEMPLATE_TRIES = 3;

async function removeDatabase(context: Context, deps: TenantDeps): Promise<void> {
  const { serverId } = context.output('reserve', Reserved);
  await deps.servers.admin(serverId, (admin) =>
    dropDatabase(admin, databaseNames(context.input.databaseId).name),
  );
}

const Hardened = z.object({ stamp: z.custom<SchemaStamp>().nullable() }).nullish();

/**
 * What it changes goes with the database, so there is nothing to undo. Nobody else has been there yet: the schema is
 * the template's, and its stamp spares the first rollout to read it.
 */
async function harden(context: Context, deps: TenantDeps): Promise<z.infer<typeof Hardened>> {
  const { serverId } = context.output('reserve', Reserved);
  const names = databaseNames(context.input.databaseId);
  const address = await deps.servers.address(serverId, names.name);
  context.signal.throwIfAborted();
  return withClient(address, { applicationName: `fleet:${context.operationId}` }, async (client) => {
    // The driver answers a script with an array, which its types do not say.
    const results: unknown = await client.query(`${hardeningSql(names, context.input)} ${STAMP_SQL}`);
    const stamp = (results as { rows: Record<string, unknown>[] }[]).at(-1)?.rows[0];
    return { stamp: toStamp(stamp, context.output('database', Made).schemaVersion) };
  });
}

async function verify(context: Context, deps: TenantDeps): Promise<void> {
  const { serverId } = context.output('reserve', Reserved);
  const names = databaseNames(context.input.databaseId);
  const [address, password] = await Promise.all([
    deps.servers.address(serverId, names.name),
    deps.secrets.password(deps.registry, context.input.secretVersionId),
  ]);
  const asLogin = { ...address, user: names.loginA, password };
  const expected = { names, login: names.loginA, marker: context.input };
  await checkLogin(asLogin, expected, `fleet:${context.operationId}`);
}

/** From its commit on the route feed knows the tenant. */
async function activate(context: Context, deps: TenantDeps): Promise<z.infer<typeof Made>> {
  const { tenantId, databaseId, secretVersionId } = context.input;
  const { serverId } = context.output('reserve', Reserved);
  const born = context.output('database', Made).schemaVersion;
  const stamp = context.output('harden', Hardened)?.stamp;
  const place = { serverId, ...databaseNames(databaseId) };
  const schemaVersion = await joinFleet(context, deps, place, born, async (tx, version) => {
    await deps.secrets.promote(tx, secretVersionId);
    await markDatabaseReady(tx, databaseId, version, version === born ? stamp : null);
    await moveTenant(tx, tenantId, 'provisioning', 'activate');
  });
  return { schemaVersion };
}

/** Only for a cancel that came when the tenant was active but the step not yet stored as done. */
async function withdraw(context: Context): Promise<void> {
  const { tenantId, databaseId } = context.input;
  await context.transaction(async (tx) => {
    const state = await lockState(tx, tenantId);
    // Not active: the step had no effect, and there is nothing to undo.
    if (state === undefined || transition(state, 'withdraw') === undefined) return;
    await moveTenant(tx, tenantId, state, 'withdraw');
    await markDatabaseReserved(tx, databaseId);
  });
}
