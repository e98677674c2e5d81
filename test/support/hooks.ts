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
  },
};
