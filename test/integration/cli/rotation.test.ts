import assert from 'node:assert/strict';
import type { Rotation } from '../../../contract/rotation.ts';
import type { SecretVersion } from '../../../contract/secret.ts';
import { startFleet, type Fleet } from '../../support/fleet.ts';
import { commandLine } from './command-line.ts';

describe('rotation of many on the command line', () => {
  let server: Fleet;
  const { cli, json } = commandLine(() => server);

  before(async () => {
    server = await startFleet();
    await Promise.all(['acme', 'bolt', 'crux'].map((slug) => server.createTenant(slug)));
    await server.createTenant('doku', 'us');
  });
  after(() => server.stop());

  const versions = async (slug: string): Promise<number> =>
    (await json<SecretVersion[]>(`secret get ${slug}`)).length;

  it('says whom a selection takes without changing anything', async () => {
    const { code, stdout, stderr } = await cli('secret rotate --where region=eu --dry-run');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /acme[\s\S]*bolt[\s\S]*crux/);
    assert.doesNotMatch(stdout, /doku/);
    assert.match(stderr, /dry run: 3 tenants would be rotated, 0 deferred/);
    assert.deepEqual(await json('rotation list'), []);
  });

  it('follows a run to its end, and shows it afterwards', async () => {
    const { code, stdout, stderr } = await cli(
      'secret rotate --where region=eu --parallel 3 --reason quarterly',
    );
    assert.equal(code, 0, stderr);
    assert.match(stderr, /rotating 3 tenants \(run .*\)/);
    assert.match(stderr, /3 of 3 rotated/);
    assert.match(stdout, /succeeded/);
    assert.deepEqual([await versions('acme'), await versions('doku')], [2, 1]);
    const [run] = await json<Rotation[]>('rotation list');
    assert.deepEqual([run?.state, run?.reason, run?.counts.rotated], ['succeeded', 'quarterly', 3]);
    const targets = await cli(`rotation get ${run?.id} --state rotated -o name`);
    assert.equal(targets.stdout, 'acme\nbolt\ncrux\n');
    assert.equal((await cli(`rotation cancel ${run?.id}`)).code, 3);
  });

  it('ends with 5 when the run is cancelled while it waits, and says who is left', async () => {
    const suspended = await cli('tenant suspend doku --wait');
    assert.equal(suspended.code, 0, suspended.stderr);
    const deferred = await cli('secret rotate --tenant doku');
    assert.equal(deferred.code, 0, deferred.stderr);
    assert.match(deferred.stderr, /deferred doku: it is suspended[\s\S]*1 tenant not rotated now/);
    await server.registry.query("UPDATE tenants SET state = 'moving' WHERE slug = 'doku'");
    const run = await json<Rotation>('secret rotate --tenant doku --no-wait');
    const waiting = cli(`rotation get ${run.id} -w`);
    assert.equal((await cli(`rotation cancel ${run.id}`)).code, 0);
    const { code, stderr } = await waiting;
    assert.equal(code, 5, stderr);
    assert.match(stderr, /admin has cancelled it/);
    await server.registry.query("UPDATE tenants SET state = 'suspended' WHERE slug = 'doku'");
  });

  it('rotates what a server is administered and migrated with', async () => {
    const { code, stdout, stderr } = await cli('secret rotate --server eu-1 --reason handover');
    assert.equal(code, 0, stderr);
    assert.match(stderr, /server\.rotate eu-1[\s\S]*create[\s\S]*set[\s\S]*test[\s\S]*finish/);
    assert.match(stdout, /fleet_admin .*current/);
    await server.createTenant('born-after');
    assert.equal((await cli('secret rotate --server eu-1 --all')).code, 2);
    assert.equal((await cli('secret rotate --server nowhere')).code, 3);
  });

  it('wants to be told what to rotate', async () => {
    for (const line of [
      'secret rotate',
      'secret rotate acme --all',
      'secret rotate --all --tenant acme',
      'secret rotate acme --parallel 3',
    ]) {
      const { code, stderr } = await cli(line);
      assert.equal(code, 2, line);
      assert.match(stderr, /not clear what to rotate/);
    }
    assert.equal((await cli('secret rotate --where tier=enterprise')).code, 2);
  });
});
