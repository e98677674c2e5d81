import { cells } from './laws.ts';
import { say } from './say.ts';
import { startTestClusters, stopTestClusters } from './clusters.ts';

/** Mocha root hooks: one set of PostgreSQL servers for the whole run. */
export const mochaHooks = {
  async beforeAll(this: Mocha.Context): Promise<void> {
    this.timeout(120_000);
    await startTestClusters();
  },
  async afterAll(this: Mocha.Context): Promise<void> {
    this.timeout(120_000);
    await stopTestClusters();
    const counted = [...cells].map(([kind, count]) => `${kind} ${count}`).join(', ');
    const total = [...cells.values()].reduce((sum, count) => sum + count, 0);
    if (total > 0) say(`laws of operations: ${total} cells (${counted})`);
  },
};
