import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { DeleteAliasCommand, DescribeKeyCommand } from '@aws-sdk/client-kms';
import {
  DeleteSecretCommand,
  DescribeSecretCommand,
  GetSecretValueCommand,
  ListSecretsCommand,
  RestoreSecretCommand,
} from '@aws-sdk/client-secrets-manager';
import { openAwsRegions, type AwsRegions } from '../../../control-plane/secrets/aws/regions.ts';
import { kmsKeys } from '../../../control-plane/secrets/keys/kms.ts';
import {
  createRemoteSecrets,
  createSecrets,
  type NewVersion,
} from '../../../control-plane/secrets/secret.ts';
import { settleSubject } from '../../../control-plane/secrets/settle.ts';
import { localKeys } from '../../../control-plane/secrets/keys/local.ts';
import { awsStore } from '../../../control-plane/secrets/stores/aws.ts';
import { keyAlias, secretName } from '../../../platform/aws/names.ts';
import { MOTO_CREDENTIALS, motoTitle, skipWithoutMoto, startMoto, type Moto } from '../../support/moto.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../../support/registry.ts';
import {
  addRegions,
  create,
  keysConform,
  newVersion,
  secretsConform,
  storeConforms,
  type Subject,
} from './conformance.ts';
import { destructionsConform } from './destruction-conformance.ts';

const FLEET = 'test-fleet';
const AWS_REGIONS = { eu: 'eu-central-1', us: 'us-east-1' };

