import { takeCoverage } from 'node:v8';
import { openTestRun, readCells, removeTestRun, stopServers, writeCells } from './test-run.ts';
import { startTestClusters } from './clusters.ts';
import { cells } from './laws.ts';
import { say } from './say.ts';
import { keepArguments, scanTestRun, startSecretScan } from './secret-scan.ts';

/** Once in the run, in mocha's own process. */
export function mochaGlobalSetup(): void {
  openTestRun();
  startSecretScan();
}

export async function mochaGlobalTeardown(): Promise<void> {
  const counts = readCells();
  await stopServers();
  const { secrets, bytes, leaks } = await scanTestRun();
  removeTestRun();
  const counted = [...counts].map(([kind, count]) => `${kind} ${count}`).join(', ');
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
  if (total > 0) say(`laws of operations: ${total} cells (${counted})`);
  say(
    `secrets: ${secrets} were made, ${leaks.length} found in ${Math.round(bytes / 1e6)} MB of logs, registries, errors and arguments`,
  );
  if (leaks.length > 0)
    throw new Error(`secrets have leaked: ${JSON.stringify(leaks.slice(0, SHOWN), null, 2)}`);
}

/** A leak is seldom alone; the first ones tell where to look. */
const SHOWN = 20;

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
    keepArguments();
    keepCoverage();
  },
};
