import { Agent, createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomBytes, randomUUID } from 'node:crypto';
import { createKey } from '../../control-plane/access/keys.ts';
import { createHttpApp } from '../../control-plane/http/app.ts';
import type { Registry } from '../../control-plane/registry/registry.ts';
import { routeRoutes } from '../../control-plane/routes/http.ts';
import { createSecrets } from '../../control-plane/secrets/secret.ts';
import { startChild, type Child } from '../support/child.ts';
import { freshRegistry, quietLogger } from '../support/registry.ts';
import { note } from './report.ts';
import type { Loaded } from './routes-server.ts';
import { median, quantile } from './statistics.ts';

const ROUTES = 100_000;
const RUNS = 3;
const CHANGES = 200;
const LOAD_BUDGET_MS = 3_000;
const CHANGE_BUDGET_MS = 100;
/** A change that has no effect after 5 s is lost. */
const LOST_MS = 5_000;

/** 100,000 routes into a tenant app through the real feed; then one change at a time, from commit to effect. */
export async function benchRoutes(): Promise<void> {
  const test = await freshRegistry();
  const http = createServer(controlPlaneOf(test.registry));
  const children: Child[] = [];
  try {
    await fill(test.registry);
    const key = { name: 'app-eu', kind: 'app' as const, role: 'app' as const, regions: ['eu'] };
    const { token } = await test.registry.transaction((tx) => createKey(tx, key));
    const controlPlane = await listen(http);
    const loads: Loaded[] = [];
    for (let run = 0; run < RUNS; run += 1) {
      await Promise.all(children.splice(0).map((child) => child.kill('SIGKILL')));
      const env = { BENCH_CONTROL_PLANE: controlPlane, BENCH_TOKEN: token };
      const child = startChild('test/bench/routes-server.ts', [], env);
      children.push(child);
      loads.push(JSON.parse(await child.line((text) => text.startsWith('{'))) as Loaded);
    }
    const last = loads.at(-1);
    if (last?.routes !== ROUTES) throw new Error(`${last?.routes ?? 0} routes were loaded`);
    tell(loads, await changes(test.registry, last.url));
  } finally {
    await Promise.all(children.map((child) => child.kill('SIGKILL')));
    http.closeAllConnections();
    http.close();
    await test.drop();
  }
}

function controlPlaneOf(registry: Registry) {
  const deps = { registry, secrets: createSecrets(randomBytes(32)), logger: quietLogger };
  return createHttpApp({
    registry,
    logger: quietLogger,
    slices: [routeRoutes(deps)],
    ready: () => Promise.resolve([]),
  });
}

function listen(server: Server): Promise<string> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () =>
      resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    );
  });
}

/** What 100,000 creations would leave. Triggers are off: one change each is what they would write, too. */
async function fill(registry: Registry): Promise<void> {
  const server = randomUUID();
  await registry.transaction(async (tx) => {
    await tx.query("SET LOCAL session_replication_role = 'replica'");
    await tx.query(
      "INSERT INTO regions (name, jurisdiction, domain, app_url) VALUES ('eu', 'eu', 'eu.localhost', 'http://eu.test')",
    );
    await tx.query(
      `INSERT INTO servers (id, name, region, provider, mode, state, host, port, tls, admin_user, admin_database,
                            max_databases, max_connections)
       VALUES ($1, 'eu-1', 'eu', 'postgres', 'shared', 'ready', 'localhost', 5432, 'disable', 'admin', 'postgres',
               200000, 10000)`,
      [server],
    );
    await tx.query(
      `INSERT INTO tenants (id, slug, name, tier, region, state)
       SELECT gen_random_uuid(), 'tenant-' || n, 'Tenant ' || n, 'standard', 'eu', 'suspended'
         FROM generate_series(1, $1) AS n`,
      [ROUTES],
    );
    await tx.query(
      `INSERT INTO databases (id, tenant_id, server_id, name, owner_role, rw_role, login_a, login_b, state,
                              schema_version, connection_limit)
       SELECT gen_random_uuid(), id, $1, name, name || '_owner', name || '_rw', name || '_a', name || '_b',
              'ready', '0002_idempotency_keys', 20
         FROM (SELECT id, 't_' || replace(id::text, '-', '') AS name FROM tenants) AS named`,
      [server],
    );
    await tx.query(
      `INSERT INTO secret_versions (id, owner, subject, region, login, stage)
       SELECT gen_random_uuid(), 'tenant:' || tenant_id, 'database:' || id, 'eu', login_a, 'current' FROM databases`,
    );
    await tx.query(
      "INSERT INTO route_changes (tenant_id, version) SELECT id, nextval('route_version_seq') FROM tenants",
    );
  });
  await registry.query('ANALYZE');
}

/** Milliseconds from the commit of a change to the first answer that knows it, for each of many changes. */
async function changes(registry: Registry, url: string): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const took: number[] = [];
  for (let turn = 1; turn <= CHANGES; turn += 1) {
    const slug = `tenant-${turn * 37}`;
    const ask = () => statusOf(agent, url, `${slug}.eu.localhost`);
    // 423 is the answer of a suspended tenant, 503 that of a moving one: no database is asked.
    if ((await ask()) !== 423) throw new Error(`${slug} is not suspended`);
    await registry.query("UPDATE tenants SET state = 'moving' WHERE slug = $1", [slug]);
    const committedAt = performance.now();
    while ((await ask()) !== 503) {
      if (performance.now() - committedAt > LOST_MS) throw new Error(`the change of ${slug} is lost`);
    }
    took.push(performance.now() - committedAt);
  }
  agent.destroy();
  return took;
}

function statusOf(agent: Agent, url: string, host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    get(url, { agent, headers: { host } }, (response) => {
      response.resume().once('end', () => resolve(response.statusCode ?? 0));
    }).once('error', reject);
  });
}

function tell(loads: Loaded[], took: number[]): void {
  const loadMs = loads.map((load) => load.loadMs);
  const p99 = quantile(took, 0.99);
  process.stdout.write(`\nroutes: ${ROUTES} routes into a tenant app\n`);
  note(`load    median ${median(loadMs).toFixed(0)} ms   runs: ${loadMs.map(Math.round).join('  ')}`);
  note(`        budget at most ${LOAD_BUDGET_MS} ms   ${verdict(median(loadMs) <= LOAD_BUDGET_MS)}`);
  note(
    `memory  ${median(loads.map((load) => load.heapMb)).toFixed(0)} MB heap kept, ` +
      `${median(loads.map((load) => load.peakMb)).toFixed(0)} MB more than before at the highest`,
  );
  note(
    `change  p50 ${median(took).toFixed(1)} ms, p99 ${p99.toFixed(1)} ms from commit to effect, ${CHANGES} changes`,
  );
  note(`        budget p99 at most ${CHANGE_BUDGET_MS} ms   ${verdict(p99 <= CHANGE_BUDGET_MS)}`);
}

function verdict(isMet: boolean): string {
  return isMet ? 'met' : 'NOT met';
}
