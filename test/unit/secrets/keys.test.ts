import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  addKey,
  idOf,
  keepKeys,
  loadMasterKey,
  openFile,
  sealFile,
} from '../../../control-plane/secrets/keys/master-key.ts';

describe('local master key', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'flotilla-key-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('is made once, 0600, and read back', () => {
    const file = join(folder, 'deep', 'master.key');
    const [key] = loadMasterKey(file).keys();
    assert.equal(key?.length, 32);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(loadMasterKey(file).keys(), [key]);
    assert.deepEqual(readdirSync(join(folder, 'deep')), ['master.key']);
  });

  it('is refused when others may use it, or when it is not whole', () => {
    const file = join(folder, 'master.key');
    loadMasterKey(file);
    for (const mode of [0o640, 0o604, 0o620, 0o602]) {
      chmodSync(file, mode);
      assert.throws(() => loadMasterKey(file), { code: 'master_key_permissions' });
    }
    writeFileSync(file, 'short\n');
    chmodSync(file, 0o600);
    assert.throws(() => loadMasterKey(file), { code: 'master_key_broken' });
  });

  it('may be two: each opens, the first seals, and all who share the file know a new one at once', () => {
    const file = join(folder, 'master.key');
    const [mine, other] = [loadMasterKey(file), loadMasterKey(file)];
    const sealed = join(folder, 'superuser.sealed');
    sealFile(mine, sealed, 'superuser of eu', 'hunter2');
    const next = addKey(mine);
    assert.deepEqual(other.keys()[1], next);
    assert.equal(openFile(other, sealed, 'superuser of eu'), 'hunter2');
    keepKeys(mine, idOf(next), 'keep');
    assert.equal(openFile(other, sealed, 'superuser of eu'), 'hunter2');
    sealFile(other, sealed, 'superuser of eu', 'hunter2');
    keepKeys(mine, idOf(next), 'forget');
    assert.equal(openFile(other, sealed, 'superuser of eu'), 'hunter2');
    assert.deepEqual(loadMasterKey(file).keys(), [next]);
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.deepEqual(mine.keys(), [next]);
    rmSync(file);
    assert.deepEqual(mine.keys(), [next]);
  });

  it('seals small files that open only whole and for their purpose', () => {
    const key = loadMasterKey(join(folder, 'master.key'));
    const file = join(folder, 'superuser.sealed');
    assert.equal(openFile(key, file, 'superuser of eu'), undefined);
    sealFile(key, file, 'superuser of eu', 'hunter2');
    assert.equal(statSync(file).mode & 0o777, 0o600);
    assert.equal(openFile(key, file, 'superuser of eu'), 'hunter2');
    assert.ok(!readFileSync(file, 'utf8').includes('hunter2'));
    assert.throws(() => openFile(key, file, 'superuser of us'), { code: 'secret_swapped' });
    assert.throws(() => openFile(Buffer.alloc(32), file, 'superuser of eu'), { code: 'wrong_master_key' });
    const bytes = Buffer.from(readFileSync(file, 'utf8'), 'base64');
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    writeFileSync(file, bytes.toString('base64'));
    assert.throws(() => openFile(key, file, 'superuser of eu'), { code: 'secret_tampered' });
  });
});
