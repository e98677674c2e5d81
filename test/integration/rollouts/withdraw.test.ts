import assert from 'node:assert/strict';
import type { AuditEntry } from '../../../contract/audit.ts';
import type { Problem } from '../../../contract/problem.ts';
import type { ReleaseDetail, WithdrawnRelease } from '../../../contract/release.ts';
import type { Rollout } from '../../../contract/rollout.ts';
import { sqlState } from '../../../platform/errors.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';
import { until } from '../../support/until.ts';
import { commandLine } from '../cli/command-line.ts';
import { rendered } from '../releases/tenant-database.ts';

const BASE = 'CREATE TABLE tasks (id int PRIMARY KEY)';
/** SQLSTATE 42501 wherever it is tried: the owner of a tenant's database reads no file of the server. */
const BROKEN = "SELECT pg_read_file('PG_VERSION')";
const MENDED = 'ALTER TABLE tasks ADD COLUMN term int';
const LATER = {
  upSql: 'ALTER TABLE tasks ADD COLUMN later int',
  downSql: 'ALTER TABLE tasks DROP COLUMN later',
};

describe('withdrawing a release', function () {
  this.timeout(60_000);
  let fleet: Fleet;
  const { cli } = commandLine(() => fleet);
  /** The list as the folder has it. */
  let folder: (string | typeof LATER)[] = [BASE];

  before(async () => {
    fleet = await startFleet({ publish: false });
    await publish('base');
    await Promise.all(['acme', 'bolt'].map((slug) => fleet.createTenant(slug)));
  });
  after(() => fleet.stop());

  const publish = (name: string) =>
    fleet.admin.ok('POST', '/api/v1/releases', { name, migrations: rendered(...folder) });
  const plan = async (release: string, more: object = {}): Promise<string> =>
    (await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts/plan', { release, ...more })).id;
  const start = (id: string) => fleet.admin.call('POST', `/api/v1/rollouts/${id}/start`, {});
  const withdraw = (name: string) =>
    fleet.admin.call('POST', `/api/v1/releases/${name}/withdraw`, { reason: 'it cannot be applied' });
  const read = (id: string) => fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);
  const rests = (id: string, state: string): Promise<Rollout> =>
    until(
      `rollout ${id} is ${state}`,
      async () => {
        const rollout = await read(id);
        return rollout.state === state ? rollout : undefined;
      },
      20_000,
    );
  const abort = (id: string) => fleet.admin.ok('POST', `/api/v1/rollouts/${id}/abort`, { reason: 'broken' });
  async function refused(name: string): Promise<Problem> {
    const { status, body } = await withdraw(name);
    assert.equal(status, 409, JSON.stringify(body));
    return body as Problem;
  }

  let failed = '';

  it('frees the list of a migration that fails everywhere: the file is mended under its name', async () => {
    folder = [BASE, BROKEN];
    await publish('broken');
    failed = await plan('broken');
    const spare = await plan('broken');
    assert.equal((await start(failed)).status, 200);
    await rests(failed, 'halted');
    assert.equal((await refused('broken')).code, 'rollout_active');
    await abort(failed);
    const edited = await fleet.admin.call('POST', '/api/v1/releases', { migrations: rendered(BASE, MENDED) });
    assert.equal((edited.body as Problem).code, 'migration_edited');
    assert.match((edited.body as Problem).fix ?? '', /fleet release withdraw broken/);

    const line = `release withdraw broken --reason=broken`;
    const unsaid = await cli(line);
    assert.equal(unsaid.code, 2);
    assert.match(unsaid.stderr, /--confirm broken/);
    const { code, stdout, stderr } = await cli(`${line} --confirm broken -o json`);
    assert.equal(code, 0, stderr);
    const withdrawn = JSON.parse(stdout) as WithdrawnRelease;
    assert.deepEqual([withdrawn.migrations, withdrawn.reason], [['0002_m'], 'broken']);
    const again = await withdraw('broken');
    assert.deepEqual([again.status, again.body], [200, withdrawn], 'twice is once');

    const aborted = await read(spare);
    assert.deepEqual([aborted.state, aborted.cause?.code], ['aborted', 'release_withdrawn']);
    assert.equal((await read(failed)).release, 'broken', 'its rollout stays readable');
    const gone = await cli('release get broken');
    assert.equal(gone.code, 3);
    assert.match(gone.stderr, /withdrawn by/);
    const { items } = await fleet.admin.ok<{ items: AuditEntry[] }>(
      'GET',
      '/api/v1/audit?action=release.withdraw',
    );
    assert.deepEqual(
      items.map(({ resource, reason, after }) => [
        resource,
        reason,
        (after as { aborted: string[] }).aborted,
      ]),
      [['release:broken', 'broken', [spare]]],
    );
  });

  it('lets the corrected folder through to every tenant, without drift', async () => {
    folder = [BASE, MENDED];
    const named = await fleet.admin.call('POST', '/api/v1/releases', {
      name: 'broken',
      migrations: rendered(...folder),
    });
    assert.equal((named.body as Problem).code, 'release_exists', 'a name is given once');
    await publish('mended');
    const id = await plan('mended');
    assert.equal((await start(id)).status, 200);
    await rests(id, 'succeeded');
    const release = await fleet.admin.ok<ReleaseDetail>('GET', '/api/v1/releases/mended');
    assert.deepEqual([release.applied, release.behind, release.current], [2, 0, true]);
    const drift = await cli('drift check');
    assert.equal(drift.code, 0, drift.stderr + drift.stdout);
    const undo = await fleet.admin.call('POST', `/api/v1/rollouts/${failed}/undo`, {});
    assert.equal((undo.body as Problem).code, 'release_withdrawn', 'what is there now is not its own');
  });

  it('is refused while newer ones stand on it, and where one database has it', async () => {
    assert.equal((await refused('mended')).code, 'release_current');
    folder = [BASE, MENDED, LATER];
    await publish('later');
    const below = await refused('mended');
    assert.equal(below.code, 'release_not_last');
    assert.match(below.detail, /later/);
    const waves = [{ name: 'one', match: { tenants: ['acme'] }, approve: true }, { name: 'rest' }];
    const id = await plan('later', { waves });
    await start(id);
    await rests(id, 'awaiting_approval');
    await abort(id);
    const held = await refused('later');
    assert.equal(held.code, 'release_in_use');
    assert.match(held.detail, /acme/);
    assert.doesNotMatch(held.detail, /bolt/);

    const undo = { confirm: 'later' };
    await fleet.admin.ok('POST', `/api/v1/rollouts/${id}/undo`, undo);
    await rests(id, 'undone');
    assert.equal((await withdraw('later')).status, 200, 'nobody has it any more');
    folder = [BASE, MENDED];
  });

  it('lets one of a start and a withdrawal through, never both', async () => {
    for (let round = 0; round < 3; round += 1) {
      folder = [...folder, BROKEN];
      await publish(`raced-${round}`);
      const id = await plan(`raced-${round}`, { approve: true });
      const [begun, taken] = await Promise.all([start(id), withdraw(`raced-${round}`)]);
      const { state } = await read(id);
      assert.deepEqual(
        [begun.status === 200, taken.status === 200, state],
        taken.status === 200 ? [false, true, 'aborted'] : [true, false, 'awaiting_approval'],
      );
      if (taken.status !== 200) await abort(id);
      assert.equal((await withdraw(`raced-${round}`)).status, 200);
      folder = folder.slice(0, -1);
    }
  });

  it('is the only way out of the list', async () => {
    for (const table of [
      'releases',
      'migrations',
      'migration_findings',
      'withdrawn_releases',
      'withdrawn_migrations',
    ])
      await assert.rejects(
        fleet.registry.query(`DELETE FROM ${table}`),
        (error: unknown) => sqlState(error) === 'FL003',
        table,
      );
  });
});
