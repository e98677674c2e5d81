import assert from 'node:assert/strict';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { RolloutProgress } from '../../../contract/progress.ts';
import { Rollout } from '../../../contract/rollout.ts';
import type { RolloutSchemaDiff } from '../../../contract/schema-diff.ts';
import { projectRoot } from '../../../platform/project.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';
import { inFolder } from '../../unit/cli/harness.ts';
import { commandLine } from './command-line.ts';

type Compared = Rollout & { schemaDiff: RolloutSchemaDiff };

/** Sorts behind every migration of the project. */
const LATER = '9000000000000_';

describe('releases and rollouts on the command line', () => {
  let server: Fleet;
  const { cli, json } = commandLine(() => server);

  before(async () => {
    server = await startFleet();
    await Promise.all([
      server.createTenant('acme'),
      server.createTenant('bolt', 'us'),
      server.createTenant('cogs'),
    ]);
  });
  after(async () => {
    await server.stop();
  });

  /** The project's migrations with one more, whose up part is `sql`. */
  function releaseFolder(folder: string, name: string, sql: string): string {
    const migrations = join(folder, 'migrations');
    mkdirSync(migrations, { recursive: true });
    cpSync(join(projectRoot(), 'migrations', 'tenant'), migrations, { recursive: true });
    writeFileSync(join(migrations, `${LATER}${name}.sql`), `-- Up Migration\n${sql};\n`);
    return migrations;
  }

  it('says that there is none yet', async () => {
    const none = await cli('rollout get latest');
    assert.equal(none.code, 3);
    assert.match(none.stderr, /rollout_not_found/);
  });

  it('publishes, plans, starts, pauses, waits and shows', async () => {
    await inFolder(async (folder) => {
      releaseFolder(folder, 'one', 'create table one (id int)');
      const published = await cli('release publish migrations --name r1', { cwd: folder });
      assert.equal(published.code, 0, published.stderr);
      assert.match(published.stderr, /fleet rollout plan --release r1/);
      assert.match(published.stdout, /newly published/);
      assert.match((await cli('release get r1')).stdout, /9000000000000_one/);

      writeFileSync(
        join(folder, 'rollout.yaml'),
        'release: r1\nwaves:\n  - name: canary\n    match: { tenants: [acme] }\n  - name: rest\n',
      );
      const planned = await cli('rollout plan rollout.yaml --detailed-exitcode', { cwd: folder });
      assert.equal(planned.code, 6, planned.stderr);
      assert.match(planned.stdout, /canary +1 .*acme/);
      const id = /fleet rollout start (\S+)/.exec(planned.stderr)?.[1] ?? '';
      assert.match(planned.stdout, /^lacking +3 targets lack 1: 9000000000000_one$/m);
      assert.match(planned.stdout, /^the schema of 3 targets .*\n {2}table one added \(1 column\)$/m);
      assert.match(planned.stdout, /^\+ {2}column id integer$/m);
      assert.match((await cli(`rollout get ${id} --diff`)).stdout, /^\+ {2}column id integer$/m);
      const whole = JSON.parse((await cli(`rollout get ${id} --diff -o json`)).stdout) as Compared;
      assert.equal(whole.schemaDiff.starts[0]?.targets, 3);
      const release = await cli('release diff r1 --detailed-exitcode');
      assert.equal(release.code, 6, release.stderr);
      assert.match(release.stdout, /^release r1 against release .*: 1 migration\n/);
      assert.equal((await cli('release diff r1 r1 --detailed-exitcode')).code, 0);
      assert.equal((await cli('release diff r1 nowhere')).code, 3);

      const started = await cli(`rollout start ${id} --wait`);
      assert.equal(started.code, 0, started.stderr);
      assert.match(started.stdout, /✔ succeeded/);
      assert.match((await cli('rollout get latest')).stdout, /canary +█{24} +1\/1/);
      assert.equal((await cli(`rollout status ${id} --timeout 5s`)).code, 0);
      const watched = await cli('rollout get latest -w', { tty: true });
      assert.equal(watched.code, 0, watched.stderr);
      assert.match(watched.stdout, /succeeded/);
      const before = (await cli('rollout list -o name')).stdout;
      const again = await cli('rollout plan --release r1 --detailed-exitcode');
      assert.equal(again.code, 0, again.stderr);
      assert.match(again.stdout, /^nothing to do: no database is behind release r1; no plan was stored\n$/);
      const data = JSON.parse((await cli('rollout plan --release r1 -o json')).stdout) as object;
      assert.deepEqual(data, { release: 'r1', nothingToDo: true, current: true });
      assert.equal((await cli('rollout list -o name')).stdout, before);
    });
  });

  it('says that an unchanged folder is published already, and changes nothing', async () => {
    await inFolder(async (folder) => {
      releaseFolder(folder, 'one', 'create table one (id int)');
      for (const line of ['release publish migrations', 'release publish migrations --name r1']) {
        const again = await cli(line, { cwd: folder });
        assert.equal(again.code, 0, again.stderr);
        assert.match(again.stdout, /already published; nothing was changed\nrelease +r1/);
      }
      const again = await cli('release publish migrations -o json', { cwd: folder });
      const answer = JSON.parse(again.stdout) as { name: string; alreadyPublished: boolean };
      assert.deepEqual([answer.name, answer.alreadyPublished], ['r1', true]);
      assert.equal((await cli('audit list --action release.publish -o name')).stdout.split('\n').length, 3);
    });
  });

  it('refuses an edited release and a broken file with the right codes', async () => {
    await inFolder(async (folder) => {
      releaseFolder(folder, 'one', 'create table one (id bigint)');
      const edited = await cli('release publish migrations', { cwd: folder });
      assert.equal(edited.code, 3, edited.stderr);
      assert.match(edited.stderr, /9000000000000_one/);
      writeFileSync(join(folder, 'bad.yaml'), 'release: r1\nwaves: [');
      const broken = await cli('rollout start bad.yaml', { cwd: folder });
      assert.equal(broken.code, 2);
      assert.match(broken.stderr, /bad\.yaml:\d/);
      writeFileSync(join(folder, 'odd.yaml'), 'release: r1\nwave: []\n');
      assert.equal((await cli('rollout start odd.yaml', { cwd: folder })).code, 2);
      assert.equal((await cli('release publish nowhere', { cwd: folder })).code, 2);
    });
  });

  it('ends with 5 when it halts, groups what fails, and waits no longer than it may', async () => {
    await inFolder(async (folder) => {
      releaseFolder(folder, 'one', 'create table one (id int)');
      const broken = join(folder, 'migrations', `${LATER}two.sql`);
      writeFileSync(broken, '-- Up Migration\ncreate table two as select 1 / 0 as id;\n');
      assert.equal((await cli('release publish migrations --name r2', { cwd: folder })).code, 0);
      const started = await cli('rollout start --release r2 --wait');
      assert.equal(started.code, 5, started.stderr);
      assert.match(started.stdout, /✖ halted/);
      assert.match(started.stdout, /migration_failed × \d/);
      assert.match(started.stderr, /error rollout_halted/);
      const status = await cli('rollout status latest -o json');
      assert.equal(status.code, 5);
      const rollout = JSON.parse(status.stdout) as Rollout;
      assert.equal(
        rollout.targets.filter((target) => target.error?.code === 'migration_failed').length > 0,
        true,
      );
      assert.equal((JSON.parse(status.stderr) as { code: string }).code, 'rollout_halted');
      const watched = await cli('rollout get latest -w', { tty: true });
      assert.equal(watched.code, 5, watched.stderr);
      assert.match(watched.stdout, /✖ halted/);
      assert.match(watched.stderr, /rollout_halted/);
      const logged = await cli('rollout get latest -w');
      assert.equal(logged.code, 5, logged.stderr);
      const lines = logged.stdout.trim().split('\n');
      for (const line of lines) assert.match(line, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [\x20-\x7e·]+$/);
      assert.equal(new Set(lines).size, lines.length);
      assert.match(logged.stdout, /: halted: budget_exceeded: /);
      const tenant = rollout.targets.find(({ state }) => state === 'failed')?.tenant ?? '';
      const { stdout: one } = await cli(`rollout get latest --target ${tenant}`);
      assert.match(one, /state +✖ failed[^]*why +migration_failed: [^]*9000000000000_two \(not applied\)/);
      assert.match((await cli('rollout get latest --state failed')).stdout, new RegExp(`${tenant} +all `));
      const { stdout: wide } = await cli('rollout get latest -o wide');
      assert.match(wide, /TENANT +WAVE +SERVER +STATE +TRIES +TOOK +LOCK WAIT +ROWS +MIGRATIONS +WHY/);
      const whole = JSON.parse((await cli('rollout get latest -o json')).stdout) as object;
      assert.deepEqual(Rollout.parse(whole), Rollout.parse(rollout));
      assert.equal(RolloutProgress.parse(whole).failures[0]?.code, 'migration_failed');
      assert.equal((await cli('rollout get latest --target nobody')).code, 3);
      assert.equal((await cli('rollout get latest -w -o json')).code, 5);
      assert.equal((await cli('rollout get latest')).code, 0);
      assert.equal((await cli('rollout pause latest')).code, 3);
      assert.equal((await cli('rollout abort latest --reason enough')).code, 0);
    });
  });

  it('approves by somebody else only, queues, promotes by name, and leaves one behind with a reason', async () => {
    await inFolder(async (folder) => {
      writeFileSync(join(folder, 'careful.yaml'), 'release: r2\napprove: true\n');
      const started = await cli('rollout start careful.yaml -o json --detailed-exitcode', { cwd: folder });
      assert.equal(started.code, 6, started.stderr);
      const { id, state } = JSON.parse(started.stdout) as Rollout;
      assert.equal(state, 'awaiting_approval');
      const own = await cli(`rollout approve ${id}`);
      assert.equal(own.code, 4, own.stderr);
      assert.match(own.stderr, /self_approval/);
      const late = await cli(`rollout status ${id} --timeout 300ms -o json`);
      assert.deepEqual([late.code, late.stdout], [1, '']);
      const ctrlC = new AbortController();
      const watching = cli(`rollout get ${id} -w --no-color`, { tty: true, signal: ctrlC.signal });
      setTimeout(() => ctrlC.abort(), 300);
      const left = await watching;
      assert.equal(left.code, 130, left.stderr);
      assert.match(left.stdout, /! awaiting_approval[^]*next +the plan waits for somebody else/);
      assert.equal((await json<Rollout>(`rollout get ${id}`)).state, 'awaiting_approval');
      const queued = await cli('rollout start --release r2 --queue');
      assert.equal(queued.code, 0, queued.stderr);
      assert.match(queued.stderr, /waits in the queue/);
      const full = await cli(`rollout promote ${id} --full`);
      assert.equal(full.code, 2, full.stderr);
      assert.match(full.stderr, new RegExp(`--confirm ${id}`));
      assert.equal((await cli(`rollout skip ${id} --target acme`)).code, 2);
      const skipped = await cli(`rollout skip ${id} --target acme --reason broken -o json`);
      assert.equal(skipped.code, 0, skipped.stderr);
      const { targets } = JSON.parse(skipped.stdout) as Rollout;
      const acme = targets.find((target) => target.tenant === 'acme');
      assert.deepEqual([acme?.state, acme?.reason], ['skipped', 'broken']);
      const rest = JSON.parse((await cli('rollout list --state planned -o json')).stdout) as Rollout[];
      const waiting = rest.find((rollout) => rollout.queuedAt !== null)?.id ?? '';
      assert.equal((await cli(`rollout abort ${waiting}`)).code, 0);
      assert.equal((await cli(`rollout abort ${id}`)).code, 0);
    });
  });

  it('ends at once at a plan, which nothing runs, and takes no plan for the latest rollout', async () => {
    const planned = await cli('rollout plan --release r2 -o name');
    const id = planned.stdout.trim();
    const status = await cli(`rollout status ${id} --timeout 20s`);
    assert.equal(status.code, 5, status.stderr);
    assert.match(status.stderr, new RegExp(`fix: fleet rollout start ${id}`));
    assert.notEqual((await cli('rollout get latest -o name')).stdout.trim(), id);
    const odd = await cli('rollout get nope');
    assert.equal(odd.code, 2);
    assert.match(odd.stderr, /"nope" is no rollout id/);
  });
});
