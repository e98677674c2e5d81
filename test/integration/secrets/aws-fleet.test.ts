import assert from 'node:assert/strict';
import { ListKeysCommand } from '@aws-sdk/client-kms';
import { ListSecretsCommand, type SecretListEntry } from '@aws-sdk/client-secrets-manager';
import { openAwsRegions, type AwsRegions } from '../../../control-plane/secrets/aws/regions.ts';
import { callTenant } from '../../support/api.ts';
import { operationIdOf, startFleet, type Fleet } from '../../support/fleet.ts';
import { MOTO_CREDENTIALS, motoTitle, skipWithoutMoto, startMoto, type Moto } from '../../support/moto.ts';
import { quietLogger } from '../../support/registry.ts';
import { until } from '../../support/until.ts';

describe(`a fleet with its secrets ${motoTitle}`, function () {
  this.timeout(120_000);
  let moto: Moto;
  let fleet: Fleet;
  let regions: AwsRegions;
  const environment = { ...process.env };

  before(async function () {
    skipWithoutMoto(this);
    moto = await startMoto();
    // The SDK reads them itself, and this process is the control plane.
    process.env.AWS_ENDPOINT_URL = moto.url;
    process.env.AWS_ACCESS_KEY_ID = MOTO_CREDENTIALS.accessKeyId;
    process.env.AWS_SECRET_ACCESS_KEY = MOTO_CREDENTIALS.secretAccessKey;
    const map = { eu: 'eu-central-1', us: 'us-east-1' };
    fleet = await startFleet({
      env: { FLEET_SECRET_STORE: 'aws', FLEET_AWS_REGIONS: 'eu=eu-central-1,us=us-east-1' },
    });
    regions = openAwsRegions('flotilla', map, { endpoint: moto.url, credentials: MOTO_CREDENTIALS });
  });
  after(async () => {
    await fleet?.stop();
    regions?.close();
    await moto?.stop();
    process.env = environment;
  });

  async function secretsOf(region: string): Promise<SecretListEntry[]> {
    const { SecretList } = await regions
      .of(region)
      .secrets.send(new ListSecretsCommand({ IncludePlannedDeletion: true, MaxResults: 100 }));
    return SecretList ?? [];
  }

  const namesOf = async (region: string) => (await secretsOf(region)).map(({ Name = '' }) => Name);

  it('provisions and serves tenants, each with its secret and key in its own region alone', async () => {
    const [acme, globex] = await Promise.all([
      fleet.createTenant('acme', 'eu'),
      fleet.createTenant('globex', 'us'),
    ]);
    const app = await fleet.startApp('eu');
    await until('the app has its routes', async () => (await fetch(`${app.url}/readyz`)).ok || undefined);
    const body = { name: 'first' };
    const answer = await callTenant(app.url, 'acme.eu.localhost', 'POST', '/api/v1/projects', body);
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
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
});
