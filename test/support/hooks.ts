import { takeCoverage } from 'node:v8';
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

/** 60 s: each writes 3 MB, and what came after the last is all that a killed process loses. */
const COVERAGE_MS = 60_000;
let coveredAt = performance.now();

/** mocha gives its processes a second to end, which a busy machine needs longer for when they write their coverage. */
function keepCoverage(): void {
  if (process.env.NODE_V8_COVERAGE === undefined || performance.now() - coveredAt < COVERAGE_MS) return;
  takeCoverage();
  coveredAt = performance.now();
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
    keepCoverage();
  },
};