describe(`secrets ${motoTitle}`, () => {
  let moto: Moto;
  let test: TestRegistry;
  let regions: AwsRegions;
  let made: Subject;
  const masterKey = randomBytes(32);

  before(async function () {
    skipWithoutMoto(this);
    [moto, test] = await Promise.all([startMoto(), freshRegistry()]);
    await addRegions(test);
    regions = openRegions();
    made = { test, ...newProcess() };
  });
  after(async () => {
    regions?.close();
    await moto?.stop();
    await test?.drop();
  });

  function openRegions(): AwsRegions {
    return openAwsRegions(FLEET, AWS_REGIONS, { endpoint: moto.url, credentials: MOTO_CREDENTIALS });
  }

  /** Nothing in its cache, as a control plane that has just started. */
  function newProcess() {
    const keys = kmsKeys(regions);
    const store = awsStore({ regions, keys });
    const secrets = createRemoteSecrets(masterKey, store, test.registry, { retentionDays: 8 });
    return { keys, store, secrets };
  }

  function describeSecret(version: NewVersion) {
    const SecretId = secretName(FLEET, version);
    return regions.of(version.region).secrets.send(new DescribeSecretCommand({ SecretId }));
  }

  function describeKey(version: NewVersion) {
    const KeyId = keyAlias(FLEET, version);
    return regions.of(version.region).kms.send(new DescribeKeyCommand({ KeyId }));
  }

  const password = (version: NewVersion) => newProcess().secrets.password(test.registry, version.id);
  const promote = (version: NewVersion) =>
    test.registry.transaction((tx) => made.secrets.promote(tx, version.id));

  describe('versions', () => secretsConform(() => made));
  describe('store', () => storeConforms(() => made));
  describe('keys (moto goes on decrypting with keys that are pending deletion)', () =>
    keysConform(() => made, { enforcesState: false }));

  describe('after a destroyed key (moto deletes none: its alias is taken away instead)', () =>
    destructionsConform(() => made, removeKey));

  /** As when the window of KMS is over. */
  async function removeKey(owner: string): Promise<void> {
    const { kms } = regions.of('eu');
    await kms.send(new DeleteAliasCommand({ AliasName: keyAlias(FLEET, { region: 'eu', owner }) }));
    await test.registry.query(
      "UPDATE owner_destructions SET key_gone_at = now() - interval '1 second' WHERE owner = $1",
      [owner],
    );
  }

  it("keeps a tenant's secret and key in its region, under its own KMS key, marked as whose it is", async () => {
    const version = await create(made, { ...newVersion(), region: 'us' });
    await password(version);
    const secret = await describeSecret(version);
    const { KeyMetadata: key } = await describeKey(version);
    assert.match(key?.Arn ?? '', /^arn:aws:kms:us-east-1:/);
    assert.equal(secret.KmsKeyId, key?.Arn);
    assert.deepEqual(Object.fromEntries((secret.Tags ?? []).map(({ Key, Value }) => [Key, Value])), {
      'fleet:fleet': FLEET,
      'fleet:region': 'us',
      'fleet:component': 'secrets',
      'fleet:tenant': version.owner.split(':')[1],
      'fleet:database': version.subject.split(':')[1],
    });
    const inEurope = await regions.of('eu').secrets.send(new ListSecretsCommand({}));
    assert.ok(!inEurope.SecretList?.some(({ Name }) => Name === secretName(FLEET, version)));
    await assert.rejects(describeKey({ ...version, region: 'eu' }), { name: 'NotFoundException' });
  });

  it('refuses a region that it has no region of AWS for', () => {
    assert.throws(() => regions.of('mars'), { code: 'aws_region_unknown' });
    assert.throws(() => regions.of('constructor'), { code: 'aws_region_unknown' });
  });

  it('uses the version id as token, and moves the staging labels after the commit', async () => {
    const first = await create(made);
    await promote(first);
    const second = await create(made, newVersion(first.owner, first.subject));
    await made.secrets.settle(quietLogger);
    await promote(second);
    await made.secrets.settle(quietLogger);
    const third = await create(made, newVersion(first.owner, first.subject));
    await made.secrets.settle(quietLogger);
    assert.deepEqual((await describeSecret(first)).VersionIdsToStages, {
      [first.id]: ['AWSPREVIOUS'],
      [second.id]: ['AWSCURRENT'],
      [third.id]: ['AWSPENDING'],
    });
    const current = await regions
      .of('eu')
      .secrets.send(
        new GetSecretValueCommand({ SecretId: secretName(FLEET, first), VersionStage: 'AWSCURRENT' }),
      );
    assert.deepEqual([current.VersionId, current.SecretString], [second.id, await password(second)]);
  });

  it('finishes what was interrupted between the store and the note, with the value that is there', async () => {
    const version = await create(made);
    const { store } = newProcess();
    const place = { ...version, versionId: version.id };
    await store.ensure(test.registry, place, 'made before the crash');
    assert.equal(await settledStage(version), null);
    assert.equal(await password(version), 'made before the crash');
    assert.equal(await settledStage(version), 'pending');
    assert.deepEqual(Object.keys((await describeSecret(version)).VersionIdsToStages ?? {}), [version.id]);
  });

  async function settledStage(version: NewVersion): Promise<string | null | undefined> {
    const { rows } = await test.registry.query<{ stage: string | null }>(
      'SELECT settled_stage AS stage FROM secret_versions WHERE id = $1',
      [version.id],
    );
    return rows[0]?.stage;
  }

  it('says that a secret was deleted by hand, and works again when it is restored', async () => {
    const version = await create(made);
    const value = await password(version);
    const SecretId = secretName(FLEET, version);
    const { secrets } = regions.of('eu');
    await secrets.send(new DeleteSecretCommand({ SecretId, RecoveryWindowInDays: 7 }));
    await assert.rejects(password(version), { code: 'secret_deleted' });
    await secrets.send(new RestoreSecretCommand({ SecretId }));
    assert.equal(await password(version), value);
    await secrets.send(new DeleteSecretCommand({ SecretId, ForceDeleteWithoutRecovery: true }));
    await assert.rejects(password(version), { code: 'secret_lost' });
  });

  it('destroys the secrets and the key of a deleted owner after the retention time, and not before the commit', async () => {
    const version = await create(made);
    await password(version);
    const destroy = (fail: boolean) =>
      test.registry.transaction(async (tx) => {
        await made.secrets.destroyOwner(tx, version.owner);
        if (fail) throw new Error('rolled back');
      });
    await assert.rejects(destroy(true));
    await made.secrets.settle(quietLogger);
    assert.equal((await describeSecret(version)).DeletedDate, undefined);
    await destroy(false);
    await made.secrets.settle(quietLogger);
    await made.secrets.settle(quietLogger);
    assert.ok((await describeSecret(version)).DeletedDate);
    const { KeyMetadata: key } = await describeKey(version);
    assert.equal(key?.KeyState, 'PendingDeletion');
    assert.equal(Math.round(((key?.DeletionDate?.getTime() ?? 0) - Date.now()) / 86_400_000), 8);
  });

  it('moves what the local store holds when a fleet changes over, with the same values', async () => {
    const local = createSecrets(masterKey);
    const version = newVersion();
    await test.registry.transaction((tx) => local.createVersion(tx, version));
    await test.registry.transaction((tx) => local.promote(tx, version.id));
    const value = await local.password(test.registry, version.id);
    await newProcess().secrets.settle(quietLogger);
    assert.equal(await password(version), value);
    await assert.rejects(local.password(test.registry, version.id), { code: 'secret_lost' });
  });

  it('is found where AWS_ENDPOINT_URL says', async () => {
    const before = { ...process.env };
    Object.assign(process.env, {
      AWS_ENDPOINT_URL: moto.url,
      AWS_ACCESS_KEY_ID: 'moto',
      AWS_SECRET_ACCESS_KEY: 'moto',
    });
    const own = openAwsRegions(FLEET, AWS_REGIONS);
    try {
      const place = { ...newVersion(), versionId: randomUUID() };
      const store = awsStore({ regions: own, keys: kmsKeys(own) });
      assert.equal(await store.ensure(test.registry, place, 'value'), 'value');
    } finally {
      own.close();
      process.env = before;
    }
  });

  it('settles a subject once, by however many it is tried at once', async () => {
    const version = await create(made);
    const deps = { registry: test.registry, store: made.store, held: localKeys(masterKey) };
    await Promise.all([1, 2, 3].map(() => settleSubject(deps, version.subject)));
    assert.deepEqual(Object.keys((await describeSecret(version)).VersionIdsToStages ?? {}), [version.id]);
  });
});
