import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stopCluster } from '../../control-plane/servers/providers/cluster.ts';

/**
 * What the processes of one test run share: mocha's own, which starts and ends it, and those that run the files.
 * A folder, named by the environment that they inherit.
 */
const VARIABLE = 'FLEET_TEST_RUN';

export function openTestRun(): void {
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-test-'));
  chmodSync(folder, 0o711);
  process.env[VARIABLE] = folder;
}

export function testRunFolder(): string {
  const folder = process.env[VARIABLE];
  if (folder === undefined) throw new Error('no test run: is test/support/hooks.ts loaded?');
  return folder;
}

/** A folder for the servers of this process. */
export function makeServersFolder(): string {
  const folder = mkdtempSync(join(testRunFolder(), SERVERS));
  chmodSync(folder, 0o711);
  return folder;
}

const SERVERS = 'servers-';
const CELLS = 'cells';

/** Stops the servers of all processes. */
export async function stopServers(): Promise<void> {
  const folder = testRunFolder();
  const sets = readdirSync(folder).filter((name) => name.startsWith(SERVERS));
  const servers = sets.flatMap((set) =>
    readdirSync(join(folder, set)).map((name) => join(folder, set, name)),
  );
  await Promise.all(servers.map((server) => stopCluster(server, 'immediate')));
}

export function removeTestRun(): void {
  rmSync(testRunFolder(), { recursive: true, force: true });
}

/** Notes how many cells of the laws each operation has. */
export function writeCells(cells: ReadonlyMap<string, number>): void {
  for (const [kind, count] of cells) appendFileSync(join(testRunFolder(), CELLS), `${kind} ${count}\n`);
}

export function readCells(): Map<string, number> {
  const file = join(testRunFolder(), CELLS);
  const lines = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n').sort() : [];
  return new Map(lines.map((line) => [line.split(' ')[0] ?? '', Number(line.split(' ')[1])]));
}
