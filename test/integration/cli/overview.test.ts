import assert from 'node:assert/strict';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Operation } from '../../../contract/operation.ts';
import type { Rollout } from '../../../contract/rollout.ts';
import { addressUrl } from '../../../platform/pg.ts';
import { projectRoot } from '../../../platform/project.ts';
import { clusters } from '../../support/clusters.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';
import { inFolder } from '../../unit/cli/harness.ts';
import { commandLine } from './command-line.ts';

interface Status {
  release: string;
  currentRelease: string;
  behind: number;
  unreachableServers: string[];
  rollouts: Rollout[];
  plannedRollouts: Rollout[];
  operations: Operation[];
  failedOperations: Operation[];
}
interface Check {
  check: string;
  result: string;
  message: string;
  fix?: string;
}

describe('fleet status and fleet doctor', () => {
  let server: Fleet;
  const { cli, json } = commandLine(() => server);

  before(async () => {
    server = await startFleet();
    await server.createTenant('acme');
    await server.createTenant('bolt', 'us');
  });
  after(async () => {
    await server.stop();
  });

  const warnings = async () => (await json<Check[]>('doctor')).filter((check) => check.result === 'warn');

  it('find nothing to tell of a fleet that is well', async () => {
    const status = await json<Status>('status');
    assert.equal(status.release, status.currentRelease);
    assert.equal(status.behind, 0);
    assert.deepEqual([status.rollouts, status.plannedRollouts, status.operations], [[], [], []]);
    assert.match((await cli('status')).stdout, /newest release +\S+ \(no database is behind\)/);
    assert.deepEqual(await warnings(), []);
  });

  it('tell what is behind, halted, planned, failed and unreachable, and what to do next', async () => {
    const { plan, halted } = await inFolder(breakRollout);
    const failed = await cli('server add eu-8 --region eu --url-stdin', {
      stdin: addressUrl({ ...clusters().registry.superuser, password: 'hunter2' }),
    });
    assert.equal(failed.code, 5, failed.stderr);
    await server.registry.query("UPDATE servers SET reachable = false WHERE name = 'us-1'");

    const status = await json<Status>('status');
    assert.deepEqual([status.release, status.behind], ['r2', 2]);
    assert.notEqual(status.currentRelease, 'r2');
    assert.deepEqual(
      status.rollouts.map(({ id, state }) => [id, state]),
      [[halted, 'halted']],
    );
    assert.equal(status.plannedRollouts.length, 7);
    assert.ok(status.plannedRollouts.some(({ id }) => id === plan));
    assert.deepEqual(
      status.failedOperations.map((operation) => operation.kind),
      ['server.add'],
    );
    assert.deepEqual(status.unreachableServers, ['us-1']);
    const { stdout } = await cli('status');
    assert.match(stdout, /newest release +r2 \(2 databases behind; new tenants begin at /);
    assert.match(stdout, /rollouts +1 halted, 7 planned/);
    assert.match(stdout, /unreachable +us-1/);
    assert.match(stdout, /open rollouts\nID.*\n.*halted/);

    const found = await warnings();
    const told = (check: string) => found.find((each) => each.check === check);
    assert.match(told('rollouts')?.fix ?? '', new RegExp(`fleet rollout retry ${halted}`));
    assert.match(
      told('operations')?.fix ?? '',
      new RegExp(`fleet operation get ${status.failedOperations[0]?.id ?? ''}`),
    );
    assert.match(told('servers')?.fix ?? '', /fleet server get us-1/);
    assert.equal((await cli('doctor')).code, 0);
  });

  it('forget what failed more than a day ago', async () => {
    await server.registry.query(
      "UPDATE operations SET finished_at = now() - interval '25 hours', created_at = now() - interval '26 hours' WHERE state = 'failed'",
    );
    assert.deepEqual((await json<Status>('status')).failedOperations, []);
    assert.ok(!(await warnings()).some((check) => check.check === 'operations'));
  });

  /** A release that fails everywhere: seven plans of it, the first of them newer plans bury, and one that halted. */
  async function breakRollout(folder: string): Promise<{ plan: string; halted: string }> {
    const migrations = join(folder, 'migrations');
    mkdirSync(migrations);
    cpSync(join(projectRoot(), 'migrations', 'tenant'), migrations, { recursive: true });
    const broken = '-- Up Migration\ncreate table two as select 1 / 0 as id;\n';
    writeFileSync(join(migrations, '9000000000000_two.sql'), broken);
    assert.equal((await cli('release publish migrations --name r2', { cwd: folder })).code, 0);
    const started = await cli('rollout start --release r2 --wait -o json');
    assert.equal(started.code, 5, started.stderr);
    const plans: Rollout[] = [];
    for (let n = 0; n < 7; n += 1) plans.push(await json<Rollout>('rollout plan --release r2 --no-diff'));
    return { plan: plans[0]?.id ?? '', halted: (JSON.parse(started.stdout) as Rollout).id };
  }
});
