import assert from 'node:assert/strict';
import type { Rotation } from '../../contract/rotation.ts';
import type { SecretRotation, SecretVersion } from '../../contract/secret.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { withClient } from '../../platform/pg.ts';
import { startChild, type Child } from '../support/child.ts';
import { clusters } from '../support/clusters.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { addTestServer, startFleet, type Fleet } from '../support/fleet.ts';
import { until } from '../support/until.ts';

const TENANTS = 5;

/**
 * Kills that are aimed: the worker is stopped in front of its next write by a lock on a row that it needs, then killed.
 */
describe('a worker killed at one instant of a rotation', function () {
  this.timeout(240_000);
  let fleet: Fleet;
  let tenants: Tenant[];
  const workers: Child[] = [];

  const startWorker = (): Child => {
    const worker = startChild('control-plane/main.ts', ['--role', 'worker'], {
      FLEET_DATA_DIR: fleet.config.dataDir,
      FLEET_LOG_LEVEL: 'warn',
      FLEET_REGISTRY_URL: undefined,
    });
    workers.push(worker);
    return worker;
  };
  before(async () => {
    fleet = await startFleet({ role: 'api' });
    await Promise.all(
      [startWorker(), startWorker()].map((worker) => worker.line((text) => text.includes('ready'))),
    );
    await addTestServer(fleet, 'eu');
    const numbers = Array.from({ length: TENANTS }, (_, index) => index);
    tenants = await eachAtOnce(numbers, 3, (index) => fleet.createTenant(`aimed-${index}`));
  });
  after(async () => {
    await Promise.all(workers.map((worker) => worker.kill('SIGKILL')));
    await fleet.stop();
  });

  /** Kills the worker that holds the resource; another one starts beside the survivor. */
  async function killOwner(resource: string): Promise<void> {
    const victim = await until(`a living worker holds ${resource}`, async () => {
      const { rows } = await fleet.registry.query<{ pid: number }>(
        'SELECT w.pid FROM leases l JOIN workers w ON w.id = l.holder WHERE l.resource = $1',
        [resource],
      );
      return workers.find((worker) => worker.process.pid === rows[0]?.pid);
    });
    await victim.kill('SIGKILL');
    workers.splice(workers.indexOf(victim), 1);
    startWorker();
  }
  const versions = async (name: string): Promise<SecretVersion[]> =>
    (await fleet.admin.ok<{ items: SecretVersion[] }>('GET', `/api/v1/secrets/${name}`)).items;
  async function mayLogIn(login: string): Promise<boolean> {
    const { rows } = await withClient(clusters().eu.superuser, { applicationName: 'test' }, (client) =>
      client.query<{ open: boolean }>('SELECT rolcanlogin AS open FROM pg_roles WHERE rolname = $1', [login]),
    );
    return rows[0]?.open === true;
  }
  /** Holds the rows of that query while `work` runs. */
  const holding = <T>(sql: string, values: unknown[], work: () => Promise<T>): Promise<T> =>
    fleet.registry.transaction(async (tx) => {
      const { rows } = await tx.query(sql, values);
      assert.equal(rows.length, 1);
      return work();
    });

  it('between closing an old login and recording it: it is recorded, and rotates again', async () => {
    const [tenant] = tenants;
    assert.ok(tenant !== undefined);
    const [first] = await versions(tenant.slug);
    assert.ok(first !== undefined);
    await holding('SELECT FROM sealed_secrets WHERE version_id = $1 FOR UPDATE', [first.id], async () => {
      const { operation } = await fleet.admin.ok<SecretRotation>(
        'POST',
        `/api/v1/secrets/${tenant.slug}/rotate`,
        {},
      );
      assert.equal((await fleet.finished(operation)).state, 'succeeded');
      await until('its login is closed', async () => !(await mayLogIn(first.login)));
      // The value is still there, and the registry says that it may be in use.
      assert.equal((await versions(tenant.slug)).find(({ id }) => id === first.id)?.stage, 'previous');
      await killOwner(`secret:${first.id}`);
    });
    const retired = await until('it is recorded', async () =>
      (await versions(tenant.slug)).find(({ id, stage }) => id === first.id && stage === 'retired'),
    );
    assert.match(retired.retiredBecause ?? '', /every app instance has acknowledged/);
    assert.equal(await mayLogIn(first.login), false);
    const again = await fleet.admin.ok<SecretRotation>('POST', `/api/v1/secrets/${tenant.slug}/rotate`, {});
    assert.equal((await fleet.finished(again.operation)).state, 'succeeded');
    assert.equal(await mayLogIn(first.login), true);
    await until('it is alone', async () =>
      (await versions(tenant.slug)).every(({ stage }) => stage !== 'previous'),
    );
  });

  it("between a server's new passwords and their record: the fleet goes on, and so does the rotation", async () => {
    const before = (await versions('eu-1')).find(
      ({ stage, subject }) => stage === 'current' && subject.startsWith('server:'),
    );
    assert.ok(before !== undefined);
    const operation = await holding(
      'SELECT FROM secret_versions WHERE id = $1 FOR UPDATE',
      [before.id],
      async () => {
        const { operation: id } = await fleet.admin.ok<SecretRotation>(
          'POST',
          '/api/v1/servers/eu-1/rotate',
          {},
        );
        await until('they are set and tried out', async () => {
          const { rows } = await fleet.registry.query(
            "SELECT FROM operation_steps WHERE operation_id = $1 AND name = 'finish' AND state = 'running'",
            [id],
          );
          return rows.length === 1;
        });
        await killOwner(`operation:${id}`);
        // With the old password in the registry's eyes, and the new one in the server's.
        await fleet.createTenant('born-in-between');
        assert.equal((await versions('eu-1')).find((one) => one.id === before.id)?.stage, 'current');
        return id;
      },
    );
    assert.equal((await fleet.finished(operation)).state, 'succeeded');
    assert.notEqual((await versions('eu-1')).find((one) => one.id === before.id)?.stage, 'current');
    await fleet.createTenant('born-afterwards');
  });

  it('in the middle of a run, again and again: each tenant is rotated once, and the run ends', async () => {
    const slugs = tenants.map(({ slug }) => slug);
    const turns = async () => Promise.all(slugs.map(async (slug) => (await versions(slug)).length));
    const before = await turns();
    const { id } = await fleet.admin.ok<Rotation>('POST', '/api/v1/rotations', {
      ...{ match: { tenants: slugs }, parallel: 2 },
    });
    const see = () => fleet.admin.ok<Rotation>('GET', `/api/v1/rotations/${id}`);
    for (let kill = 0; kill < 2; kill += 1) {
      await until('it has come further', async () => (await see()).counts.rotated >= kill, 30_000);
      await killOwner(`rotation:${id}`);
    }
    const run = await until(
      'the run is over',
      async () => {
        const present = await see();
        return present.finishedAt === null ? undefined : present;
      },
      60_000,
    );
    assert.deepEqual([run.state, run.counts.rotated], ['succeeded', TENANTS], JSON.stringify(run));
    assert.deepEqual(
      await turns(),
      before.map((count) => count + 1),
    );
  });
});
