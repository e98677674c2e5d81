import assert from 'node:assert/strict';
import {
  DeleteSecretCommand,
  ListSecretsCommand,
  RestoreSecretCommand,
  type SecretListEntry,
} from '@aws-sdk/client-secrets-manager';
import { ListKeysCommand } from '@aws-sdk/client-kms';
import type { Problem } from '../../../contract/problem.ts';
import type { RouteSnapshot } from '../../../contract/route.ts';
import type { Tenant } from '../../../contract/tenant.ts';
import { openAwsRegions, type AwsRegions } from '../../../control-plane/secrets/aws/regions.ts';
import { openSecretReader } from '../../../platform/aws/secret-reader.ts';
import { withClient } from '../../../platform/pg.ts';
import type { TenantApp } from '../../../tenant-app/tenant-app.ts';
import { apiClient, callTenant, type HttpAnswer } from '../../support/api.ts';
import { programRole } from '../../support/aws-policies.ts';
import { startAwsRoles, type AwsRoles } from '../../support/aws-roles.ts';
import { clusters } from '../../support/clusters.ts';
import { operationIdOf, startFleet, type Fleet } from '../../support/fleet.ts';
import { MOTO_CREDENTIALS, motoTitle, skipWithoutMoto, startMoto, type Moto } from '../../support/moto.ts';
import { recordingLogger } from '../../support/recording-logger.ts';
import { quietLogger } from '../../support/registry.ts';
import { terraformFiles } from '../../support/terraform.ts';
import { until } from '../../support/until.ts';

