import { readFileSync } from 'node:fs';
import autocannon from 'autocannon';
import { dataFiles } from '../../platform/config.ts';
import { addressUrl } from '../../platform/pg.ts';
import { startChild, type Child } from '../support/child.ts';
import { startFleet } from '../support/fleet.ts';
import { seededRandom } from '../support/random.ts';
import { databaseAddresses } from './rollout.ts';
import { provisionMany } from './fleet.ts';
import { report } from './report.ts';

const TENANTS = 200;
const CONNECTIONS = 50;
const SECONDS = 6;
const WARM_UP_SECONDS = 2;
const RUNS = 3;
const SEED = 7;

/** Requests per second through the routing middleware, against express with one `pg` pool. */
export async function benchRouting(): Promise<void> {
  const fleet = await startFleet();
  const children: Child[] = [];
  const serve = async (env: NodeJS.ProcessEnv): Promise<string> => {
    const child = startChild('test/bench/routing-server.ts', [], env);
    children.push(child);
    return child.line((text) => text.startsWith('http'));
  };
  try {
    await provisionMany(fleet, 'bench', TENANTS, 8);
    const [first] = await databaseAddresses(fleet);
    if (first === undefined) throw new Error('no database');
    const floor = await serve({ BENCH_DATABASE_URL: addressUrl(first) });
    const routed = await serve({
      BENCH_REGION: 'eu',
      BENCH_CONTROL_PLANE: fleet.url,
      BENCH_TOKEN: readFileSync(dataFiles(fleet.config.dataDir).appToken('eu'), 'utf8').trim(),
    });
    await compare({ title: 'routing: 1 tenant', floor, routed, hosts: [host(0)], budget: 0.92 });
    const zipf = zipfHosts(TENANTS, 4_000);
    await compare({
      title: `routing: ${TENANTS} tenants with Zipf popularity`,
      floor,
      routed,
      hosts: zipf,
      budget: 0.75,
    });
  } finally {
    await Promise.all(children.map((child) => child.kill('SIGKILL')));
    await fleet.stop();
  }
}

interface Contest {
  title: string;
  floor: string;
  routed: string;
  hosts: string[];
  budget: number;
}

async function compare(contest: Contest): Promise<void> {
  await load(contest.floor, contest.hosts, WARM_UP_SECONDS);
  await load(contest.routed, contest.hosts, WARM_UP_SECONDS);
  const ours: number[] = [];
  const floors: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    floors.push(await load(contest.floor, contest.hosts, SECONDS));
    ours.push(await load(contest.routed, contest.hosts, SECONDS));
  }
  report({
    title: `${contest.title}, ${CONNECTIONS} connections`,
    unit: 'requests/s',
    floorName: 'express and one pg pool, same handler',
    ours,
    floors,
    budget: { kind: 'at least', ratio: contest.budget },
  });
}

/** Requests per second. @throws when any answer is not 200: a fast refusal is no throughput. */
async function load(url: string, hosts: string[], seconds: number): Promise<number> {
  let offset = 0;
  const result = await autocannon({
    url: `${url}/projects`,
    connections: CONNECTIONS,
    duration: seconds,
    // Every connection walks the list from a place of its own, or all would ask for the same tenant at once.
    setupClient: (client) => {
      const start = (offset += 79) % hosts.length;
      const order = [...hosts.slice(start), ...hosts.slice(0, start)];
      client.setRequests(
        order.map((name) => ({ method: 'GET', path: '/projects', headers: { host: name } })),
      );
    },
  });
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${url}: ${result.non2xx} refusals, ${result.errors} errors`);
  return result.requests.average;
}

function host(index: number): string {
  return `bench-${String(index).padStart(4, '0')}.eu.localhost`;
}

/** `length` draws over `count` tenants: the k-th is asked with a weight of 1/k. */
function zipfHosts(count: number, length: number): string[] {
  const weights = Array.from({ length: count }, (_, index) => 1 / (index + 1));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const random = seededRandom(SEED);
  return Array.from({ length }, () => {
    let left = random() * total;
    const index = weights.findIndex((weight) => (left -= weight) <= 0);
    return host(index === -1 ? count - 1 : index);
  });
}
