import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { findDestruction } from '../../../control-plane/secrets/destruction-store.ts';
import { tellStore } from '../../../control-plane/secrets/destruction.ts';
import { quietLogger } from '../../support/registry.ts';
import { DAY_MS, newPlace, verbs, type Subject } from './conformance.ts';

/** The way of a deleted owner's key. `elapse` makes its retention be over. */
export function destructionsConform(subject: () => Subject, elapse: (owner: string) => Promise<void>): void {
  destructionsAreWanted(subject);
  destructionsEnd(subject, elapse);
}

function shredding(subject: () => Subject) {
  const { registry, password, created } = verbs(subject);
  return {
    ...{ registry, password, created },
    shred: (owner: string) => registry().transaction((tx) => subject().secrets.shredOwner(tx, owner, 'acme')),
    keep: (owner: string) => registry().transaction((tx) => subject().secrets.keepKey(tx, owner)),
    settled: async (owner: string) => {
      await subject().secrets.settle(quietLogger);
      return findDestruction(registry(), owner);
    },
    audited: async (owner: string) => {
      const { rows } = await registry().query<{ action: string }>(
        "SELECT action FROM audit_log WHERE resource = 'tenant:acme' AND after->>'id' = $1 ORDER BY seq",
        [owner.split(':')[1]],
      );
      return rows.map((row) => row.action);
    },
  };
}

function destructionsAreWanted(subject: () => Subject): void {
  const { registry, password, created, shred, keep, settled, audited } = shredding(subject);

  it('schedules the key for after the retention, once, and says when it is gone', async () => {
    const { id, owner } = await created();
    await password(id);
    await shred(owner);
    const first = await settled(owner);
    await shred(owner);
    assert.deepEqual(await settled(owner), first);
    assert.equal(first?.state, 'scheduled');
    const days = ((first.goneAt.getTime() ?? 0) - Date.now()) / DAY_MS;
    assert.equal(Math.round(days), first.retentionDays);
    await subject().secrets.endDestructions(registry(), quietLogger);
    assert.equal((await settled(owner))?.state, 'scheduled');
    assert.deepEqual(await audited(owner), ['key.destruction_scheduled']);
  });

  it('says it to the store again when that was cut off before the note', async () => {
    const { id, owner } = await created();
    await password(id);
    await shred(owner);
    const cut = registry().transaction(async (tx) => {
      await tellStore(tx, subject().store, owner);
      throw new Error('cut off');
    });
    await assert.rejects(cut, /cut off/);
    assert.equal((await settled(owner))?.state, 'scheduled');
    assert.deepEqual(await audited(owner), ['key.destruction_scheduled']);
  });

  it('gives the key back when it is to be kept, and not the credentials', async () => {
    const { id, owner } = await created();
    await password(id);
    const place = newPlace(owner);
    const sealed = await subject().keys.seal(registry(), place, 'in a backup');
    await shred(owner);
    await settled(owner);
    await keep(owner);
    await keep(owner);
    assert.equal((await settled(owner))?.state, 'kept');
    const opened = await subject().keys.open(registry(), [{ place, sealed }]);
    assert.equal(opened.get(place.versionId), 'in a backup');
    await assert.rejects(password(id), { code: 'secret_not_found' });
    await shred(owner);
    assert.equal((await settled(owner))?.state, 'scheduled');
  });
}

function destructionsEnd(subject: () => Subject, elapse: (owner: string) => Promise<void>): void {
  const { registry, password, created, shred, keep, settled, audited } = shredding(subject);

  it('destroys it when the retention is over, with an audit entry; nothing brings it back', async () => {
    const { id, owner } = await created();
    await password(id);
    await shred(owner);
    await settled(owner);
    await elapse(owner);
    await Promise.all([1, 2].map(() => subject().secrets.endDestructions(registry(), quietLogger)));
    assert.equal((await settled(owner))?.state, 'destroyed');
    assert.deepEqual(await audited(owner), ['key.destruction_scheduled', 'key.destroyed']);
    await assert.rejects(password(id), { code: 'key_destroyed' });
    await assert.rejects(keep(owner), { code: 'key_destroyed' });
    await shred(owner);
    assert.equal((await settled(owner))?.state, 'destroyed');
  });

  it('destroys no key of an owner that lives, or never had one', async () => {
    const { owner } = await created();
    await assert.rejects(keep(owner), { code: 'key_not_scheduled' });
    assert.equal(await shred(`tenant:${randomUUID()}`), undefined);
  });
}
