import assert from 'node:assert/strict';
import { createServer, type Server } from 'node:http';
import { randomBytes } from 'node:crypto';
import { mock } from 'node:test';
import {
  DecryptCommand,
  DescribeKeyCommand,
  GenerateDataKeyCommand,
  KMSClient,
  KMSServiceException,
  type KeyState,
} from '@aws-sdk/client-kms';
import {
  DescribeSecretCommand,
  GetSecretValueCommand,
  PutSecretValueCommand,
  SecretsManagerClient,
  SecretsManagerServiceException,
} from '@aws-sdk/client-secrets-manager';
import { mockClient } from 'aws-sdk-client-mock';
import { openAwsRegions, type AwsRegions } from '../../../control-plane/secrets/aws/regions.ts';
import { kmsKeys } from '../../../control-plane/secrets/keys/kms.ts';
import { createRemoteSecrets } from '../../../control-plane/secrets/secret.ts';
import { awsStore } from '../../../control-plane/secrets/stores/aws.ts';
import { CACHE_TTL_MS } from '../../../platform/aws/secret-values.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { listen } from '../../../platform/listen.ts';
import { freshRegistry, type TestRegistry } from '../../support/registry.ts';
import { addRegions, newPlace, newVersion } from './conformance.ts';

const ARN = 'arn:aws:kms:eu-central-1:1:key/k';
const CREDENTIALS = { accessKeyId: 'x', secretAccessKey: 'x' };
/** Remote services have nothing in the registry. */
const db: Queryable = { query: () => Promise.reject(new Error('no registry here')) };

describe('failures of AWS, answered by a mock of the client: moto has neither rights, quotas, outages nor states of keys', () => {
  let regions: AwsRegions;
  let clock = 0;
  const secrets = mockClient(SecretsManagerClient);
  const kms = mockClient(KMSClient);

  beforeEach(() => {
    secrets.reset();
    kms.reset();
    clock = 1_000;
    regions = openAwsRegions('test', { eu: 'eu-central-1' }, { credentials: CREDENTIALS });
    keyIs('Enabled');
    secrets.on(DescribeSecretCommand).resolves({ Name: 'x' });
  });
  afterEach(() => regions.close());
  after(() => {
    secrets.restore();
    kms.restore();
  });

  function keyIs(KeyState: KeyState): void {
    const DeletionDate = KeyState === 'PendingDeletion' ? new Date('2026-12-24') : undefined;
    kms.on(DescribeKeyCommand).resolves({ KeyMetadata: { KeyId: 'k', Arn: ARN, KeyState, DeletionDate } });
  }

  function openStore() {
    return awsStore({ regions, keys: kmsKeys(regions), clock: { now: () => clock } });
  }

  async function read(store = openStore(), place = newPlace()): Promise<string | undefined> {
    return (await store.read(db, [place])).get(place.versionId);
  }

  const get = () => secrets.on(GetSecretValueCommand);
  const reads = () => secrets.commandCalls(GetSecretValueCommand).length;

  for (const [name, status, code, retryable] of [
    ['AccessDeniedException', 400, 'aws_access_denied', false],
    ['UnrecognizedClientException', 400, 'aws_not_authenticated', false],
    ['ThrottlingException', 400, 'aws_throttled', true],
    ['InternalServiceError', 500, 'aws_unavailable', true],
  ] as const) {
    it(`calls ${name} ${code}, and works again when the cause is gone`, async () => {
      get().rejectsOnce(refusal(name, status)).resolves({ SecretString: 'value' });
      await assert.rejects(read(), (error: { code?: string; retryable?: boolean; fix?: string }) => {
        assert.deepEqual([error.code, error.retryable], [code, retryable]);
        return error.fix !== undefined;
      });
      assert.equal(await read(), 'value');
    });
  }

  it('calls a connection that is refused aws_unavailable', async () => {
    get().rejects(Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }));
    await assert.rejects(read(), { code: 'aws_unavailable', retryable: true });
  });

  for (const [state, code] of [
    ['Disabled', 'key_disabled'],
    ['PendingDeletion', 'key_pending_destruction'],
  ] as const) {
    for (const vague of ['AccessDeniedException', 'DecryptionFailure', 'InvalidRequestException']) {
      it(`finds the key ${state} behind ${vague} of Secrets Manager, and works again when it is enabled`, async () => {
        keyIs(state);
        get().rejectsOnce(refusal(vague, 400)).resolves({ SecretString: 'value' });
        await assert.rejects(read(), { code });
        keyIs('Enabled');
        assert.equal(await read(), 'value');
      });
    }

    it(`says ${code} when KMS refuses to open or seal under a key that is ${state}`, async () => {
      const keys = kmsKeys(regions);
      const place = newPlace();
      kms
        .on(GenerateDataKeyCommand)
        .resolves({ Plaintext: randomBytes(32), CiphertextBlob: randomBytes(64) });
      const sealed = await keys.seal(db, place, 'value');
      keyIs(state);
      const name = state === 'Disabled' ? 'DisabledException' : 'KMSInvalidStateException';
      kms.on(DecryptCommand).rejects(keyRefusal(name));
      await assert.rejects(keys.open(db, [{ place, sealed }]), { code });
      await assert.rejects(keys.seal(db, place, 'value'), { code });
    });
  }

  it('says that a right is missing when it may not look at the key either', async () => {
    get().rejects(refusal('AccessDeniedException', 400));
    kms.on(DescribeKeyCommand).rejects(keyRefusal('AccessDeniedException'));
    await assert.rejects(read(), { code: 'aws_access_denied' });
  });

  it('calls a value that KMS has wrapped under another key swapped', async () => {
    const keys = kmsKeys(regions);
    const [place, other] = [newPlace(), newPlace()];
    kms.on(GenerateDataKeyCommand).resolves({ Plaintext: randomBytes(32), CiphertextBlob: randomBytes(64) });
    const sealed = await keys.seal(db, other, 'value');
    kms.on(DecryptCommand).rejects(keyRefusal('IncorrectKeyException'));
    await assert.rejects(keys.open(db, [{ place, sealed }]), { code: 'secret_swapped' });
  });

  it('takes the value of who was first when another process has put the same version', async () => {
    get().rejectsOnce(refusal('ResourceNotFoundException', 400)).resolves({ SecretString: 'of the first' });
    secrets.on(PutSecretValueCommand).rejects(refusal('ResourceExistsException', 400));
    assert.equal(await openStore().ensure(db, newPlace(), 'of the second'), 'of the first');
  });

  it('asks once for all that want the same version at the same time, and then not for a while', async () => {
    get().resolves({ SecretString: 'value' });
    const [store, place] = [openStore(), newPlace()];
    await Promise.all(Array.from({ length: 20 }, () => read(store, place)));
    assert.equal(reads(), 1);
    clock += CACHE_TTL_MS + 1;
    await read(store, place);
    assert.equal(reads(), 2);
  });

  it('serves what it knows while AWS does not answer, and not when AWS refuses', async () => {
    get().resolvesOnce({ SecretString: 'value' }).rejects(refusal('InternalServiceError', 500));
    const [store, place] = [openStore(), newPlace()];
    await read(store, place);
    clock += CACHE_TTL_MS + 1;
    assert.equal(await read(store, place), 'value');
    clock += CACHE_TTL_MS + 1;
    get().rejects(refusal('AccessDeniedException', 400));
    await assert.rejects(read(store, place), { code: 'aws_access_denied' });
  });

  it('stops asking a region that does not answer, and asks again after a while', async () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      get().rejects(refusal('InternalServiceError', 500));
      for (let tries = 0; tries < 8; tries += 1) {
        await assert.rejects(read(), { code: 'aws_unavailable' });
      }
      assert.equal(reads(), 5);
      get().resolves({ SecretString: 'value' });
      mock.timers.tick(5_000);
      assert.equal(await read(), 'value');
    } finally {
      mock.timers.reset();
    }
  });

  it('does not hold refusals against a region', async () => {
    get().rejects(refusal('AccessDeniedException', 400));
    for (let tries = 0; tries < 8; tries += 1) {
      await assert.rejects(read(), { code: 'aws_access_denied' });
    }
    assert.equal(reads(), 8);
  });

  describe('with the registry', () => {
    let test: TestRegistry;
    before(async () => {
      test = await freshRegistry();
      await addRegions(test);
    });
    after(() => test.drop());

    it('keeps an imported value, sealed, until AWS has it', async () => {
      const version = newVersion();
      const store = openStore();
      const all = createRemoteSecrets(randomBytes(32), store, test.registry);
      await test.registry.transaction((tx) => all.importVersion(tx, version, 'given'));
      const held = () =>
        test.registry.query('SELECT 1 FROM sealed_secrets WHERE version_id = $1', [version.id]);
      get().rejects(refusal('ResourceNotFoundException', 400));
      secrets.on(PutSecretValueCommand).rejects(refusal('InternalServiceError', 500));
      await assert.rejects(all.password(test.registry, version.id), { code: 'aws_unavailable' });
      assert.equal((await held()).rows.length, 1);
      secrets.on(PutSecretValueCommand).resolves({});
      secrets.on(DescribeSecretCommand).resolves({ VersionIdsToStages: { [version.id]: ['AWSCURRENT'] } });
      assert.equal(await all.password(test.registry, version.id), 'given');
      assert.equal((await held()).rows.length, 0);
      const puts = secrets.commandCalls(PutSecretValueCommand).map(({ args }) => args[0].input);
      assert.deepEqual(
        puts.map((input) => [input.ClientRequestToken, input.SecretString]),
        puts.map(() => [version.id, 'given']),
      );
    });
  });
});

