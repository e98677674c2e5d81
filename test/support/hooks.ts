import { closeTestRun, openTestRun, readCells, writeCells } from './test-run.ts';
import { startTestClusters } from './clusters.ts';
import { cells } from './laws.ts';
import { say } from './say.ts';

/** Once in the run, in mocha's own process. */
export function mochaGlobalSetup(): void {
  openTestRun();
}

export async function mochaGlobalTeardown(): Promise<void> {
  const counts = readCells();
  await closeTestRun();
  const counted = [...counts].map(([kind, count]) => `${kind} ${count}`).join(', ');
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  if (total > 0) say(`laws of operations: ${total} cells (${counted})`);
}

/** For each file, in the process that runs it; a process that runs several files has its servers already. */
export const mochaHooks = {
  async beforeAll(this: Mocha.Context): Promise<void> {
    this.timeout(120_000);
    await startTestClusters();
  },
  afterAll(): void {
    writeCells(cells);
    cells.clear();
  },
};
