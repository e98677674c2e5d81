import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ReleaseDetail } from '../../contract/release.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { migrationChecksum } from '../../control-plane/releases/release.ts';
import { withClient } from '../../platform/pg.ts';
import { commandLine } from '../integration/cli/command-line.ts';
import { clusters } from '../support/clusters.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';

const FILES = {
  '001_a.sql': 'CREATE TABLE a (id int);',
  '002_b.sql': 'CREATE TABLE b (id int);',
  '004_d.sql': 'ALTER TABLE a ADD d int;',
};
const LATE = { file: '003_c.sql', sql: 'ALTER TABLE a ADD c int;' };

describe('9: a folder whose published files were changed', function () {
  this.timeout(60_000);
  let fleet: Fleet;
  let folder: string;
  const { cli, json } = commandLine(() => fleet);

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'flotilla-folder-'));
    for (const [file, sql] of Object.entries(FILES)) write(file, sql);
    fleet = await startFleet({ publish: false });
    await publish('--name r1');
    await Promise.all(['acme', 'bolt'].map((slug) => fleet.createTenant(slug)));
  });
  after(async () => {
    await fleet.stop();
    rmSync(folder, { recursive: true });
  });

  it('is refused with one space more in a file: with the file, both checksums and who has it', async () => {
    write('002_b.sql', `${FILES['002_b.sql']} `);
    const said = await refused('migration_edited');
    assert.match(said, /002_b\.sql/);
    assert.ok(
      said.includes(checksum(FILES['002_b.sql'])) && said.includes(checksum(`${FILES['002_b.sql']} `)),
    );
    assert.match(said, /acme, bolt/);
    write('002_b.sql', FILES['002_b.sql']);
  });

  it('is refused without one of them, the last one too', async () => {
    for (const [file, sql] of [Object.entries(FILES)[1], Object.entries(FILES)[2]] as [string, string][]) {
      rmSync(join(folder, file));
      const said = await refused('migration_out_of_order');
      assert.ok(said.includes(file.replace('.sql', '')) && said.includes(checksum(sql)), said);
      assert.match(said, /acme, bolt/);
      write(file, sql);
    }
  });

  it('is refused with a new file in between, and runs it last everywhere when that is allowed', async () => {
    write(LATE.file, LATE.sql);
    const said = await refused('migration_out_of_order');
    assert.ok(said.includes(checksum(LATE.sql)) && said.includes(checksum(FILES['004_d.sql'])), said);
    assert.match(said, /003_c\.sql[^]*acme, bolt[^]*--allow-out-of-order/);

    await publish('--name r2 --allow-out-of-order');
    const { steps } = await json<ReleaseDetail>('release get r2');
    assert.deepEqual(
      steps.map(({ name, outOfOrder }) => [name, outOfOrder]),
      [
        ['001_a', false],
        ['002_b', false],
        ['004_d', false],
        ['003_c', true],
      ],
    );
    await rollOut('r2');
    await fleet.createTenant('cogs');
    await assertApplied(['001_a', '002_b', '004_d', '003_c']);
    const { items } = await fleet.admin.ok<{ items: { after: { added: object[] } }[] }>(
      'GET',
      '/api/v1/audit?action=release.publish&limit=1',
    );
    const added = { name: '003_c', checksum: checksum(LATE.sql), outOfOrder: true };
    assert.deepEqual(items[0]?.after.added, [added]);
  });

  it('is taken as it is from then on, and what comes next is planned and run as ever', async () => {
    const again = await publish('');
    assert.match(again, /already published/);
    write('005_e.sql', 'ALTER TABLE b ADD e int;');
    await publish('--name r3');
    const planned = await cli('rollout plan --release r3 -o json');
    assert.equal(planned.code, 0, planned.stderr);
    await rollOut('r3');
    await fleet.createTenant('dyes');
    await assertApplied(['001_a', '002_b', '004_d', '003_c', '005_e']);
  });

  function write(file: string, sql: string): void {
    writeFileSync(join(folder, file), sql);
    assert.equal(readFileSync(join(folder, file), 'utf8'), sql);
  }

  const checksum = (sql: string): string => migrationChecksum(sql, null);

  async function publish(flags: string): Promise<string> {
    const { code, stdout, stderr } = await cli(`release publish ${folder} ${flags}`.trim());
    assert.equal(code, 0, stderr);
    return stdout;
  }

  async function refused(problem: string): Promise<string> {
    const { code, stderr } = await cli(`release publish ${folder}`);
    assert.equal(code, 3, stderr);
    assert.ok(stderr.includes(problem), stderr);
    return stderr;
  }

  async function rollOut(release: string): Promise<void> {
    const { code, stderr } = await cli(`rollout start --release ${release} --wait`);
    assert.equal(code, 0, stderr);
  }

  async function assertApplied(names: string[]): Promise<void> {
    const { items } = await fleet.admin.ok<{ items: Tenant[] }>('GET', '/api/v1/tenants');
    for (const { database } of items) {
      const address = { ...clusters().eu.superuser, database: database ?? '' };
      const { rows } = await withClient(address, { applicationName: 'test' }, (client) =>
        client.query<{ name: string }>('SELECT name FROM pgmigrations ORDER BY id'),
      );
      assert.deepEqual(
        rows.map(({ name }) => name),
        names,
      );
    }
  }
});
