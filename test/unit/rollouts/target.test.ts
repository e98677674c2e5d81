import assert from 'node:assert/strict';
import type { Registry } from '../../../control-plane/registry/registry.ts';
import { migrateTarget, type TargetRun } from '../../../control-plane/rollouts/target.ts';
import type { TargetResult } from '../../../control-plane/rollouts/target-store.ts';
import { FleetError } from '../../../platform/errors.ts';

/** One run on a target whose every try ends in `error`; answers the result and how many tries it took. */
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
      close: async () => undefined,
    },
    ...{ release: 'r1', migrations: [], applicationName: 'fleet:test:1' },
    retry: { retries: 2, firstDelayMs: 1, maxDelayMs: 2 },
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
    orphan: false,
    wave: 0,
  };
  return { result: await migrateTarget(run, target, new AbortController().signal), tries };
}

function failure(code: string, sqlstate: string): FleetError {
  const cause = Object.assign(new Error(sqlstate), { code: sqlstate });
  return new FleetError({ code, status: 422, message: code, retryable: true, cause });
}

describe('rollout target', () => {
  it('is not run again after a lock wait: the migration has waited and tried again by itself', async () => {
    const { result, tries } = await tryTarget(failure('migration_failed', '55P03'));
    assert.deepEqual([result?.error?.code, tries], ['migration_failed', 1]);
  });

  it('is run again after a connection that was lost or a lock of another migrating session', async () => {
    const lost = await tryTarget(failure('migration_unknown', '57P01'));
    assert.deepEqual([lost.result?.error?.code, lost.tries], ['migration_unknown', 3]);
    const locked = await tryTarget(failure('migration_locked', '55P03'));
    assert.deepEqual([locked.result?.error?.code, locked.tries], ['migration_locked', 3]);
  });
});
