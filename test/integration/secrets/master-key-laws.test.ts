import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { bindOperation } from '../../../control-plane/operations/definition.ts';
import { createOperationDriver } from '../../../control-plane/operations/engine.ts';
import { getOperation } from '../../../control-plane/operations/store.ts';
import {
  idOf,
  keysOf,
  loadMasterKey,
  openFile,
  sealFile,
  type MasterKeyFile,
} from '../../../control-plane/secrets/keys/master-key.ts';
import { countOthers } from '../../../control-plane/secrets/master-key-store.ts';
import {
  claimMasterKey,
  rotateMasterKey,
  startRotateMasterKey,
} from '../../../control-plane/secrets/rotate-master-key.ts';
import { createSecrets, type NewVersion, type Secrets } from '../../../control-plane/secrets/secret.ts';
import { driveOnce } from '../../support/drive.ts';
import { obeysTheLaws } from '../../support/laws.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../../support/registry.ts';
import { addRegions, newVersion } from './conformance.ts';

const PURPOSE = 'superuser of server x';
const WRONG = { code: 'wrong_master_key' };

describe('the master key', () => {
  let test: TestRegistry;
  let folder: string;
  let masterKey: MasterKeyFile;
  let secrets: Secrets;
  const versions: { version: NewVersion; password: string }[] = [];

  before(async () => {
    test = await freshRegistry();
    await addRegions(test);
    folder = mkdtempSync(join(tmpdir(), 'flotilla-master-key-'));
    masterKey = loadMasterKey(join(folder, 'master.key'));
    secrets = createSecrets(masterKey);
    await claimMasterKey(test.registry, masterKey);
    sealFile(masterKey, join(folder, 'superuser.sealed'), PURPOSE, 'hunter2');
    for (let count = 0; count < 3; count += 1) versions.push(await made(secrets));
  });
  after(async () => {
    await test.drop();
    rmSync(folder, { recursive: true });
  });

  async function made(by: Secrets): Promise<{ version: NewVersion; password: string }> {
    const version = newVersion();
    await test.registry.transaction((tx) => by.createVersion(tx, version));
    return { version, password: await by.password(test.registry, version.id) };
  }
  const operations = () => {
    const sealedFiles = () => [{ file: join(folder, 'superuser.sealed'), purpose: PURPOSE }];
    const bound = bindOperation(rotateMasterKey, { registry: test.registry, masterKey, sealedFiles });
    return new Map([[bound.kind, bound]]);
  };
  const begin = (prepare = false): Promise<string> =>
    test.registry.transaction((tx) =>
      startRotateMasterKey(tx, secrets, { prepare }, { caller: SYSTEM_CALLER, requestId: null }),
    );
  async function rotate(prepare = false): Promise<void> {
    const id = await begin(prepare);
    const driver = createOperationDriver({
      ...{ registry: test.registry, operations: operations(), logger: quietLogger },
    });
    await driveOnce(test.registry, driver, id);
    const ended = await getOperation(test.registry, id);
    assert.equal(ended?.state, 'succeeded', JSON.stringify(ended?.error));
  }
  /** As a control plane that has just started finds it. */
  async function allOpens(): Promise<void> {
    const fresh = loadMasterKey(masterKey.file);
    await claimMasterKey(test.registry, fresh);
    const found = await createSecrets(fresh).passwords(
      test.registry,
      versions.map(({ version }) => version.id),
    );
    for (const { version, password } of versions) assert.equal(found.get(version.id), password);
    assert.equal(openFile(fresh, join(folder, 'superuser.sealed'), PURPOSE), 'hunter2');
  }
  async function isRotated(): Promise<void> {
    const [key, ...others] = loadMasterKey(masterKey.file).keys();
    assert.deepEqual(others, []);
    assert.equal(await countOthers(test.registry, key === undefined ? '' : idOf(key)), 0);
    await allOpens();
  }

  obeysTheLaws('master_key.rotate', rotateMasterKey, () => ({
    registry: test.registry,
    operations: operations(),
    begin,
    inventory: async () => {
      await allOpens();
      return [`keys ${masterKey.keys().length}`];
    },
    settle: isRotated,
    discard: isRotated,
  }));

  it('opens everything at each step of its rotation, while credentials are made all the time', async () => {
    const [before] = keysOf(masterKey);
    let rotating = true;
    const making = (async () => {
      while (rotating) {
        versions.push(await made(secrets));
        await allOpens();
      }
    })();
    await rotate();
    rotating = false;
    await making;
    await isRotated();
    assert.notDeepEqual(keysOf(masterKey)[0], before);
    assert.ok(versions.length > 3);
  });

  it('tells a control plane with a copy of the old file what it lacks, and lets it change nothing', async () => {
    const copy = join(folder, 'copy.key');
    copyFileSync(masterKey.file, copy);
    const elsewhere = loadMasterKey(copy);
    await rotate();
    const other = createSecrets(elsewhere);
    await assert.rejects(other.password(test.registry, versions[0]?.version.id ?? ''), WRONG);
    await assert.rejects(made(other), WRONG);
    await assert.rejects(claimMasterKey(test.registry, elsewhere), WRONG);
    copyFileSync(masterKey.file, copy);
    await claimMasterKey(test.registry, elsewhere);
    versions.push(await made(other));
    await isRotated();
  });

  it('may be made first and copied to other machines, which then go on without a break', async () => {
    const copy = join(folder, 'copy.key');
    await rotate(true);
    assert.equal(masterKey.keys().length, 2);
    await allOpens();
    copyFileSync(masterKey.file, copy);
    const other = createSecrets(loadMasterKey(copy));
    await rotate();
    await isRotated();
    assert.equal(await other.password(test.registry, versions[0]?.version.id ?? ''), versions[0]?.password);
    versions.push(await made(other));
    await isRotated();
  });

  it('makes copies of the registry from before unreadable, keys that were destroyed since included', async () => {
    const { version } = await made(secrets);
    const { rows } = await test.registry.query<{ wrapped: Buffer; sealed: Buffer }>(
      `SELECT k.wrapped, s.sealed FROM data_keys k, sealed_secrets s WHERE k.owner = $1 AND s.version_id = $2`,
      [version.owner, version.id],
    );
    await test.registry.transaction((tx) => secrets.destroyOwner(tx, version.owner));
    await rotate();
    await test.registry.query("UPDATE secret_versions SET stage = 'current' WHERE id = $1", [version.id]);
    await test.registry.query('INSERT INTO data_keys (id, owner, wrapped) VALUES ($1, $2, $3)', [
      randomUUID(),
      version.owner,
      rows[0]?.wrapped,
    ]);
    await test.registry.query('INSERT INTO sealed_secrets VALUES ($1, $2)', [version.id, rows[0]?.sealed]);
    await assert.rejects(secrets.password(test.registry, version.id), WRONG);
    await test.registry.query('DELETE FROM data_keys WHERE owner = $1', [version.owner]);
  });

  it('is rotated by whoever may act in the whole fleet, and not where KMS has the keys', async () => {
    const start = (isRemote: boolean, regions: string[]) =>
      test.registry.transaction((tx) =>
        startRotateMasterKey(
          tx,
          { isRemote },
          { prepare: false },
          { caller: { ...SYSTEM_CALLER, regions }, requestId: null },
        ),
      );
    await assert.rejects(start(true, []), { code: 'keys_in_kms', status: 409 });
    await assert.rejects(start(false, ['eu']), { code: 'region_forbidden' });
  });
});
