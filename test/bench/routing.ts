import { readFileSync } from 'node:fs';
import autocannon from 'autocannon';
import { dataFiles } from '../../platform/config.ts';
import { addressUrl, withClient } from '../../platform/pg.ts';
import { startChild, type Child } from '../support/child.ts';
import { clusters } from '../support/clusters.ts';
import { startFleet } from '../support/fleet.ts';
import { seededRandom } from '../support/random.ts';
import { databaseAddresses } from './rollout.ts';
import { provisionMany } from './fleet.ts';
import { note, report } from './report.ts';

const TENANTS = 200;
const CONNECTIONS = 50;
/** About 5 s each on two cores. A number and not a time: then no request is cut off, and none leaves a mark. */
const REQUESTS = 15_000;
/** Enough for every tenant of 200 to have been asked for, and for the code to be compiled. */
const FIRST_REQUESTS = 5_000;
const RUNS = 5;
const SEED = 7;
const MS_PER_S = 1_000;
/** Draws of a popularity: 80 for each connection, which it goes through again and again. */
const DRAWS = 4_000;

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
    const zipf = zipfHosts(TENANTS, DRAWS);
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
  const { floor, routed, hosts, title } = contest;
  const first = {
    floor: await load(floor, hosts, FIRST_REQUESTS),
    ours: await load(routed, hosts, FIRST_REQUESTS),
  };
  await load(floor, hosts, FIRST_REQUESTS);
  await load(routed, hosts, FIRST_REQUESTS);
  const before = await sessions();
  const ours: number[] = [];
  const floors: number[] = [];
  for (let run = 0; run < RUNS; run += 1) {
    floors.push(await load(floor, hosts, REQUESTS));
    ours.push(await load(routed, hosts, REQUESTS));
  }
  report({
    title: `${title}, ${CONNECTIONS} connections`,
    unit: 'requests/s',
    floorName: 'express and one pg pool, same handler',
    ours,
    floors,
    budget: { kind: 'at least', ratio: contest.budget },
  });
  note(`steady state: the first ${2 * FIRST_REQUESTS} requests to each are a warm-up and not counted`);
  note(
    `of these the first ${FIRST_REQUESTS}, which open the connections: ` +
      `ours ${first.ours.toFixed(0)}, floor ${first.floor.toFixed(0)} requests/s`,
  );
  note(`connections opened in the ${2 * RUNS} runs that count: ${(await sessions()) - before}`);
}

/** How many sessions the server of region eu has ever had. */
async function sessions(): Promise<number> {
  return withClient(clusters().eu.superuser, { applicationName: 'bench' }, async (client) => {
    const { rows } = await client.query<{ total: number }>(
      'SELECT sum(sessions)::int AS total FROM pg_stat_database',
    );
    return rows[0]?.total ?? 0;
  });
}

/** Requests per second. @throws when any answer is not 200: a fast refusal is no throughput. */
function load(url: string, hosts: string[], requests: number): Promise<number> {
  return new Promise((resolve, reject) => {
    let left = requests;
    let share = 0;
    let endedAt = 0;
    const startedAt = performance.now();
    const running = autocannon(
      {
        url: `${url}/projects`,
        connections: CONNECTIONS,
        amount: requests,
        // Every connection has a part of the list of its own, or all would ask for the same tenant at once.
        setupClient: (client) => {
          const part = hosts.filter((_, index) => index % CONNECTIONS === share % hosts.length);
          share += 1;
          client.setRequests(
            part.map((name) => ({ method: 'GET', path: '/projects', headers: { host: name } })),
          );
        },
      },
      (error: Error | null, result) => {
        if (error !== null) reject(error);
        else if (result.non2xx > 0 || result.errors > 0 || left > 0)
          reject(new Error(`${url}: ${result.non2xx} refusals, ${result.errors} errors, ${left} left`));
        else resolve((requests * MS_PER_S) / (endedAt - startedAt));
      },
    );
    // Its own clock has a resolution of one second.
    running.on('response', () => {
      left -= 1;
      endedAt = performance.now();
    });
  });
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
