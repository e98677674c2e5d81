import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { createSecrets, type NewVersion } from '../../../control-plane/secrets/secret.ts';
import { freshRegistry, type TestRegistry } from '../../support/registry.ts';

describe('secrets', () => {
  let test: TestRegistry;
  const secrets = createSecrets(randomBytes(32));

  before(async () => {
    test = await freshRegistry();
    await test.registry.query(
      "INSERT INTO regions (name, jurisdiction, domain) VALUES ('eu', 'EU', 'eu.localhost')",
    );
  });
  after(() => test.drop());

  function newVersion(owner = `tenant:${randomUUID()}`, subject = `database:${randomUUID()}`): NewVersion {
    return { id: randomUUID(), owner, subject, region: 'eu', login: 't_x_a' };
  }

  async function created(version = newVersion()): Promise<NewVersion> {
    await test.registry.transaction((tx) => secrets.createVersion(tx, version));
    return version;
  }

  function promote(id: string): Promise<void> {
    return test.registry.transaction((tx) => secrets.promote(tx, id));
  }

  async function stages(subject: string): Promise<Record<string, string>> {
    const { rows } = await test.registry.query<{ id: string; stage: string }>(
      'SELECT id, stage FROM secret_versions WHERE subject = $1',
      [subject],
    );
    return Object.fromEntries(rows.map((row) => [row.id, row.stage]));
  }

  const refused = { code: 'secret_tampered' };

  it('creates a version once, however often it is asked to', async () => {
    const version = await created();
    const password = await secrets.password(test.registry, version.id);
    await created(version);
    assert.equal(await secrets.password(test.registry, version.id), password);
    assert.equal(await secrets.current(test.registry, version.subject), undefined);
  });

  it('refuses an id that stands for something else', async () => {
    const version = await created();
    await assert.rejects(created({ ...newVersion(), id: version.id }), /stands for something else/);
  });

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

  it('imports a given password as current and can bring an undone version back', async () => {
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

  it('reads many in one query', async () => {
    const made = await Promise.all([created(), created()]);
    const found = await secrets.passwords(test.registry, [
      ...made.map((version) => version.id),
      randomUUID(),
    ]);
    assert.deepEqual([...found.keys()].sort(), made.map((version) => version.id).sort());
  });

  it('two writers at once make one data key', async () => {
    const owner = `tenant:${randomUUID()}`;
    const made = await Promise.all([1, 2, 3, 4].map(() => created(newVersion(owner))));
    const found = await secrets.passwords(
      test.registry,
      made.map((version) => version.id),
    );
    assert.equal(new Set(found.values()).size, 4);
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
      await assert.rejects(secrets.password(test.registry, mine.id), refused);
      await assert.rejects(secrets.password(test.registry, other.id), refused);
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
    await assert.rejects(secrets.password(test.registry, mine.id), refused);
    await test.registry.query('UPDATE secret_versions SET subject = $2, owner = $3 WHERE id = $1', [
      mine.id,
      mine.subject,
      other.owner,
    ]);
    await assert.rejects(secrets.password(test.registry, mine.id), refused);
    await test.registry.query('UPDATE secret_versions SET owner = $2 WHERE id = $1', [mine.id, mine.owner]);
    await secrets.password(test.registry, mine.id);
    await test.registry.query(
      'UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE owner = $2) WHERE owner = $1',
      [mine.owner, other.owner],
    );
    await assert.rejects(secrets.password(test.registry, mine.id), refused);
  });

  it('detects every flipped byte of the value and of the wrapped key', async () => {
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
        await assert.rejects(secrets.password(test.registry, id), refused, `${table} byte ${at}`);
      }
      await test.registry.query(`UPDATE ${table} SET ${column} = $2 WHERE ${key} = $1`, [value, bytes]);
      await secrets.password(test.registry, id);
    }
  });

  it('refuses another master key', async () => {
    const { id } = await created();
    await assert.rejects(createSecrets(randomBytes(32)).password(test.registry, id), refused);
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
    const again = newVersion(version.owner);
    await created(again);
    await assert.rejects(secrets.password(test.registry, version.id), refused);
  });

  it('keeps no password in plain form anywhere in the registry', async () => {
    const { id } = await created();
    const password = await secrets.password(test.registry, id);
    const { rows: tables } = await test.registry.query<{ name: string }>(
      "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
    );
    for (const needle of [
      password,
      Buffer.from(password).toString('hex'),
      Buffer.from(password).toString('base64'),
    ]) {
      for (const { name } of tables) {
        const { rows } = await test.registry.query(
          `SELECT 1 FROM ${name} t WHERE strpos(t::text, $1) > 0 LIMIT 1`,
          [needle],
        );
        assert.equal(rows.length, 0, `${name} holds a password`);
      }
    }
  });
});
