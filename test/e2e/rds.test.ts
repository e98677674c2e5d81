import assert from 'node:assert/strict';
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import {
  AddTagsToResourceCommand,
  CreateDBInstanceCommand,
  DescribeDBSnapshotsCommand,
  ModifyDBInstanceCommand,
  type RDSClient,
} from '@aws-sdk/client-rds';
import type { Rollout } from '../../contract/rollout.ts';
import type { SecretRotation } from '../../contract/secret.ts';
import type { Server } from '../../contract/server.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { stopCluster, type Cluster } from '../../control-plane/servers/providers/cluster.ts';
import { renderMigrations } from '../../fleet-cli/release/render.ts';
import { addressUrl, withClient } from '../../platform/pg.ts';
import { projectRoot } from '../../platform/project.ts';
import { commandLine } from '../integration/cli/command-line.ts';
import { callTenant } from '../support/api.ts';
import { startTestCluster } from '../support/clusters.ts';
import { startFleet, type Fleet } from '../support/fleet.ts';
import { MOTO_CREDENTIALS, motoTitle, skipWithoutMoto, startMoto, type Moto } from '../support/moto.ts';
import { AWS_REGION, motoClient, prepareSite, SITE } from '../support/rds.ts';
import { makeServersFolder } from '../support/test-run.ts';
import { until } from '../support/until.ts';

/** What stands for the two instances: RDS is emulated, PostgreSQL is not. */
const STAND_INS = ['flotilla-eu-1', 'flotilla-tenant-acme'];
const FINAL = /-final-[0-9a-f]{8}$/;

