import { Agent, createServer, get, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { randomBytes } from 'node:crypto';
import { createKey } from '../../control-plane/access/keys.ts';
import { createHttpApp } from '../../control-plane/http/app.ts';
import type { Registry } from '../../control-plane/registry/registry.ts';
import { routeRoutes } from '../../control-plane/routes/http.ts';
import { createSecrets } from '../../control-plane/secrets/secret.ts';
import { startChild, type Child } from '../support/child.ts';
import { freshRegistry, quietLogger } from '../support/registry.ts';
import { fillRegistry } from './fill-registry.ts';
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
    await fillRegistry(test.registry, { tenants: ROUTES, state: 'suspended' });
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
