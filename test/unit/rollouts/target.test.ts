import assert from 'node:assert/strict';
import type { Registry } from '../../../control-plane/registry/registry.ts';
import { wholeVersion } from '../../../control-plane/releases/inspect.ts';
import type { Migration } from '../../../control-plane/releases/release.ts';
import { migrateTarget, sureOf, type TargetRun } from '../../../control-plane/rollouts/engine/target.ts';
import type { TargetResult } from '../../../control-plane/rollouts/target-store.ts';
import { FleetError } from '../../../platform/errors.ts';

/**
 * One run on a target whose every try ends in `error`; answers the result and how many tries it took. One that failed
 * is visited once more, to be asked what it has.
 */
async function tryTarget(error: Error): Promise<{ result: TargetResult | undefined; tries: number }> {
  let tries = 0;
  const run: TargetRun = {
    registry: { query: async () => ({ rows: [{ gone: false }] }) } as unknown as Registry,
    servers: {
      admin: () => Promise.reject(error),
      address: () => Promise.reject(error),
      migrator: () => {
        tries += 1;
        return Promise.reject(error);
      },
      makeMigrators: () => Promise.reject(error),
      close: async () => undefined,
    },
    ...{ release: 'r1', migrations: [], applicationName: 'fleet:test:1' },
    retry: { retries: 2, firstDelayMs: 1, maxDelayMs: 2 },
    guard: () => ({ stamp: null, prove: async () => undefined }),
    isStopping: () => false,
    isAborted: () => false,
  };
  const target = {
    databaseId: 'd',
    serverId: 's',
    slug: 'aaa',
    database: 'd',
    ownerRole: 'o',
    schemaVersion: null,
    schemaStamp: null,
    ranBefore: false,
    wave: 0,
  };
  return { result: await migrateTarget(run, target, new AbortController().signal), tries };
}

const ASKED = 1;

function failure(code: string, sqlstate: string): FleetError {
  const cause = Object.assign(new Error(sqlstate), { code: sqlstate });
  return new FleetError({ code, status: 422, message: code, retryable: true, cause });
}

describe('rollout target', () => {
  it('is not run again after a lock wait: the migration has waited and tried again by itself', async () => {
    const { result, tries } = await tryTarget(failure('migration_failed', '55P03'));
    assert.deepEqual([result?.error?.code, tries], ['migration_failed', 1 + ASKED]);
  });

  it('is run again after a connection that was lost or a lock of another migrating session', async () => {
    const lost = await tryTarget(failure('migration_unknown', '57P01'));
    assert.deepEqual([lost.result?.error?.code, lost.tries], ['migration_unknown', 3]);
    const locked = await tryTarget(failure('migration_locked', '55P03'));
    assert.deepEqual([locked.result?.error?.code, locked.tries], ['migration_locked', 3 + ASKED]);
  });

  it('whose database cannot be asked has what is sure to be there', () => {
    const migrations = ['m1', 'm2', 'm3'].map((name) => ({ name })) as Migration[];
    const undo = { of: 'r', downTo: new Map([['d', 'm0']]) };
    const sure = (backwards: boolean, names: string[], lost = false) =>
      sureOf(
        { migrations, undo: backwards ? undo : undefined },
        { databaseId: 'd' },
        { steps: names.map((name) => ({ name })), lost },
      )?.schemaVersion;
    assert.equal(sure(false, []), undefined);
    assert.equal(sure(false, ['m1', 'm2'], true), 'm2');
    assert.equal(sure(true, []), undefined);
    assert.equal(sure(true, ['m3', 'm2']), 'm1');
    assert.equal(sure(true, ['m3', 'm2', 'm1']), null);
    // What was on its way back when the connection went may be gone, and more of it in the next try.
    assert.equal(sure(true, ['m3'], true), 'm0');
  });

  it('has a migration only where that is whole', () => {
    const applied = ['m1', 'm2'].map((name) => ({ name, checksum: '' }));
    const half = (migration: string) => ({ migration, statementsDone: 1 });
    assert.equal(wholeVersion({ applied, interrupted: null }), 'm2');
    assert.equal(wholeVersion({ applied, interrupted: half('m3') }), 'm2');
    assert.equal(wholeVersion({ applied, interrupted: half('m2') }), 'm1');
    assert.equal(wholeVersion({ applied: [], interrupted: null }), null);
  });
});
