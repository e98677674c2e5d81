import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import type { SecretRotation, SecretVersion } from '../../contract/secret.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { withClient } from '../../platform/pg.ts';
import type { Child } from '../support/child.ts';
import { clusters } from '../support/clusters.ts';
import { addTestServer, startFleet, type Fleet } from '../support/fleet.ts';
import { startWorkerProcess, workerIsReady } from '../support/fleet-processes.ts';
import { sized } from '../support/full-size.ts';
import { handedOut } from '../support/handed-out.ts';
import { seededRandom } from '../support/random.ts';
import { say } from '../support/say.ts';
import { until } from '../support/until.ts';

const SEED = Number(process.env.FLEET_TEST_SEED ?? 20_261_122);
const KILLS = sized(5, 50);
/** A rotation takes a few hundred milliseconds on a busy machine: kills fall into each of its steps. */
const WITHIN_MS = 250;

describe(`a worker killed at ${KILLS} random instants of rotations`, function () {
  this.timeout(600_000);
  const random = seededRandom(SEED);
  let fleet: Fleet;
  let tenant: Tenant;
  let databaseId: string;
  const workers: Child[] = [];

  const startWorker = (): Child => {
    const worker = startWorkerProcess(fleet);
    workers.push(worker);
    return worker;
  };

  before(async () => {
    fleet = await startFleet({ role: 'api' });
    await Promise.all([startWorker(), startWorker()].map(workerIsReady));
    await addTestServer(fleet, 'eu');
    tenant = await fleet.createTenant('killed-rotation');
    const { rows } = await fleet.registry.query<{ id: string }>('SELECT id FROM databases');
    databaseId = rows[0]?.id ?? '';
  });
  after(async () => {
    await Promise.all(workers.map((worker) => worker.kill('SIGKILL')));
    await fleet.stop();
  });

  const versions = async (): Promise<SecretVersion[]> =>
    (await fleet.admin.ok<{ items: SecretVersion[] }>('GET', `/api/v1/secrets/${tenant.slug}`)).items;

  /** What an app is told opens the database, unless it was told something newer meanwhile. */
  async function handedOutWorks(): Promise<void> {
    const { deps } = fleet.controlPlane;
    const { versionId, address } = await handedOut(deps, tenant.id);
    try {
      await withClient(address, { applicationName: 'test' }, (client) =>
        client.query('SELECT 1 FROM projects'),
      );
    } catch (error) {
      if ((await handedOut(deps, tenant.id)).versionId === versionId) throw error;
    }
  }

  async function watch(signal: AbortSignal): Promise<number> {
    let looks = 0;
    for (; !signal.aborted; looks += 1) await handedOutWorks();
    return looks;
  }

  /** Logins of the tenant that let somebody in. */
  async function openLogins(): Promise<string[]> {
    const { rows } = await withClient(clusters().eu.superuser, { applicationName: 'test' }, (client) =>
      client.query<{ login: string }>(
        "SELECT rolname AS login FROM pg_roles WHERE rolname LIKE $1 || '\\_%' AND rolcanlogin AND rolname !~ '_migrator$'",
        [tenant.database],
      ),
    );
    return rows.map(({ login }) => login).sort();
  }

  /** Kills the worker that has the operation in hand, or else the older one; another one starts beside the survivor. */
  async function killOwner(operation: string): Promise<void> {
    const { rows } = await fleet.registry.query<{ pid: number }>(
      "SELECT w.pid FROM leases l JOIN workers w ON w.id = l.holder WHERE l.resource = 'operation:' || $1",
      [operation],
    );
    const victim = workers.find((worker) => worker.process.pid === rows[0]?.pid) ?? workers[0];
    assert.ok(victim !== undefined);
    await victim.kill('SIGKILL');
    workers.splice(workers.indexOf(victim), 1);
    startWorker();
  }

  it(`ends each, hands out what works, and leaves no login that nobody knows (seed ${SEED})`, async () => {
    const over = new AbortController();
    const watching = watch(over.signal);
    // A failure is told at the end; until then nobody listens.
    watching.catch(() => undefined);
    for (let kill = 0; kill < KILLS; kill += 1) {
      const asked = await fleet.admin.call<SecretRotation>('POST', `/api/v1/secrets/${tenant.slug}/rotate`, {
        now: kill % 5 === 4,
      });
      assert.equal(asked.status, 202, JSON.stringify(asked.body));
      await wait(random() * WITHIN_MS);
      await killOwner(asked.body.operation);
      const operation = await fleet.finished(asked.body.operation);
      assert.equal(operation.state, 'succeeded', JSON.stringify(operation.error));
      await until('the old login is closed', async () =>
        (await versions()).every(({ stage }) => stage !== 'previous'),
      );
      const known = (await versions()).filter(({ stage }) => stage === 'current').map(({ login }) => login);
      assert.deepEqual(await openLogins(), known);
    }
    over.abort();
    const looks = await watching;
    say(
      `seed ${SEED}: ${KILLS} kills, the credential that was handed out opened the database ${looks} times`,
    );
    assert.ok(looks > KILLS);
    const { rows } = await fleet.registry.query(
      'SELECT login FROM secret_versions WHERE subject = $1 GROUP BY login',
      [`database:${databaseId}`],
    );
    assert.equal(rows.length, 2);
  });
});