describe('throttling by AWS, as a server of our own does it: moto has no quotas', () => {
  let server: Server;
  let answers: string[];
  let asked = 0;

  before(async () => {
    server = createServer((_request, response) => {
      const body = answers[Math.min(asked, answers.length - 1)] ?? '{}';
      asked += 1;
      response.statusCode = body.includes('__type') ? 400 : 200;
      response.setHeader('content-type', 'application/x-amz-json-1.1');
      response.end(body);
    });
  });
  after(() => {
    server.closeAllConnections();
    server.close();
  });

  it('is waited out by the SDK, unseen by who asks', async () => {
    const port = await listen(server, { host: '127.0.0.1', port: 0, variable: 'FLEET_PORT' });
    const throttled = JSON.stringify({ __type: 'ThrottlingException' });
    answers = [throttled, throttled, JSON.stringify({ SecretString: 'value' })];
    const endpoint = `http://127.0.0.1:${port}`;
    const regions = openAwsRegions('test', { eu: 'eu-central-1' }, { endpoint, credentials: CREDENTIALS });
    const place = newPlace();
    const store = awsStore({ regions, keys: kmsKeys(regions) });
    assert.equal((await store.read(db, [place])).get(place.versionId), 'value');
    assert.equal(asked, 3);
    regions.close();
  });
});

function refusal(name: string, httpStatusCode: number): SecretsManagerServiceException {
  return new SecretsManagerServiceException({ name, $fault: 'client', $metadata: { httpStatusCode } });
}

function keyRefusal(name: string): KMSServiceException {
  return new KMSServiceException({ name, $fault: 'client', $metadata: { httpStatusCode: 400 } });
}
