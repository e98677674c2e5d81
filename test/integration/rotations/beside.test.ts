import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Problem } from '../../../contract/problem.ts';
import type { Rollout } from '../../../contract/rollout.ts';
import type { Rotation } from '../../../contract/rotation.ts';
import type { SecretRotation, SecretVersion } from '../../../contract/secret.ts';
import type { Tenant } from '../../../contract/tenant.ts';
import type { ProbePoint } from '../../../control-plane/operations/engine.ts';
import { renderMigrations } from '../../../fleet-cli/release/render.ts';
import { withClient } from '../../../platform/pg.ts';
import { projectRoot } from '../../../platform/project.ts';
import { clusters } from '../../support/clusters.ts';
import { operationIdOf, startFleet, type Fleet } from '../../support/fleet.ts';
import { until } from '../../support/until.ts';

/** Holds a rotation in front of its `test`, until it is let go. */
interface Hold {
  reached: Promise<void>;
  letGo: () => void;
}

describe('rotation beside other work', function () {
  this.timeout(120_000);
  let fleet: Fleet;
  let held: { reach: () => void; go: Promise<void> } | undefined;
  let migrations: { name: string; file: string; upSql: string; downSql: string | null }[];

  before(async () => {
    migrations = await renderMigrations(join(projectRoot(), 'migrations', 'tenant'));
    fleet = await startFleet({
      probe: async ({ kind, step, moment }: ProbePoint) => {
        if (kind !== 'secret.rotate' || step !== 'test' || moment !== 'before-effect') return;
        held?.reach();
        await held?.go;
      },
    });
  });
  after(() => fleet.stop());
  afterEach(() => {
    held = undefined;
  });

  function hold(): Hold {
    let [reach, letGo] = [() => {}, () => {}];
    const reached = new Promise<void>((resolve) => (reach = resolve));
    const go = new Promise<void>((resolve) => (letGo = resolve));
    held = { reach, go };
    return { reached, letGo };
  }
  const rotate = (slug: string) =>
    fleet.admin.call<SecretRotation & Problem>('POST', `/api/v1/secrets/${slug}/rotate`, {});
  const versions = async (slug: string): Promise<SecretVersion[]> =>
    (await fleet.admin.ok<{ items: SecretVersion[] }>('GET', `/api/v1/secrets/${slug}`)).items;
  async function succeeds(operation: string): Promise<void> {
    const { state, error } = await fleet.finished(operation);
    assert.equal(state, 'succeeded', JSON.stringify(error));
  }
  async function refused(answer: { status: number; body: unknown }, code: string): Promise<void> {
    assert.deepEqual([answer.status, (answer.body as Problem).code], [409, code]);
    assert.notEqual((answer.body as Problem).fix, undefined);
  }
  /** A rollout whose migration makes a table after it has the lock of the other. */
  async function startRollout(): Promise<{ id: string; table: string }> {
    const table = `beside_${migrations.length}`;
    const name = `0900_${table}`;
    migrations.push({
      ...{ name, file: `${name}.sql`, downSql: null },
      upSql: `ALTER TABLE tasks ADD COLUMN ${table} int; CREATE TABLE ${table} (id int);`,
    });
    await fleet.admin.ok('POST', '/api/v1/releases', { name: table, migrations });
    return { id: (await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', { release: table })).id, table };
  }
  const stateIn = async (rollout: string, { slug }: Tenant): Promise<string | undefined> =>
    (await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${rollout}`)).targets.find(
      ({ tenant }) => tenant === slug,
    )?.state;
  /** What an app that knows the present credential may do with what a migration has made. */
  async function reads(tenant: Tenant, table: string): Promise<void> {
    const { rows } = await fleet.registry.query<{ id: string }>('SELECT id FROM databases WHERE name = $1', [
      tenant.database,
    ]);
    const current = await fleet.controlPlane.deps.secrets.current(fleet.registry, `database:${rows[0]?.id}`);
    assert.ok(current !== undefined);
    const address = { ...clusters().eu.superuser, database: tenant.database ?? '' };
    await withClient(
      { ...address, user: current.login, password: current.password },
      { applicationName: 'test' },
      (client) => client.query(`SELECT FROM ${table}; INSERT INTO ${table} VALUES (1)`),
    );
  }

  it('goes on while the tenant is migrated, and a run over many defers it', async () => {
    const tenant = await fleet.createTenant('beside-migrated');
    const address = { ...clusters().eu.superuser, database: tenant.database ?? '' };
    const made = await withClient(address, { applicationName: 'test' }, async (client) => {
      await client.query('BEGIN; LOCK TABLE tasks');
      const { id: rollout, table } = await startRollout();
      await until('its migration waits', async () => (await stateIn(rollout, tenant)) === 'running');
      const { body } = await rotate(tenant.slug);
      await succeeds(body.operation);
      const run = await fleet.admin.ok<Rotation>('POST', '/api/v1/rotations', {
        match: { tenants: [tenant.slug] },
      });
      const at = `/api/v1/rotations/${run.id}`;
      const deferred = await until('it is deferred', async () => {
        const { attention } = await fleet.admin.ok<Rotation>('GET', at);
        return attention[0];
      });
      assert.equal(deferred.reason, `rollout ${rollout} is migrating it`);
      await fleet.admin.ok('POST', `${at}/cancel`);
      await client.query('ROLLBACK');
      await until('it is migrated', async () => (await stateIn(rollout, tenant)) === 'verified', 30_000);
      return table;
    });
    await reads(tenant, made);
  });

  it('is not disturbed by a migration that begins and ends meanwhile', async () => {
    const tenant = await fleet.createTenant('beside-rotating');
    const { reached, letGo } = hold();
    const { body } = await rotate(tenant.slug);
    await reached;
    const { id: rollout, table } = await startRollout();
    await until('it is migrated', async () => (await stateIn(rollout, tenant)) === 'verified', 30_000);
    letGo();
    await succeeds(body.operation);
    await reads(tenant, table);
  });

  it('keeps a tenant from being suspended or deleted for as long as it lasts, and no longer', async () => {
    const tenant = await fleet.createTenant('beside-gone');
    const { reached, letGo } = hold();
    const { body } = await rotate(tenant.slug);
    await reached;
    const suspend = () => fleet.admin.call('POST', `/api/v1/tenants/${tenant.slug}/suspend`, {});
    const remove = () =>
      fleet.admin.call('DELETE', `/api/v1/tenants/${tenant.slug}?confirm=${tenant.slug}`, {
        confirm: tenant.slug,
      });
    await refused(await suspend(), 'operation_in_progress');
    await refused(await remove(), 'operation_in_progress');
    // The same again joins.
    assert.deepEqual((await rotate(tenant.slug)).body, { ...body, joined: true });
    letGo();
    await succeeds(body.operation);
    const suspended = await suspend();
    // From the request on, and not only when its logins are closed.
    await refused(await rotate(tenant.slug), 'wrong_state');
    await succeeds(operationIdOf(suspended.headers));
    const removed = await remove();
    assert.equal(removed.status, 202, JSON.stringify(removed.body));
    await refused(await rotate(tenant.slug), 'wrong_state');
    await succeeds(operationIdOf(removed.headers));
    const gone = await rotate(tenant.slug);
    assert.equal(gone.status, 404);
  });

  it("goes on while the credentials of the tenant's server are rotated", async () => {
    const tenant = await fleet.createTenant('beside-server');
    const { reached, letGo } = hold();
    const { body } = await rotate(tenant.slug);
    await reached;
    const { body: ofServer } = await fleet.admin.call<{ operation: string }>(
      'POST',
      '/api/v1/servers/eu-1/rotate',
      {},
    );
    await succeeds(ofServer.operation);
    letGo();
    await succeeds(body.operation);
    assert.equal((await versions(tenant.slug)).filter(({ stage }) => stage === 'current').length, 1);
  });
});
