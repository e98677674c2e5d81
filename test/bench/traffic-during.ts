import { startChild } from '../support/child.ts';
import type { Traffic, TrafficTask } from './traffic-clients.ts';

/** What clients, in a process of their own, met while `work` was under way. */
export async function trafficDuring(task: TrafficTask, work: () => Promise<unknown>): Promise<Traffic> {
  const clients = startChild('test/bench/traffic-clients.ts', [], { TRAFFIC_TASK: JSON.stringify(task) });
  try {
    await clients.line((line) => line === 'started');
    await work();
    await clients.kill('SIGTERM');
    return JSON.parse(await clients.line((line) => line.startsWith('{'))) as Traffic;
  } finally {
    await clients.kill('SIGKILL');
  }
}
