import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import type { KeyService, SecretPlace } from '../../../control-plane/secrets/keys/key-service.ts';
import type { NewVersion, Secrets } from '../../../control-plane/secrets/secret.ts';
import type { SecretStore } from '../../../control-plane/secrets/stores/secret-store.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { quietLogger, type TestRegistry } from '../../support/registry.ts';

/** What the same suite is run on: each store with the keys that go with it. */
export interface Subject {
  test: TestRegistry;
  store: SecretStore;
  keys: KeyService;
  secrets: Secrets;
}

export async function addRegions(test: TestRegistry): Promise<void> {
  await test.registry.query(
    `INSERT INTO regions (name, jurisdiction, domain)
     VALUES ('eu', 'EU', 'eu.localhost'), ('us', 'US', 'us.localhost')`,
  );
}

export function newVersion(
  owner = `tenant:${randomUUID()}`,
  subject = `database:${randomUUID()}`,
): NewVersion {
  return { id: randomUUID(), owner, subject, region: 'eu', login: 't_x_a' };
}

export function newPlace(
  owner = `tenant:${randomUUID()}`,
  subject = `database:${randomUUID()}`,
): SecretPlace {
  return { versionId: randomUUID(), owner, subject, region: 'eu' };
}

export async function create({ test, secrets }: Subject, version = newVersion()): Promise<NewVersion> {
  await test.registry.transaction((tx) => secrets.createVersion(tx, version));
  return version;
}

/** Versions and stages, as every store must keep them. */
export function secretsConform(subject: () => Subject): void {
  versionsAreMade(subject);
  versionsMoveAndEnd(subject);
}

export function verbs(subject: () => Subject) {
  const registry = () => subject().test.registry;
  return {
    registry,
    password: (id: string) => subject().secrets.password(registry(), id),
    created: (version?: NewVersion) => create(subject(), version),
    promote: (id: string) => registry().transaction((tx) => subject().secrets.promote(tx, id)),
    destroyOwner: (owner: string) =>
      registry().transaction((tx) => subject().secrets.destroyOwner(tx, owner)),
  };
}

function versionsAreMade(subject: () => Subject): void {
  const { registry, password, created } = verbs(subject);

  it('creates a version once, however often it is asked to and by however many at once', async () => {
    const version = await created();
    const values = await Promise.all([1, 2, 3, 4].map(() => password(version.id)));
    await created(version);
    assert.equal(new Set([...values, await password(version.id)]).size, 1);
    assert.ok(Buffer.from(values[0] ?? '', 'base64url').length >= 32);
    assert.equal(await subject().secrets.current(registry(), version.subject), undefined);
  });

  it('has no value for a version whose transaction was rolled back', async () => {
    const version = newVersion();
    const undone = registry().transaction(async (tx) => {
      await subject().secrets.createVersion(tx, version);
      throw new Error('rolled back');
    });
    await assert.rejects(undone, /rolled back/);
    await subject().secrets.settle(quietLogger);
    await assert.rejects(password(version.id), { code: 'secret_not_found' });
    assert.equal((await subject().store.read(registry(), [placeOf(version)])).size, 0);
  });

  it('refuses an id that stands for something else', async () => {
    const version = await created();
    await assert.rejects(created({ ...newVersion(), id: version.id }), /stands for something else/);
  });

  it('imports a given password as current', async () => {
    const version = newVersion();
    const given = randomBytes(20).toString('hex');
    const doImport = () =>
      registry().transaction((tx) => subject().secrets.importVersion(tx, version, given));
    await doImport();
    await doImport();
    assert.equal((await subject().secrets.current(registry(), version.subject))?.password, given);
    await subject().secrets.settle(quietLogger);
    assert.equal((await subject().secrets.current(registry(), version.subject))?.password, given);
  });

  it('reads many at once, those that there are', async () => {
    const ids = (await Promise.all([created(), created()])).map((version) => version.id);
    const found = await subject().secrets.passwords(registry(), [...ids, randomUUID()]);
    assert.deepEqual([...found.keys()].sort(), ids.sort());
  });

  it('keeps apart what several make for one owner at once', async () => {
    const owner = `tenant:${randomUUID()}`;
    const made = await Promise.all([1, 2, 3, 4].map(() => created(newVersion(owner))));
    const ids = made.map((version) => version.id);
    assert.equal(new Set((await subject().secrets.passwords(registry(), ids)).values()).size, 4);
  });

  it('keeps no password in plain form anywhere in the registry', async () => {
    const version = newVersion();
    const given = randomBytes(20).toString('hex');
    await registry().transaction((tx) => subject().secrets.importVersion(tx, version, given));
    await assertNowhere(registry(), given);
    const { id } = await created();
    await assertNowhere(registry(), await password(id));
  });
}

