import { setTimeout as delay } from 'node:timers/promises';
import { expect } from './stage.ts';
import { TENANTS, visit, type World } from './world.ts';

/** Some fifty requests a second: enough to meet every moment of a takeover, too few to slow it down. */
const TRAFFIC_PAUSE_MS = 20;
/** A restart of the control plane takes about two seconds. */
const UNTIL_TIMEOUT_MS = 20_000;
const UNTIL_POLL_MS = 50;

export interface Traffic {
  stop(): Promise<{ answered: number; failed: string[] }>;
}

/** One request after another, over all tenants in turn. */
export function startTraffic(world: World): Traffic {
  let running = true;
  let answered = 0;
  const failed: string[] = [];
  const drive = async (): Promise<void> => {
    for (let number = 0; running; number++) {
      const { slug } = TENANTS[number % TENANTS.length] ?? TENANTS[0]!;
      const reply = await visit(world, slug, '/api/v1/projects').catch((error: unknown) => String(error));
      if (typeof reply !== 'string' && reply.status === 200) answered++;
      else failed.push(`${slug}: ${typeof reply === 'string' ? reply : reply.status}`);
      await delay(TRAFFIC_PAUSE_MS);
    }
  };
  const driven = drive();
  return {
    stop: async () => {
      running = false;
      await driven;
      return { answered, failed };
    },
  };
}

/** A condition that throws is not true yet: a control plane that was killed refuses connections. */
export async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + UNTIL_TIMEOUT_MS;
  while (!(await condition().catch(() => false))) {
    expect(Date.now() < deadline, 'it did not happen in time');
    await delay(UNTIL_POLL_MS);
  }
}
