import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Problem } from '../../contract/problem.ts';
import type { RenderedMigration } from '../../contract/release.ts';
import type { Rollout } from '../../contract/rollout.ts';
import { renderMigrations } from '../../fleet-cli/release/render.ts';
import { projectRoot } from '../../platform/project.ts';
import type { TenantApp } from '../../tenant-app/tenant-app.ts';
import { callTenant } from '../support/api.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { until } from '../support/until.ts';

function step(name: string, upSql: string, more: Partial<RenderedMigration> = {}): object {
  return { name, file: `${name}.sql`, upSql, downSql: null, ...more };
}

const EXPAND = step('0103_label', 'ALTER TABLE projects ADD COLUMN label text');
const CONTRACT = step('0104_drop', 'ALTER TABLE projects DROP COLUMN label', {
  phase: 'contract',
  requiresApp: '2.4.0',
});

describe('a contract step in a fleet that serves', () => {
  let fleet: Fleet;
  let old: TenantApp;
  let fresh: TenantApp;

  before(async function () {
    this.timeout(120_000);
    fleet = await startFleet();
    await Promise.all(['early', 'late'].map((slug) => fleet.createTenant(slug)));
    old = await fleet.startApp('eu', { appVersion: '2.3.0', acceptsSchema: { max: '0103_label' } });
    fresh = await fleet.startApp('eu', { appVersion: '2.4.0', acceptsSchema: { min: '0103_label' } });
    await Promise.all([old.routing.whenReady, fresh.routing.whenReady]);
  });
  after(async () => {
    await Promise.all([old.stop(), fresh.stop()]);
    await fleet.stop();
  });

  async function publish(name: string, ...more: object[]): Promise<void> {
    const migrations = [...(await renderMigrations(join(projectRoot(), 'migrations', 'tenant'))), ...more];
    await fleet.admin.ok('POST', '/api/v1/releases', { name, migrations });
  }
  const ask = (app: TenantApp, slug: string) =>
    callTenant<Problem>(app.url, `${slug}.eu.localhost`, 'GET', '/api/v1/whoami');
  const answers = (app: TenantApp, slug: string, status: number) =>
    until(`${slug} gets ${status}`, async () => (await ask(app, slug)).status === status);
  const get = (id: string) => fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);
  const comes = (id: string, state: string) =>
    until(`the rollout is ${state}`, async () => {
      const rollout = await get(id);
      if (rollout.state === 'halted' && state !== 'halted') throw new Error(JSON.stringify(rollout.cause));
      return rollout.state === state ? rollout : undefined;
    });

  it('serves each tenant by the app that works with its schema', async () => {
    for (const slug of ['early', 'late']) {
      assert.equal((await ask(fresh, slug)).body.code, 'schema_out_of_range');
      assert.equal((await ask(old, slug)).status, 200);
    }
    await publish('expand', EXPAND);
    const waves = [
      { name: 'first', match: { tenants: ['early'] }, bake: '1h' },
      { name: 'rest', match: {} },
    ];
    const { id } = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', { release: 'expand', waves });
    await until('the first wave bakes', async () => (await get(id)).waves[0]?.state === 'baking');
    await answers(fresh, 'early', 200);
    const behind = await ask(fresh, 'late');
    assert.deepEqual([behind.status, behind.body.code], [503, 'schema_out_of_range']);
    for (const slug of ['early', 'late']) assert.equal((await ask(old, slug)).status, 200);
    await fleet.admin.ok('POST', `/api/v1/rollouts/${id}/promote`, {});
    await comes(id, 'succeeded');
    await answers(fresh, 'late', 200);
  });

  it('waits for the old app to end, and then goes through', async () => {
    await publish('contract', EXPAND, CONTRACT);
    const plan = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts/plan', { release: 'contract' });
    assert.deepEqual(
      plan.contract?.instances.map(({ appVersion, reason }) => [appVersion, reason]),
      [['2.3.0', '0104_drop requires 2.4.0']],
    );
    const refused = await fleet.admin.call<Problem>('POST', `/api/v1/rollouts/${plan.id}/start`, {});
    assert.deepEqual([refused.status, refused.body.code], [409, 'contract_blocked']);
    assert.match(refused.body.errors?.[0]?.path ?? '', /^app eu\//);
    assert.equal((await get(plan.id)).state, 'planned');

    await old.stop();
    await fleet.admin.ok('POST', `/api/v1/rollouts/${plan.id}/start`, {});
    await comes(plan.id, 'succeeded');
    for (const slug of ['early', 'late']) await answers(fresh, slug, 200);
  });

  it('leaves an app that comes back from before it without its tenants', async () => {
    old = await fleet.startApp('eu', { appVersion: '2.3.0', acceptsSchema: { max: '0103_label' } });
    await old.routing.whenReady;
    assert.equal((await ask(old, 'early')).body.code, 'schema_out_of_range');
  });
});
