/**
 * Clients of the product in a process of their own, so that what they measure is not the control plane's own work:
 * each sends one request after the other, with a pause between them, to a tenant drawn by chance. TRAFFIC_TASK says
 * where to; SIGTERM ends it, and its last line says what was measured.
 */
import { Agent, request as httpRequest } from 'node:http';
import { sleep } from '../../platform/wait.ts';
import { seededRandom } from '../support/random.ts';
import { quantile } from './statistics.ts';

export interface TrafficTask {
  url: string;
  /** One project of each tenant. */
  tenants: { host: string; projectId: string }[];
  clients: number;
  /** Milliseconds between an answer and the client's next request. */
  pauseMs: number;
  seed: number;
}

export interface Traffic {
  requests: number;
  /** Answers that are no success, with how often they came. */
  failures: Record<string, number>;
  p50Ms: number;
  p99Ms: number;
}

const task = JSON.parse(process.env.TRAFFIC_TASK ?? '') as TrafficTask;
const stopping = new AbortController();
process.once('SIGTERM', () => stopping.abort());
// In turn: a connection that rests for five seconds is closed by the app, at times under the next request.
const agent = new Agent({ keepAlive: true, maxSockets: task.clients, scheduling: 'fifo' });
const took: number[] = [];
const failures: Record<string, number> = {};

process.stdout.write('started\n');
await Promise.all(Array.from({ length: task.clients }, (_, index) => client(task.seed + index)));
const traffic: Traffic = {
  requests: took.length,
  failures,
  p50Ms: quantile(took, 0.5),
  p99Ms: quantile(took, 0.99),
};
process.stdout.write(`${JSON.stringify(traffic)}\n`, () => process.exit(0));

async function client(seed: number): Promise<void> {
  const random = seededRandom(seed);
  while (!stopping.signal.aborted) {
    const tenant = task.tenants[Math.floor(random() * task.tenants.length)];
    if (tenant === undefined) throw new Error('there are no tenants');
    const startedAt = performance.now();
    const outcome = await ask(tenant, random()).catch((error: unknown) => String(error));
    took.push(performance.now() - startedAt);
    if (outcome !== undefined) failures[outcome] = (failures[outcome] ?? 0) + 1;
    await sleep(task.pauseMs, stopping.signal);
  }
}

/** Half of the requests list projects, three tenths list tasks, the rest adds one. Answers what went wrong. */
function ask({ host, projectId }: TrafficTask['tenants'][number], draw: number): Promise<string | undefined> {
  if (draw < 0.5) return send(host, 'GET', '/api/v1/projects?limit=20');
  const tasks = `/api/v1/projects/${projectId}/tasks`;
  return draw < 0.8
    ? send(host, 'GET', `${tasks}?limit=20`)
    : send(host, 'POST', tasks, { title: 'under way' });
}

function send(host: string, method: string, path: string, body?: object): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const headers = { host, 'content-type': 'application/json' };
    const asked = httpRequest(new URL(path, task.url), { method, agent, headers }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
      answer.on('error', reject);
      answer.on('end', () => {
        const status = answer.statusCode ?? 0;
        resolve(status >= 200 && status < 300 ? undefined : `${method} ${status} ${text.slice(0, 200)}`);
      });
    });
    asked.on('error', reject);
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
