import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { addressUrl, quoteIdent, withClient } from '../../platform/pg.ts';
import { projectRoot } from '../../platform/project.ts';
import { clusters } from '../support/clusters.ts';
import { startFleet } from '../support/fleet.ts';
import { provisionMany, publishExtra, rolloutToEnd } from './fleet.ts';
import { note, report } from './report.ts';
import { benchSql } from './rollout.ts';
import { timed } from './statistics.ts';

const DATABASES = 500;
/** The peer is measured on this many databases and multiplied: all 500 would take minutes a run. */
const PEER_SAMPLE = 25;
const RUNS = 3;
const run = promisify(execFile);

/** The same release, against node-pg-migrate's own command on one database after another. */
export async function benchRolloutPeer(): Promise<void> {
  const fleet = await startFleet();
  const folder = mkdtempSync(join(tmpdir(), 'flotilla-peer-'));
  try {
    cpSync(join(projectRoot(), 'migrations', 'tenant'), folder, { recursive: true });
    await provisionMany(fleet, 'bench', DATABASES, 8);
    const peers = await preparePeers(folder);
    note(`node-pg-migrate's command is run on ${PEER_SAMPLE} databases and multiplied to ${DATABASES}`);
    const ours: number[] = [];
    const floors: number[] = [];
    const extra: { name: string; upSql: string }[] = [];
    for (let turn = 1; turn <= RUNS; turn += 1) {
      const name = `1${turn}00_bench`;
      writeFileSync(join(folder, `${name}.sql`), benchSql(`bench_${turn}`));
      const sampled = await timed(async () => {
        for (const url of peers) await runPeer(folder, url);
      });
      floors.push((sampled / PEER_SAMPLE) * DATABASES);
      extra.push({ name, upSql: benchSql(`bench_${turn}`) });
      await publishExtra(fleet, `bench-${turn}`, extra);
      ours.push(await timed(() => rolloutToEnd(fleet, `bench-${turn}`, 16)));
    }
    report({
      title: `rollout-peer: 1 migration over ${DATABASES} databases`,
      unit: 'ms',
      floorName: "node-pg-migrate's command, one database after another",
      ours: ours.map((ms) => 1 / ms).map((rate) => rate * 1e6),
      floors: floors.map((ms) => 1 / ms).map((rate) => rate * 1e6),
      budget: { kind: 'at least', ratio: 15 },
    });
    note(
      `(shown as databases per time: higher is faster; ours ${ours.map(Math.round).join(', ')} ms, peer ${floors.map(Math.round).join(', ')} ms)`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
    await fleet.stop();
  }
}

async function preparePeers(folder: string): Promise<string[]> {
  const { superuser } = clusters().us;
  const urls: string[] = [];
  for (let index = 0; index < PEER_SAMPLE; index += 1) {
    const database = `peer_${index}`;
    await withClient(superuser, { applicationName: 'bench' }, (client) =>
      client.query(`CREATE DATABASE ${quoteIdent(database)}`),
    );
    const url = addressUrl({ ...superuser, database });
    await runPeer(folder, url);
    urls.push(url);
  }
  return urls;
}

async function runPeer(folder: string, url: string): Promise<void> {
  const command = join(projectRoot(), 'node_modules', 'node-pg-migrate', 'bin', 'node-pg-migrate.js');
  await run(process.execPath, [command, 'up', '-m', folder], {
    env: { ...process.env, DATABASE_URL: url },
    cwd: folder,
  });
}