/** Each program under the policies that Terraform gives it; moto has none, so they are enforced in front of it. */
describe(`a fleet with its secrets ${motoTitle}, each program under its own role`, function () {
  this.timeout(120_000);
  let moto: Moto;
  let aws: AwsRoles;
  let fleet: Fleet;
  let regions: AwsRegions;
  let apps: { eu: TenantApp; us: TenantApp };
  let acme: Tenant;
  let globex: Tenant;
  const log: string[] = [];
  const environment = { ...process.env };

  before(async function () {
    skipWithoutMoto(this);
    const files = await terraformFiles();
    moto = await startMoto();
    aws = await startAwsRoles(moto.url, {
      'control-plane': await programRole(files, 'control-plane'),
      'app-eu': await programRole(files, 'tenant-app', 'eu'),
      'app-us': await programRole(files, 'tenant-app', 'us'),
    });
    // The SDK reads them itself, and this process is the control plane.
    process.env.AWS_ENDPOINT_URL = aws.url;
    process.env.AWS_ACCESS_KEY_ID = 'control-plane';
    process.env.AWS_SECRET_ACCESS_KEY = 'x';
    fleet = await startFleet({
      env: { FLEET_SECRET_STORE: 'aws', FLEET_AWS_REGIONS: 'eu=eu-central-1,us=us-east-1' },
    });
    const map = { eu: 'eu-central-1', us: 'us-east-1' };
    regions = openAwsRegions('flotilla', map, { endpoint: moto.url, credentials: MOTO_CREDENTIALS });
    [acme, globex] = await Promise.all([
      fleet.createTenant('acme', 'eu'),
      fleet.createTenant('globex', 'us'),
    ]);
    apps = { eu: await startApp('eu'), us: await startApp('us') };
  });
  after(async () => {
    aws?.setAway(false);
    await fleet?.stop();
    regions?.close();
    await aws?.stop();
    await moto?.stop();
    process.env = environment;
  });

  const clientOf = (role: string) => ({
    endpoint: aws.url,
    credentials: { accessKeyId: role, secretAccessKey: 'x' },
  });

  async function startApp(region: 'eu' | 'us'): Promise<TenantApp> {
    const awsRegion = region === 'eu' ? 'eu-central-1' : 'us-east-1';
    const secretStore = { awsRegion, client: clientOf(`app-${region}`) };
    const logger = recordingLogger((line) => log.push(line));
    const app = await fleet.startApp(region, { secretStore, logger, reports: { everyMs: 50 } });
    await app.routing.whenReady;
    return app;
  }

  async function secretsOf(region: string): Promise<SecretListEntry[]> {
    const { SecretList } = await regions
      .of(region)
      .secrets.send(new ListSecretsCommand({ IncludePlannedDeletion: true, MaxResults: 100 }));
    return SecretList ?? [];
  }
  const namesOf = async (region: string) => (await secretsOf(region)).map(({ Name = '' }) => Name);

  function ask(app: TenantApp, slug: string, region = 'eu'): Promise<HttpAnswer<{ code?: string }>> {
    return callTenant(app.url, `${slug}.${region}.localhost`, 'GET', '/api/v1/whoami');
  }
  const codeOf = ({ status, body, headers }: HttpAnswer<{ code?: string }>) =>
    `${status} ${body.code} ${headers['retry-after']}`;

  async function endSessions(tenant: Tenant): Promise<void> {
    await withClient(clusters().eu.superuser, { applicationName: 'test' }, (client) =>
      client.query('SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1', [
        tenant.database,
      ]),
    );
  }

  it('serves tenants of both regions, each with its secret and key in its own region alone', async () => {
    const body = { name: 'first' };
    const [inEu, inUs] = await Promise.all([
      callTenant(apps.eu.url, 'acme.eu.localhost', 'POST', '/api/v1/projects', body),
      callTenant(apps.us.url, 'globex.us.localhost', 'POST', '/api/v1/projects', body),
    ]);
    assert.deepEqual(
      [inEu.status, inUs.status],
      [201, 201],
      JSON.stringify([inEu.body, inUs.body, aws.refused]),
    );
    const [eu, us] = await Promise.all([namesOf('eu'), namesOf('us')]);
    assert.ok(eu.some((name) => name.startsWith(`flotilla/eu/tenant-${acme.id}/database-`)));
    assert.ok(us.some((name) => name.startsWith(`flotilla/us/tenant-${globex.id}/database-`)));
    assert.ok(!eu.some((name) => name.includes(globex.id)));
    assert.ok(!us.some((name) => name.includes(acme.id)));
    const { Keys = [] } = await regions.of('us').kms.send(new ListKeysCommand({}));
    assert.ok(Keys.every(({ KeyArn = '' }) => KeyArn.startsWith('arn:aws:kms:us-east-1:')));
  });

  it('leaves nothing sealed in the registry once AWS has it', async () => {
    await fleet.controlPlane.deps.secrets.settle(quietLogger);
    const { rows } = await fleet.registry.query('SELECT 1 FROM sealed_secrets');
    assert.equal(rows.length, 0);
  });

  it("refuses an app's role whatever is of another region, or opens a server", async () => {
    const versions = async (region: string, owner: string) => {
      const secret = (await secretsOf(region)).find(({ Name = '' }) => Name.includes(`/${owner}`));
      const [versionId = ''] = Object.keys(secret?.SecretVersionsToStages ?? {});
      return { name: secret?.Name ?? '', versionId };
    };
    const read = async (role: string, awsRegion: string, region: string, owner: string) => {
      const reader = openSecretReader(awsRegion, clientOf(role));
      try {
        return await reader.read(await versions(region, owner)).then(
          () => 'read',
          (error: { code?: string }) => error.code,
        );
      } finally {
        reader.close();
      }
    };
    assert.equal(await read('app-us', 'us-east-1', 'us', `tenant-${globex.id}`), 'read');
    assert.equal(await read('app-eu', 'us-east-1', 'us', `tenant-${globex.id}`), 'aws_access_denied');
    assert.equal(await read('app-us', 'eu-central-1', 'eu', `tenant-${acme.id}`), 'aws_access_denied');
    assert.equal(await read('app-eu', 'eu-central-1', 'eu', 'server-'), 'aws_access_denied');
  });

  it('has the control plane name secrets to the apps of their region, and hand out none', async () => {
    const token = await fleet.admin.ok<{ token: string }>('POST', '/api/v1/keys', {
      name: 'another-app',
      role: 'app',
      regions: ['eu'],
    });
    const app = apiClient(fleet.url, token.token);
    const { routes } = await app.ok<RouteSnapshot>('GET', '/api/v1/regions/eu/routes');
    const own = routes.find((route) => route.kind === 'local' && route.tenantId === acme.id);
    assert.ok(own?.kind === 'local');
    assert.match(own.secret ?? '', new RegExp(`^flotilla/eu/tenant-${acme.id}/database-`));
    assert.ok(!JSON.stringify(routes).includes('flotilla/us/'));
    const answer = await app.call<{ code?: string }>(
      'GET',
      `/api/v1/regions/eu/credentials/${own.databaseId}`,
    );
    assert.deepEqual([answer.status, answer.body.code], [409, 'credentials_elsewhere']);
  });

  it('rotates under requests without a failed one', async () => {
    const answers = new Map<string, number>();
    let isOver = false;
    const client = async (): Promise<void> => {
      while (!isOver) {
        const code = codeOf(await ask(apps.eu, 'acme'));
        answers.set(code, (answers.get(code) ?? 0) + 1);
      }
    };
    const clients = Promise.all([1, 2, 3, 4].map(client));
    try {
      for (let round = 0; round < 2; round += 1) {
        const answer = await fleet.admin.call('POST', '/api/v1/secrets/acme/rotate');
        const operation = await fleet.finished(operationIdOf(answer.headers));
        assert.equal(operation.state, 'succeeded', JSON.stringify(operation.error));
        await until('the app has acknowledged and the old login is closed', async () => {
          const { rows } = await fleet.registry.query(
            "SELECT 1 FROM secret_versions WHERE owner = $1 AND stage = 'previous'",
            [`tenant:${acme.id}`],
          );
          return rows.length === 0 || undefined;
        });
      }
    } finally {
      isOver = true;
      await clients;
    }
    assert.deepEqual([...answers.keys()], ['200 undefined undefined']);
    assert.ok((answers.get('200 undefined undefined') ?? 0) > 20);
  });

  it('serves what it has read before while AWS is away, says what it cannot read, and recovers', async () => {
    await fleet.createTenant('late', 'eu');
    await until(
      'the route of late is there',
      async () => (await ask(apps.eu, 'late')).status !== 404 || undefined,
    );
    assert.equal((await ask(apps.eu, 'acme')).status, 200);
    const fresh = await startApp('eu');
    try {
      assert.equal((await ask(fresh, 'acme')).status, 200);
      aws.setAway(true);
      await endSessions(acme);
      await until(
        'acme is served by new connections',
        async () => (await ask(fresh, 'acme')).status === 200 || undefined,
      );
      assert.equal(codeOf(await ask(fresh, 'late')), '503 credential_unavailable 5');
      aws.setAway(false);
      await until(
        'late is served again',
        async () => (await ask(fresh, 'late')).status === 200 || undefined,
        20_000,
      );
    } finally {
      aws.setAway(false);
      await fresh.stop();
    }
  });

  it('says in its answer and log what keeps one tenant from its credential, and serves the others', async () => {
    const gone = await fleet.createTenant('gone', 'eu');
    const fresh = await startApp('eu');
    try {
      const [secret] = (await secretsOf('eu')).filter(({ Name = '' }) => Name.includes(gone.id));
      const SecretId = secret?.Name ?? '';
      const remove = new DeleteSecretCommand({ SecretId, ForceDeleteWithoutRecovery: true });
      await regions.of('eu').secrets.send(remove);
      assert.equal(codeOf(await ask(fresh, 'gone')), '503 credential_missing 30');
      assert.equal((await ask(fresh, 'acme')).status, 200);
      const line = log.find((text) => text.includes('credential_missing'));
      assert.ok(line?.includes('"tenant":"gone"') && line.includes(SecretId), line);
      aws.throttle('secretsmanager:GetSecretValue');
      assert.equal(codeOf(await ask(fresh, 'late')), '503 credential_throttled 5');
      assert.equal((await ask(fresh, 'acme')).status, 200);
    } finally {
      aws.throttle(undefined);
      await fresh.stop();
    }
  });

  it('says that a secret was deleted by hand, as a rotation meets it, and rotates when it is back', async () => {
    const tenant = await fleet.createTenant('by-hand', 'eu');
    const SecretId = (await namesOf('eu')).find((name) => name.includes(tenant.id));
    const rotate = async () => {
      const { headers } = await fleet.admin.call('POST', '/api/v1/secrets/by-hand/rotate');
      return fleet.finished(operationIdOf(headers));
    };
    const { secrets } = regions.of('eu');
    await secrets.send(new DeleteSecretCommand({ SecretId, RecoveryWindowInDays: 7 }));
    const failed = await rotate();
    assert.deepEqual([failed.state, failed.error?.code], ['failed', 'secret_deleted']);
    assert.match(failed.error?.message ?? '', /was deleted in AWS/);
    await secrets.send(new RestoreSecretCommand({ SecretId }));
    const done = await rotate();
    assert.equal(done.state, 'succeeded', JSON.stringify(done.error));
  });

  it('has no master key to rotate', async () => {
    const answer = await fleet.admin.call<Problem>('POST', '/api/v1/master-key/rotate');
    assert.deepEqual([answer.status, answer.body.code], [409, 'keys_in_kms']);
  });

  it('has the secrets of a deleted tenant destroyed', async () => {
    const tenant = await fleet.createTenant('initech', 'eu');
    const answer = await fleet.admin.call('DELETE', '/api/v1/tenants/initech?confirm=initech');
    const operation = await fleet.finished(operationIdOf(answer.headers));
    assert.equal(operation.state, 'succeeded', JSON.stringify(operation.error));
    await fleet.controlPlane.deps.secrets.settle(quietLogger);
    const own = (await secretsOf('eu')).filter(({ Name = '' }) => Name.includes(tenant.id));
    assert.equal(own.length, 1);
    assert.ok(own.every((secret) => secret.DeletedDate !== undefined));
  });

  it('was refused nothing but what it asked for beyond its rights', () => {
    assert.deepEqual(
      aws.refused.filter((line) => line.startsWith('control-plane ')),
      [],
    );
  });
});