function versionsMoveAndEnd(subject: () => Subject): void {
  const { registry, password, created, promote, destroyOwner } = verbs(subject);

  it('moves stages in order and reads no version that is retired', async () => {
    const first = await created();
    const second = newVersion(first.owner, first.subject);
    const third = newVersion(first.owner, first.subject);
    await promote(first.id);
    const value = await password(first.id);
    await created(second);
    await assert.rejects(created(third), { code: 'secret_pending' });
    await promote(second.id);
    await promote(second.id);
    assert.equal(await password(first.id), value);
    await created(third);
    await promote(third.id);
    await subject().secrets.settle(quietLogger);
    await assert.rejects(password(first.id), { code: 'secret_not_found' });
    await assert.rejects(promote(first.id), { code: 'secret_not_pending' });
    const current = await subject().secrets.current(registry(), first.subject);
    assert.deepEqual([current?.versionId, current?.password], [third.id, await password(third.id)]);
  });

  it('makes a destroyed owner unreadable, and no other', async () => {
    const [mine, other] = [await created(), await created()];
    await password(mine.id);
    const kept = await password(other.id);
    await destroyOwner(mine.owner);
    await destroyOwner(mine.owner);
    await assert.rejects(password(mine.id), { code: 'secret_not_found' });
    await subject().secrets.settle(quietLogger);
    await assert.rejects(password(mine.id), { code: 'secret_not_found' });
    assert.equal(await password(other.id), kept);
  });
}

/** The store by itself, under the registry's stages. */
export function storeConforms(subject: () => Subject): void {
  const db = () => subject().test.registry;
  const version = async () => placeOf(await create(subject()));

  it('keeps the first value of a version, whoever comes with another', async () => {
    const place = { ...(await version()), versionId: randomUUID() };
    await insertRow(db(), place);
    assert.equal(await subject().store.ensure(db(), place, 'first'), 'first');
    assert.equal(await subject().store.ensure(db(), place, 'second'), 'first');
    assert.equal((await subject().store.read(db(), [place])).get(place.versionId), 'first');
  });

  it('has no entry for a version that it was never given', async () => {
    assert.equal((await subject().store.read(db(), [newPlace()])).size, 0);
  });

  it('may be told of the same stages twice', async () => {
    const place = { ...(await version()), versionId: randomUUID() };
    await insertRow(db(), place);
    await subject().store.ensure(db(), place, 'value');
    for (const stage of ['pending', 'pending', 'current', 'current', 'previous', 'previous'] as const) {
      await subject().store.settle(db(), [{ ...place, stage }]);
      assert.equal((await subject().store.read(db(), [place])).get(place.versionId), 'value');
    }
  });
}

/** The keys by themselves. `enforcesState` is false where an emulator goes on using a key that it calls unusable. */
export function keysConform(subject: () => Subject, options: { enforcesState: boolean }): void {
  keysSeal(subject);
  keysEnd(subject, options.enforcesState);
}

function sealing(subject: () => Subject) {
  const db = () => subject().test.registry;
  return {
    db,
    seal: (place: SecretPlace, value: string) => subject().keys.seal(db(), place, value),
    open: async (place: SecretPlace, sealed: Buffer) =>
      (await subject().keys.open(db(), [{ place, sealed }])).get(place.versionId),
  };
}