describe(`the life of servers on RDS ${motoTitle}, PostgreSQL itself behind each`, function () {
  this.timeout(120_000);
  let moto: Moto;
  let fleet: Fleet;
  let folder: string;
  let standIns: Cluster[];
  let rds: RDSClient;
  const environment = { ...process.env };
  const { cli, json } = commandLine(() => fleet);

  before(async function () {
    skipWithoutMoto(this);
    folder = makeServersFolder();
    moto = await startMoto();
    [, ...standIns] = await Promise.all([
      prepareSite(moto),
      ...STAND_INS.map((name) => startTestCluster(join(folder, name))),
    ]);
    // The SDK reads them itself, and this process is the control plane.
    process.env.AWS_ENDPOINT_URL = moto.url;
    process.env.AWS_ACCESS_KEY_ID = MOTO_CREDENTIALS.accessKeyId;
    process.env.AWS_SECRET_ACCESS_KEY = MOTO_CREDENTIALS.secretAccessKey;
    rds = motoClient(moto);
    fleet = await startFleet({
      servers: false,
      env: {
        FLEET_SECRET_STORE: 'aws',
        FLEET_AWS_REGIONS: 'eu=eu-central-1,us=us-east-1',
        FLEET_RDS_SITES: JSON.stringify({ eu: SITE }),
        FLEET_RDS_ENDPOINT_MAP: JSON.stringify(
          Object.fromEntries(STAND_INS.map((name, index) => [name, urlOf(standIns[index])])),
        ),
        AWS_ENDPOINT_URL: moto.url,
      },
    });
    const client = { endpoint: moto.url, credentials: MOTO_CREDENTIALS };
    const secretStore = { awsRegion: AWS_REGION, client };
    await fleet.startApp('eu', { secretStore, reports: { everyMs: 200 } });
  });
  after(async () => {
    await fleet?.stop();
    rds?.destroy();
    await Promise.all([moto?.stop(), ...STAND_INS.map((name) => stopStandIn(name))]);
    process.env = environment;
  });

  const urlOf = (cluster: Cluster | undefined): string =>
    cluster === undefined ? '' : addressUrl(cluster.superuser);
  const stopStandIn = async (name: string): Promise<void> => {
    if (standIns !== undefined) await stopCluster(join(folder, name), 'immediate');
  };
  const done = async (line: string): Promise<string> => {
    const { code, stdout, stderr } = await cli(line);
    assert.equal(code, 0, `${line}: ${stderr}`);
    return stdout + stderr;
  };
  const serves = async (slug: string): Promise<void> => {
    await until(`${slug} is served`, async () => {
      const answer = await callTenant(
        fleet.apps.eu?.url ?? '',
        `${slug}.eu.localhost`,
        'POST',
        '/api/v1/projects',
        { name: 'on RDS' },
      );
      return answer.status === 201;
    });
  };
  const snapshots = async (): Promise<string[]> => {
    const { DBSnapshots = [] } = await rds.send(new DescribeDBSnapshotsCommand({ SnapshotType: 'manual' }));
    return DBSnapshots.map(({ DBSnapshotIdentifier = '' }) => DBSnapshotIdentifier);
  };
  const rotated = async (slug: string): Promise<void> => {
    const { operation } = await fleet.admin.ok<SecretRotation>('POST', `/api/v1/secrets/${slug}/rotate`, {});
    assert.equal((await fleet.finished(operation)).state, 'succeeded');
  };

  it('makes a server, serves, migrates and rotates a tenant there, takes a snapshot, and leaves nothing', async () => {
    await done(
      'server create eu-1 --region eu --provider rds --class db.m7g.large --storage 50 --no-multi-az',
    );
    const server = await json<Server>('server get eu-1');
    assert.deepEqual([server.provider, server.state, server.serverVersion], ['rds', 'ready', 180004]);
    await done('tenant create globex --region eu');
    await serves('globex');
    await migrate();
    await rotated('globex');
    await serves('globex');
    assert.match(await done('server snapshot eu-1'), /snapshot flotilla-eu-1-[0-9a-f]{8}/);
    assert.equal((await snapshots()).length, 1);
    assert.equal((await cli('server remove eu-1 --confirm eu-1')).code, 3);
    await done('tenant delete globex --confirm globex');
    await done('server remove eu-1 --confirm eu-1');
    assert.equal((await snapshots()).filter((name) => FINAL.test(name)).length, 1);
    assert.deepEqual(await json<Server[]>('server list'), []);
  });

  /** One more migration than the fleet has, through a rollout over all of it. */
  async function migrate(): Promise<void> {
    const known = await renderMigrations(join(projectRoot(), 'migrations', 'tenant'));
    const upSql = 'ALTER TABLE projects ADD COLUMN motto text';
    const added = { name: '9001_motto', file: '9001_motto.sql', upSql, downSql: null };
    const release = 'with-motto';
    await fleet.admin.ok('POST', '/api/v1/releases', { name: release, migrations: [...known, added] });
    const rollout = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', { release });
    await until('the rollout ends', async () => {
      const { state } = await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${rollout.id}`);
      return state === 'succeeded';
    });
  }

  it('makes an enterprise tenant a server of its own, which stops, starts and goes with it', async () => {
    await done('tenant create acme --region eu --tier enterprise');
    const acme = await json<Tenant>('tenant get acme');
    assert.equal(acme.server, 'tenant-acme');
    await serves('acme');
    await done('tenant suspend acme --reason unpaid');
    await done('tenant resume acme');
    await serves('acme');
    await done('tenant suspend acme --reason leaves');
    await done('tenant delete acme --confirm acme');
    assert.ok((await snapshots()).some((name) => name.startsWith('flotilla-tenant-acme-final-')));
    assert.deepEqual(await json<Server[]>('server list'), []);
    // What stands in for the instance outlives it: the database was not dropped, as the snapshot is of it.
    const [, standIn] = standIns;
    assert.ok(standIn !== undefined);
    const { rows } = await withClient(standIn.superuser, { applicationName: 'test' }, (client) =>
      client.query('SELECT 1 FROM pg_database WHERE datname = $1', [acme.database]),
    );
    assert.equal(rows.length, 1);
  });

  it('takes an instance that others made in by its tag, tells what they change in RDS, and never deletes it', async () => {
    const DBInstanceIdentifier = 'by-hand';
    const order = new CreateDBInstanceCommand({
      ...{ DBInstanceIdentifier, Engine: 'postgres', EngineVersion: '18', DBInstanceClass: 'db.t4g.medium' },
      ...{ MasterUsername: 'somebody', MasterUserPassword: 'of-somebody', AllocatedStorage: 20 },
    });
    const { DBInstance } = await rds.send(order);
    const [standIn] = standIns;
    writeFileSync(join(folder, 'url'), urlOf(standIn));
    const add = `server add eu-2 --region eu --instance by-hand --url-file ${join(folder, 'url')}`;
    assert.match((await cli(add)).stderr, /has no tag fleet:region.*tag it fleet:region=eu/s);
    const Tags = [{ Key: 'fleet:region', Value: 'eu' }];
    await rds.send(new AddTagsToResourceCommand({ ResourceName: DBInstance?.DBInstanceArn, Tags }));
    await done(add);
    const check = 'drift check --servers --detailed-exitcode';
    assert.equal((await cli(check)).code, 0);
    await rds.send(new ModifyDBInstanceCommand({ DBInstanceIdentifier, DBInstanceClass: 'db.m7g.large' }));
    const { code, stdout } = await cli(check);
    assert.equal(code, 6);
    assert.match(stdout, /by-hand +eu-2 +eu +class is db.m7g.large, not db.t4g.medium/);
    assert.match(await done('server get eu-2'), /class is db.m7g.large, not db.t4g.medium/);
    assert.match(await done('doctor'), /eu-2 differs in RDS: class/);
    await done('server modify eu-2 --class db.t4g.large');
    assert.equal((await cli(check)).code, 0);
    await done('server remove eu-2 --confirm eu-2');
    assert.match((await cli(check)).stdout, /by-hand +- +eu +server is available, and none is known/);
  });
});
