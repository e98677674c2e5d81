import assert from 'node:assert/strict';
import { createCipheriv, randomBytes } from 'node:crypto';
import { localKeys } from '../../../control-plane/secrets/keys/local.ts';
import { createSecrets, type NewVersion } from '../../../control-plane/secrets/secret.ts';
import { localStore } from '../../../control-plane/secrets/stores/local.ts';
import { freshRegistry, quietLogger, type TestRegistry } from '../../support/registry.ts';
import {
  addRegions,
  create,
  keysConform,
  newPlace,
  newVersion,
  secretsConform,
  storeConforms,
  type Subject,
} from './conformance.ts';
import { destructionsConform } from './destruction-conformance.ts';

describe('secrets in the local store', () => {
  let test: TestRegistry;
  const masterKey = randomBytes(32);
  const secrets = createSecrets(masterKey);
  const keys = localKeys(masterKey);
  const subject = (): Subject => ({ test, secrets, keys, store: localStore(keys) });

  before(async () => {
    test = await freshRegistry();
    await addRegions(test);
  });
  after(() => test.drop());

  const created = (version?: NewVersion) => create(subject(), version);

  function promote(id: string): Promise<void> {
    return test.registry.transaction((tx) => secrets.promote(tx, id));
  }

  describe('versions', () => secretsConform(subject));
  describe('store', () => storeConforms(subject));
  describe('keys', () => keysConform(subject, { enforcesState: true }));

  async function stages(subject: string): Promise<Record<string, string>> {
    const { rows } = await test.registry.query<{ id: string; stage: string }>(
      'SELECT id, stage FROM secret_versions WHERE subject = $1',
      [subject],
    );
    return Object.fromEntries(rows.map((row) => [row.id, row.stage]));
  }

  const swapped = { code: 'secret_swapped' };

  it('moves stages in order and destroys what is no longer used', async () => {
    const first = await created();
    await promote(first.id);
    const next = (): Promise<NewVersion> => created(newVersion(first.owner, first.subject));
    const second = await next();
    await assert.rejects(next(), { code: 'secret_pending' });
    await promote(second.id);
    await promote(second.id);
    assert.deepEqual(await stages(first.subject), { [first.id]: 'previous', [second.id]: 'current' });
    await secrets.password(test.registry, first.id);
    const third = await next();
    await promote(third.id);
    assert.deepEqual(await stages(first.subject), {
      [first.id]: 'retired',
      [second.id]: 'previous',
      [third.id]: 'current',
    });
    await assert.rejects(secrets.password(test.registry, first.id), { code: 'secret_not_found' });
    await assert.rejects(promote(first.id), { code: 'secret_not_pending' });
    assert.equal((await secrets.current(test.registry, first.subject))?.versionId, third.id);
  });

  it('brings an imported version back that was undone', async () => {
    const version = newVersion();
    const password = randomBytes(20).toString('hex');
    const doImport = () => test.registry.transaction((tx) => secrets.importVersion(tx, version, password));
    await doImport();
    await doImport();
    assert.equal((await secrets.current(test.registry, version.subject))?.password, password);
    await test.registry.transaction((tx) => secrets.destroyOwner(tx, version.owner));
    await doImport();
    assert.equal((await secrets.current(test.registry, version.subject))?.password, password);
  });

  it('refuses sealed rows that were swapped between tenants, subjects or versions', async () => {
    const mine = await created();
    await promote(mine.id);
    const others = await Promise.all([
      created(),
      created(newVersion(mine.owner)),
      created(newVersion(mine.owner, mine.subject)),
    ]);
    for (const other of others) {
      await swapSealed(mine.id, other.id);
      await assert.rejects(secrets.password(test.registry, mine.id), swapped);
      await assert.rejects(secrets.password(test.registry, other.id), swapped);
      await swapSealed(mine.id, other.id);
      await secrets.password(test.registry, mine.id);
    }
  });

  async function swapSealed(one: string, two: string): Promise<void> {
    await test.registry.query(
      `UPDATE sealed_secrets s SET sealed = o.sealed FROM sealed_secrets o
        WHERE (s.version_id = $1 AND o.version_id = $2) OR (s.version_id = $2 AND o.version_id = $1)`,
      [one, two],
    );
  }

  it('refuses rows whose owner or subject was rewritten, and data keys of another owner', async () => {
    const [mine, other] = [await created(), await created()];
    await test.registry.query('UPDATE secret_versions SET subject = $2 WHERE id = $1', [
      mine.id,
      'database:x',
    ]);
    await assert.rejects(secrets.password(test.registry, mine.id), swapped);
    await test.registry.query('UPDATE secret_versions SET subject = $2, owner = $3 WHERE id = $1', [
      mine.id,
      mine.subject,
      other.owner,
    ]);
    await assert.rejects(secrets.password(test.registry, mine.id), swapped);
    await test.registry.query('UPDATE secret_versions SET owner = $2 WHERE id = $1', [mine.id, mine.owner]);
    await secrets.password(test.registry, mine.id);
    await test.registry.query(
      'UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE owner = $2) WHERE owner = $1',
      [mine.owner, other.owner],
    );
    await assert.rejects(secrets.password(test.registry, mine.id), swapped);
  });

  it('detects every flipped byte of the value and of the wrapped key', async () => {
    // Of magic, format or algorithm: another format. All others are authenticated, the key's id too.
    const changed = (error: { code?: string }) =>
      ['secret_tampered', 'secret_format_unknown', 'secret_truncated'].includes(error.code ?? '');
    const { id, owner } = await created();
    for (const [table, column, key, value] of [
      ['sealed_secrets', 'sealed', 'version_id', id],
      ['data_keys', 'wrapped', 'owner', owner],
    ] as const) {
      const { rows } = await test.registry.query<{ bytes: Buffer }>(
        `SELECT ${column} AS bytes FROM ${table} WHERE ${key} = $1`,
        [value],
      );
      const bytes = rows[0]?.bytes ?? Buffer.alloc(0);
      assert.ok(bytes.length > 32);
      for (let at = 0; at < bytes.length; at += 1) {
        const flipped = Buffer.from(bytes);
        flipped[at] = (flipped[at] ?? 0) ^ 0x01;
        await test.registry.query(`UPDATE ${table} SET ${column} = $2 WHERE ${key} = $1`, [value, flipped]);
        await assert.rejects(secrets.password(test.registry, id), changed, `${table} byte ${at}`);
      }
      await test.registry.query(`UPDATE ${table} SET ${column} = $2 WHERE ${key} = $1`, [value, bytes]);
      await secrets.password(test.registry, id);
    }
  });

  it('tells another master key apart from changed bytes, and works again with the right one', async () => {
    const { id, owner } = await created();
    const other = createSecrets(randomBytes(32));
    await assert.rejects(other.password(test.registry, id), { code: 'wrong_master_key' });
    await assert.rejects(create({ ...subject(), secrets: other }, newVersion(owner)), {
      code: 'wrong_master_key',
    });
    await secrets.password(test.registry, id);
  });

  it('makes a destroyed owner unreadable, even with its sealed rows put back', async () => {
    const version = await created();
    const sealed = await test.registry.query<{ sealed: Buffer }>(
      'SELECT sealed FROM sealed_secrets WHERE version_id = $1',
      [version.id],
    );
    await test.registry.transaction((tx) => secrets.destroyOwner(tx, version.owner));
    await test.registry.transaction((tx) => secrets.destroyOwner(tx, version.owner));
    await assert.rejects(secrets.password(test.registry, version.id), { code: 'secret_not_found' });
    await test.registry.query('INSERT INTO sealed_secrets VALUES ($1, $2)', [
      version.id,
      sealed.rows[0]?.sealed,
    ]);
    await assert.rejects(secrets.password(test.registry, version.id), { code: 'secret_not_found' });
    await created(newVersion(version.owner));
    const place = { versionId: version.id, owner: version.owner, subject: version.subject, region: 'eu' };
    const put = { place, sealed: sealed.rows[0]?.sealed ?? Buffer.alloc(0) };
    await assert.rejects(keys.open(test.registry, [put]), swapped);
  });

  it('deletes a key when its retention is over, and everything sealed under it with that', async () => {
    const [place, other] = [newPlace(), newPlace()];
    const sealed = await keys.seal(test.registry, place, 'value');
    const kept = await keys.seal(test.registry, other, 'kept');
    await keys.scheduleDestruction(test.registry, place, 7);
    assert.equal(await keys.endDestruction(test.registry, place), false);
    await keys.cancelDestruction(test.registry, place);
    assert.equal((await keys.open(test.registry, [{ place, sealed }])).get(place.versionId), 'value');
    await keys.scheduleDestruction(test.registry, place, 7);
    await overdue(place.owner);
    assert.equal(await keys.endDestruction(test.registry, place), true);
    await assert.rejects(keys.open(test.registry, [{ place, sealed }]), { code: 'key_missing' });
    await assert.rejects(keys.cancelDestruction(test.registry, place), { code: 'key_missing' });
    const left = await keys.open(test.registry, [{ place: other, sealed: kept }]);
    assert.equal(left.get(other.versionId), 'kept');
  });

  describe('after a destroyed key', () => destructionsConform(subject, overdue));

  /** As if the retention were over: the date is data. */
  async function overdue(owner: string): Promise<void> {
    const past = "now() - interval '1 second'";
    await test.registry.query(`UPDATE data_keys SET destroy_at = ${past} WHERE owner = $1`, [owner]);
    await test.registry.query(`UPDATE owner_destructions SET key_gone_at = ${past} WHERE owner = $1`, [
      owner,
    ]);
  }

  it('reads nothing of a destroyed owner in a registry whose rows of before were put back', async () => {
    const version = await created();
    await promote(version.id);
    const rows = await dump(version);
    await test.registry.transaction((tx) => secrets.shredOwner(tx, version.owner, 'acme'));
    await restore(rows);
    await assert.rejects(secrets.password(test.registry, version.id), { code: 'key_pending_destruction' });
    await overdue(version.owner);
    await secrets.endDestructions(test.registry, quietLogger);
    await restore(rows);
    await assert.rejects(secrets.password(test.registry, version.id), { code: 'key_destroyed', status: 410 });
  });

  async function dump({ id }: NewVersion): Promise<{ id: string; stage: string; sealed: Buffer }> {
    const { rows } = await test.registry.query<{ id: string; stage: string; sealed: Buffer }>(
      'SELECT v.id, v.stage, s.sealed FROM secret_versions v JOIN sealed_secrets s ON s.version_id = v.id WHERE v.id = $1',
      [id],
    );
    if (rows[0] === undefined) throw new Error('nothing to dump');
    return rows[0];
  }

  async function restore({ id, stage, sealed }: Awaited<ReturnType<typeof dump>>): Promise<void> {
    await test.registry.query('UPDATE secret_versions SET stage = $2 WHERE id = $1', [id, stage]);
    await test.registry.query('INSERT INTO sealed_secrets VALUES ($1, $2) ON CONFLICT DO NOTHING', [
      id,
      sealed,
    ]);
  }

  it('reads values of the first format, which knew no key id', async () => {
    const { id, owner, subject: opens } = await created();
    const dataKey = randomBytes(32);
    const put = (table: string, column: string, key: string, value: string, bytes: Buffer) =>
      test.registry.query(`UPDATE ${table} SET ${column} = $2 WHERE ${key} = $1`, [value, bytes]);
    await put('data_keys', 'wrapped', 'owner', owner, sealFirst(masterKey, dataKey, ['data-key', owner]));
    const bound = ['value', owner, opens, id];
    await put('sealed_secrets', 'sealed', 'version_id', id, sealFirst(dataKey, Buffer.from('old'), bound));
    assert.equal(await secrets.password(test.registry, id), 'old');
    const elsewhere = sealFirst(dataKey, Buffer.from('old'), ['value', owner, opens, 'another']);
    await put('sealed_secrets', 'sealed', 'version_id', id, elsewhere);
    await assert.rejects(secrets.password(test.registry, id), { code: 'secret_tampered' });
  });
});

/** As it was written until November 2026. */
function sealFirst(key: Buffer, plain: Buffer, bound: string[]): Buffer {
  const iv = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: 16 });
  const parts = bound.flatMap((part) => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(Buffer.byteLength(part));
    return [length, Buffer.from(part)];
  });
  cipher.setAAD(Buffer.concat(parts));
  const body = Buffer.concat([cipher.update(plain), cipher.final()]);
  return Buffer.concat([Buffer.from('FLT1'), iv, cipher.getAuthTag(), body]);
}