function keysSeal(subject: () => Subject): void {
  const { db, seal, open } = sealing(subject);

  it('open what they have sealed, never twice the same bytes', async () => {
    const place = newPlace();
    const sealed = [await seal(place, 'value'), await seal(place, 'value')] as const;
    assert.ok(!sealed[0].equals(sealed[1]));
    assert.ok(!sealed[0].includes('value'));
    assert.deepEqual(await Promise.all(sealed.map((bytes) => open(place, bytes))), ['value', 'value']);
  });

  it('refuse a value for another owner, subject or version, and say that it was swapped', async () => {
    const place = newPlace();
    const sealed = await seal(place, 'value');
    const others = [newPlace(), newPlace(place.owner), newPlace(place.owner, place.subject)];
    for (const other of others) {
      await seal(other, 'another');
      await assert.rejects(open(other, sealed), { code: 'secret_swapped' });
    }
  });

  it('tell changed bytes, missing bytes and an unknown format apart', async () => {
    const place = newPlace();
    const sealed = await seal(place, 'value');
    const changed = Buffer.from(sealed);
    changed[changed.length - 1] = (changed[changed.length - 1] ?? 0) ^ 1;
    const laterFormat = Buffer.from(sealed);
    laterFormat[3] = 0x39;
    await assert.rejects(open(place, changed), { code: 'secret_tampered' });
    await assert.rejects(open(place, sealed.subarray(0, -1)), { code: 'secret_truncated' });
    await assert.rejects(open(place, sealed.subarray(0, 3)), { code: 'secret_truncated' });
    await assert.rejects(open(place, laterFormat), { code: 'secret_format_unknown' });
    await assert.rejects(open(place, Buffer.from('plain text')), { code: 'secret_format_unknown' });
  });

  it('say that there is no key of an owner who has none', async () => {
    const [place, other] = [newPlace(), newPlace()];
    const sealed = await seal(other, 'value');
    await assert.rejects(open(place, sealed), { code: 'key_missing' });
    await assert.rejects(subject().keys.cancelDestruction(db(), place), { code: 'key_missing' });
    assert.equal(await subject().keys.scheduleDestruction(db(), place, 7), undefined);
  });
}

function keysEnd(subject: () => Subject, enforcesState: boolean): void {
  const { db, seal, open } = sealing(subject);

  it('name the day on which a key is gone, and keep it when asked again', async () => {
    const place = newPlace();
    await seal(place, 'value');
    const goneAt = await subject().keys.scheduleDestruction(db(), place, 9);
    assert.equal(Math.round(((goneAt?.getTime() ?? 0) - Date.now()) / DAY_MS), 9);
    assert.deepEqual(await subject().keys.scheduleDestruction(db(), place, 20), goneAt);
    await assert.rejects(seal(place, 'another'), { code: 'key_pending_destruction' });
  });

  it('seal and open again once a destruction was cancelled, however often', async () => {
    const place = newPlace();
    const sealed = await seal(place, 'value');
    await subject().keys.scheduleDestruction(db(), place, 7);
    await subject().keys.cancelDestruction(db(), place);
    await subject().keys.cancelDestruction(db(), place);
    assert.equal(await open(place, sealed), 'value');
    assert.equal(await open(place, await seal(place, 'another')), 'another');
  });

  if (!enforcesState) return;
  it('open nothing from the moment on that their destruction is scheduled', async () => {
    const place = newPlace();
    const sealed = await seal(place, 'value');
    await subject().keys.scheduleDestruction(db(), place, 7);
    await assert.rejects(open(place, sealed), { code: 'key_pending_destruction' });
  });
}

export const DAY_MS = 86_400_000;

function placeOf(version: NewVersion): SecretPlace {
  const { id, owner, subject, region } = version;
  return { versionId: id, owner, subject, region };
}

/** The row that a sealed value of the local store belongs to; in a stage of which there may be many. */
async function insertRow(db: Queryable, place: SecretPlace): Promise<void> {
  await db.query(
    `INSERT INTO secret_versions (id, owner, subject, region, login, stage) VALUES ($1, $2, $3, $4, 'x', 'current')`,
    [place.versionId, place.owner, place.subject, place.region],
  );
}

async function assertNowhere(db: Queryable, password: string): Promise<void> {
  const { rows: tables } = await db.query<{ name: string }>(
    "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')",
  );
  const bytes = Buffer.from(password);
  for (const needle of [password, bytes.toString('hex'), bytes.toString('base64')]) {
    for (const { name } of tables) {
      const { rows } = await db.query(`SELECT 1 FROM ${name} t WHERE strpos(t::text, $1) > 0 LIMIT 1`, [
        needle,
      ]);
      assert.equal(rows.length, 0, `${name} holds a password`);
    }
  }
}
