import assert from 'node:assert/strict';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Rollout } from '../../../contract/rollout.ts';
import { projectRoot } from '../../../platform/project.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';
import { until } from '../../support/until.ts';
import { inFolder } from '../../unit/cli/harness.ts';
import { commandLine } from './command-line.ts';

const ADD = '-- Up Migration\nALTER TABLE tasks ADD COLUMN weight int;\n';
const FILL = `-- fleet: backfill table=tasks key=id batch=100 verify="select count(*) from tasks where id between :from and :to and weight is null"
-- Up Migration
UPDATE tasks SET weight = 1 WHERE id BETWEEN :from AND :to AND weight IS NULL;
-- Down Migration
`;
const SWITCH = '/api/v1/backfills/switches';

describe('a backfill on the command line', () => {
  let server: Fleet;
  const { cli, json } = commandLine(() => server);

  before(async () => {
    server = await startFleet();
    await server.createTenant('acme');
  });
  after(async () => {
    await server.stop();
  });

  it('is linted, published, held by a switch with its reason, and rolled out', async () => {
    await inFolder(async (folder) => {
      const migrations = join(folder, 'migrations');
      cpSync(join(projectRoot(), 'migrations', 'tenant'), migrations, { recursive: true });
      writeFileSync(join(migrations, '9000000000000_add_weight.sql'), ADD);
      writeFileSync(join(migrations, '9000000000001_fill_weight.sql'), FILL);
      const published = await cli('release publish migrations --name weights', { cwd: folder });
      assert.equal(published.code, 0, published.stderr);

      const off = '{"scope":"fleet","on":false,"reason":"freeze"}';
      const held = await cli(`api POST ${SWITCH} --data ${off}`);
      assert.match(held.stdout, /freeze/, held.stderr);
      const started = await cli('rollout start --release weights --no-wait');
      assert.equal(started.code, 0, started.stderr);
      const shown = await until('it is held', async () => {
        const { stdout } = await cli('rollout get latest');
        return stdout.includes('held for ') && stdout;
      });
      assert.match(
        shown,
        /9000000000001_fill_weight: 1 running, 1 of them held .*held for the fleet by .*: freeze/,
      );
      const refused = await cli(`api POST ${SWITCH} --data {"scope":"tenant","on":false}`);
      assert.equal(refused.code, 2, refused.stderr);

      await cli(`api POST ${SWITCH} --data {"scope":"fleet","on":true}`);
      const ended = await cli('rollout status latest --timeout 30s');
      assert.equal(ended.code, 0, ended.stderr);
      const { targets } = await json<Rollout>('rollout get latest');
      assert.deepEqual(
        targets.map(({ state, progress }) => [state, progress?.migration, progress?.reason]),
        [['verified', '9000000000001_fill_weight', null]],
      );
    });
  });
});
