import assert from 'node:assert/strict';
import type { CreatedKey } from '../../../contract/access.ts';
import type { Drift, DriftCheck } from '../../../contract/drift.ts';
import type { Tenant } from '../../../contract/tenant.ts';
import { databaseNames } from '../../../control-plane/servers/database.ts';
import { withClient } from '../../../platform/pg.ts';
import { clusters } from '../../support/clusters.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';
import { commandLine } from './command-line.ts';

describe('drift on the command line', () => {
  let server: Fleet;
  const { cli, env } = commandLine(() => server);
  const drifted = async (line: string): Promise<Drift[]> => {
    const { stdout } = await cli(`${line} -o json`);
    return JSON.parse(stdout) as Drift[];
  };

  before(async () => {
    server = await startFleet();
    await Promise.all([
      server.createTenant('acme', 'eu', { labels: { canary: 'true' } }),
      server.createTenant('bolt', 'us'),
    ]);
  });
  after(() => server.stop());

  /** What somebody does at a psql prompt. */
  async function tamper(slug: string, region: 'eu' | 'us', sql: string): Promise<void> {
    const { database } = await server.admin.ok<Tenant>('GET', `/api/v1/tenants/${slug}`);
    const { rows } = await server.registry.query<{ id: string }>('SELECT id FROM databases WHERE name = $1', [
      database,
    ]);
    const address = { ...clusters()[region].superuser, database: database ?? '' };
    const { ownerRole } = databaseNames(rows[0]?.id ?? '');
    await withClient(address, { applicationName: 'test' }, (client) =>
      client.query(`SET ROLE ${ownerRole}; ${sql}`),
    );
  }

  async function keyOf(role: string, regions: string[]): Promise<NodeJS.ProcessEnv> {
    const key = await server.admin.ok<CreatedKey>('POST', '/api/v1/keys', {
      name: `${role}-${regions.join()}`,
      role,
      regions,
    });
    return { ...env(), FLEET_TOKEN: key.token };
  }

  it('finds none in a new fleet', async () => {
    const checked = await cli('drift check --wait --detailed-exitcode -o json');
    assert.equal(checked.code, 0, checked.stderr);
    const check = JSON.parse(checked.stdout) as DriftCheck;
    assert.deepEqual(check.counts, { same: 2, drifted: 0, accepted: 0, busy: 0, unread: 0 });
    const listed = await cli('drift list --detailed-exitcode');
    assert.deepEqual([listed.code, listed.stderr], [0, 'no drift\n']);
  });

  it('tells it by exit code 6, as a list and as a diff', async () => {
    await tamper('acme', 'eu', 'ALTER TABLE tasks ADD COLUMN extra text');
    await tamper('bolt', 'us', 'DROP TABLE tasks');
    const chosen = await cli('drift check --where region=eu --where label.canary=true --detailed-exitcode');
    assert.equal(chosen.code, 6, chosen.stderr);
    assert.match(chosen.stderr, /drift_found[^]*fleet drift list --diff/);
    assert.match((await cli('drift check --tenant acme')).stdout, /drifted +1/);

    const listed = await cli('drift list --detailed-exitcode');
    assert.equal(listed.code, 6);
    assert.match(listed.stdout, /acme +eu +✖ drifted .*tasks: \+ column extra text/);
    assert.doesNotMatch(listed.stdout, /bolt/);
    const diff = await cli('drift list --diff');
    assert.match(diff.stdout, /^acme \(eu, .*drifted, since .*\)\n--- expected\n\+\+\+ found\n@@ /);
    assert.match(diff.stdout, /^\+ {2}column extra text$/m);
    const [drift] = await drifted('drift list');
    assert.match(drift?.diff ?? '', /^\+ {2}column extra text$/m);
    assert.equal(drift?.accepted, null);
  });

  it('tells nobody of the regions that are not theirs', async () => {
    assert.equal((await cli('drift check')).code, 0);
    assert.deepEqual(
      (await drifted('drift list')).map(({ tenant }) => tenant),
      ['acme', 'bolt'],
    );
    const us = await keyOf('operator', ['us']);
    const seen = await cli('drift list -o name', { env: us });
    assert.equal(seen.stdout, 'bolt\n');
    assert.equal((await cli('drift check --where region=eu', { env: us })).code, 4);
    const checked = await cli('drift check -o json', { env: us });
    assert.equal((JSON.parse(checked.stdout) as DriftCheck).counts.drifted, 1);
    assert.equal((await cli('drift accept acme --reason mine', { env: us })).code, 4);

    const whole = JSON.parse((await cli('drift check --no-wait -o json')).stdout) as DriftCheck;
    const asked = await cli(`api GET /api/v1/drift/checks/${whole.id}`, { env: us });
    assert.equal(asked.code, 3, asked.stdout);
    const viewer = await keyOf('viewer', []);
    assert.equal((await cli('drift check', { env: viewer })).code, 4);
    assert.equal((await cli('drift list -o name', { env: viewer })).stdout, 'acme\nbolt\n');
  });

  it('is accepted with a reason, which the audit log keeps', async () => {
    assert.equal((await cli('drift accept acme')).code, 2);
    assert.equal((await cli('drift accept nobody --reason x')).code, 3);
    const accepted = await cli('drift accept acme --reason wanted');
    assert.equal(accepted.code, 0, accepted.stderr);
    assert.match(accepted.stdout, /! accepted/);
    const again = await cli('drift check --tenant acme --detailed-exitcode');
    assert.equal(again.code, 0, again.stderr);
    const [drift] = await drifted('drift list --state accepted');
    assert.deepEqual([drift?.tenant, drift?.accepted?.reason], ['acme', 'wanted']);
    assert.match((await cli('audit list --action drift.accept')).stdout, /drift\.accept +tenant:acme/);
  });

  it('refuses wrong choices before anything is sent', async () => {
    for (const line of [
      'drift check --where colour=red',
      'drift check --where region',
      'drift list --state odd',
    ])
      assert.equal((await cli(line)).code, 2, line);
    assert.equal((await cli('drift check --where tier=gold')).code, 2);
  });
});
