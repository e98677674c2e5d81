import { randomUUID } from 'node:crypto';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { durationSeconds } from '../../../contract/duration.ts';
import { RolloutSpec } from '../../../contract/rollout.ts';
import type { Lease } from '../../../control-plane/operations/lease.ts';
import type { Registry } from '../../../control-plane/registry/registry.ts';
import { openGates } from '../../../control-plane/rollouts/gates/run.ts';
import type { SourceDeps } from '../../../control-plane/rollouts/gates/source.ts';
import { databaseNames } from '../../../control-plane/servers/database.ts';
import { takeLease } from '../../support/drive.ts';
import { freshRegistry, quietLogger } from '../../support/registry.ts';
import { accessTo, makeTestServer, type TenantDatabase } from '../releases/tenant-database.ts';

/** Tenants with real databases, and rollouts of them as rows: what gates see when a driver asks them. */
export interface GateFleet {
  registry: Registry;
  database(slug: string): TenantDatabase;
  /** A rollout of all tenants whose one wave was through ten minutes ago, unless `state` says otherwise. */
  rollout(
    gates: object,
    more?: { state?: 'running' | 'baking' | 'gating'; bake?: string },
  ): Promise<TestRollout>;
  /** Starts again, as another process would: another lease, nothing in memory. */
  reopen(rollout: TestRollout, deps?: Partial<SourceDeps>): Promise<OpenedGates>;
  drop(): Promise<void>;
}

export interface TestRollout {
  id: string;
  spec: RolloutSpec;
  wave: typeof WAVE & { bakeSeconds: number };
  /** When the wave's targets were through. */
  doneAt: Date;
}

export interface OpenedGates {
  gates: NonNullable<ReturnType<typeof openGates>>;
  lease: Lease;
  deps: SourceDeps;
}

const WAVE = { ordinal: 0, name: 'eu' };

export async function makeGateFleet(slugs: string[]): Promise<GateFleet> {
  const test = await freshRegistry();
  const { registry } = test;
  const server = await makeTestServer();
  const servers = accessTo(server);
  const serverId = randomUUID();
  await registry.query("INSERT INTO regions (name, jurisdiction, domain) VALUES ('eu', 'eu', 'eu.test')");
  await registry.query(
    `INSERT INTO servers (id, name, region, provider, mode, state, host, port, tls, admin_user, admin_database,
                          max_databases, max_connections, server_version)
     VALUES ($1, 'eu-1', 'eu', 'postgres', 'shared', 'ready', $2, $3, 'disable', $4, 'postgres', 1000, 1000, 180000)`,
    [serverId, server.admin.host, server.admin.port, server.admin.user],
  );
  await registry.query(
    "INSERT INTO migrations (name, ordinal, checksum, up_sql, phase, transactional) VALUES ('m', 1, 'c', '', 'expand', true)",
  );
  await registry.query(
    "INSERT INTO releases (name, head, head_ordinal, checksum, published_by) VALUES ('r1', 'm', 1, 'c', 'test')",
  );
  const databases = new Map<string, TenantDatabase>();
  for (const slug of slugs) {
    const made = await server.makeDatabase();
    databases.set(slug, made);
    await insertTenant(registry, { slug, serverId, made });
  }
  return {
    registry,
    database: (slug) => {
      const found = databases.get(slug);
      if (found === undefined) throw new Error(`no tenant ${slug}`);
      return found;
    },
    rollout: (gates, more = {}) => insertRollout(registry, gates, more),
    reopen: async (rollout, more = {}) => {
      const lease = await takeLease(registry, `rollout:${rollout.id}`);
      const deps: SourceDeps = { registry, servers, logger: quietLogger, ...more };
      const gates = openGates(deps, { rolloutId: rollout.id, spec: rollout.spec, lease }, rollout.wave);
      if (gates === undefined) throw new Error('the wave has no gates');
      return { gates, lease, deps };
    },
    drop: async () => {
      await servers.close();
      await test.drop();
      await server.drop();
    },
  };
}

async function insertTenant(
  registry: Registry,
  { slug, serverId, made }: { slug: string; serverId: string; made: TenantDatabase },
): Promise<void> {
  const [tenantId, id] = [randomUUID(), randomUUID()];
  await registry.query(
    "INSERT INTO tenants (id, slug, name, tier, region, state) VALUES ($1, $2, $2, 'standard', 'eu', 'active')",
    [tenantId, slug],
  );
  const { rwRole, loginA, loginB } = databaseNames(id);
  await registry.query(
    `INSERT INTO databases (id, tenant_id, server_id, name, owner_role, rw_role, login_a, login_b, state,
                            connection_limit)
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'ready', 10)`,
    [id, tenantId, serverId, made.address.database, made.ownerRole, rwRole, loginA, loginB],
  );
}

/** Ten minutes ago: what is measured a while after it is still in the past. */
const DONE_AT = "date_trunc('milliseconds', now()) - interval '10 minutes'";

/** The registry has one active rollout at a time: those of earlier tests are over. */
async function insertRollout(
  registry: Registry,
  gates: object,
  { state = 'gating', bake }: { state?: string; bake?: string },
): Promise<TestRollout> {
  const id = randomUUID();
  const waves = [{ name: WAVE.name, gates: Object.keys(gates), ...(bake === undefined ? {} : { bake }) }];
  const spec = RolloutSpec.parse({ release: 'r1', gates, waves });
  await registry.query("UPDATE rollouts SET state = 'aborted', finished_at = now() WHERE state = 'running'");
  await registry.query(
    `INSERT INTO rollouts (id, release, state, spec, author, started_at)
     VALUES ($1, 'r1', 'running', $2, 'test', now() - interval '11 minutes')`,
    [id, JSON.stringify(spec)],
  );
  const { rows } = await registry.query<{ doneAt: Date }>(
    `INSERT INTO rollout_waves (rollout_id, ordinal, name, state, parallel, per_server, budget, started_at, done_at)
     VALUES ($1, 0, $2, $3, 1, 1, '{}', now() - interval '11 minutes',
             CASE WHEN $3 <> 'running' THEN ${DONE_AT} END)
     RETURNING ${DONE_AT} AS "doneAt"`,
    [id, WAVE.name, state],
  );
  await registry.query(
    `INSERT INTO rollout_targets (rollout_id, tenant_id, database_id, server_id, wave, ordinal, state, missing,
                                  started_at, finished_at)
     SELECT $1, t.id, d.id, d.server_id, 0, row_number() OVER (ORDER BY t.slug), 'verified', '[]',
            ${DONE_AT} - interval '30 seconds', ${DONE_AT} - interval '1 second'
       FROM databases d JOIN tenants t ON t.id = d.tenant_id`,
    [id],
  );
  const wave = { ...WAVE, bakeSeconds: durationSeconds(bake) };
  return { id, spec, wave, doneAt: rows[0]?.doneAt ?? new Date() };
}

/** An HTTP server of somebody else's, for the time of a test file. */
export async function serve(handle: RequestListener): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
