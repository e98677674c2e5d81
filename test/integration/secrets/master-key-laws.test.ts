import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
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
  sealOwnFiles,
  startRotateMasterKey,
} from '../../../control-plane/secrets/rotate-master-key.ts';
import { createSecrets, type NewVersion, type Secrets } from '../../../control-plane/secrets/secret.ts';
import { driveOnce } from '../../support/drive.ts';
import { obeysTheLaws } from '../../support/laws.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../../support/registry.ts';
import { addRegions, newVersion } from './conformance.ts';

const PURPOSE = 'superuser of server x';
const WRONG = { code: 'wrong_master_key' };

function writeKeys(file: string, keys: Buffer[]): void {
  writeFileSync(file, keys.map((key) => `${key.toString('base64url')}\n`).join(''));
}

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
  const sealed = (name: string) => () => [{ file: join(folder, name), purpose: PURPOSE }];
  const operations = (key = masterKey, sealedFiles = sealed('superuser.sealed')) => {
    const bound = bindOperation(rotateMasterKey, { registry: test.registry, masterKey: key, sealedFiles });
    return new Map([[bound.kind, bound]]);
  };
  const begin = (prepare = false): Promise<string> =>
    test.registry.transaction((tx) =>
      startRotateMasterKey(tx, secrets, { prepare }, { caller: SYSTEM_CALLER, requestId: null }),
    );
  async function attempt(id: string, by = operations()): ReturnType<typeof getOperation> {
    const driver = createOperationDriver({
      ...{ registry: test.registry, operations: by, logger: quietLogger },
    });
    await driveOnce(test.registry, driver, id);
    return getOperation(test.registry, id);
  }
  async function rotate(prepare = false): Promise<void> {
    const ended = await attempt(await begin(prepare));
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

  it('never brings a key into force that was not prepared, as one of an old copy', async () => {
    const [retired] = keysOf(masterKey);
    assert.ok(retired);
    await rotate();
    const [current] = keysOf(masterKey);
    assert.ok(current);
    writeKeys(masterKey.file, [retired, current]);
    await rotate();
    const [next, ...others] = keysOf(masterKey);
    assert.deepEqual(others, []);
    assert.ok(next && !next.equals(retired) && !next.equals(current));
    await isRotated();
  });

  it('stops where the prepared key was not copied to, and goes on once it is', async () => {
    const copy = join(folder, 'copy.key');
    copyFileSync(masterKey.file, copy);
    const elsewhere = operations(loadMasterKey(copy));
    await rotate(true);
    const id = await begin();
    const stopped = await attempt(id, elsewhere);
    assert.equal(stopped?.error?.code, 'wrong_master_key');
    assert.match(stopped.error.message, /prepared/);
    assert.equal(loadMasterKey(copy).keys().length, 1);
    await rotate();
    await isRotated();
  });

  it('seals the files of the machine that ends it, and of the others when they start', async () => {
    const copy = join(folder, 'copy.key');
    const late = join(folder, 'late.key');
    await rotate(true);
    const [before] = keysOf(masterKey);
    copyFileSync(masterKey.file, copy);
    copyFileSync(masterKey.file, late);
    const [other, third] = [loadMasterKey(copy), loadMasterKey(late)];
    sealFile(other, join(folder, 'other.sealed'), PURPOSE, 'hunter3');
    sealFile(third, join(folder, 'third.sealed'), PURPOSE, 'hunter4');
    const here = operations().get(rotateMasterKey.kind);
    const there = operations(other, sealed('other.sealed')).get(rotateMasterKey.kind);
    assert.ok(here && there);
    // The last step falls to the other machine.
    const steps = [...here.steps.slice(0, -1), ...there.steps.slice(-1)];
    const ended = await attempt(await begin(), new Map([[here.kind, { ...here, steps }]]));
    assert.equal(ended?.state, 'succeeded', JSON.stringify(ended?.error));
    await sealOwnFiles({
      ...{ registry: test.registry, masterKey: third, sealedFiles: sealed('third.sealed') },
    });
    copyFileSync(copy, masterKey.file);
    copyFileSync(copy, late);
    assert.notDeepEqual(keysOf(masterKey), [before]);
    assert.equal(openFile(other, join(folder, 'other.sealed'), PURPOSE), 'hunter3');
    assert.equal(openFile(third, join(folder, 'third.sealed'), PURPOSE), 'hunter4');
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
