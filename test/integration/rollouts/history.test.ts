import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { forgetOldChecks } from '../../../control-plane/drift/check-store.ts';
import { forgetOldMeasurements } from '../../../control-plane/rollouts/gates/store.ts';
import { freshRegistry, type TestRegistry } from '../../support/registry.ts';

/** By days since their end; null: not over. */
const AGES = [null, 1, 89, 91, 400];

describe('history', () => {
  let test: TestRegistry;

  before(async () => {
    test = await freshRegistry();
  });
  after(() => test.drop());

  const ages = async (sql: string): Promise<(number | null)[]> => {
    const { rows } = await test.registry.query<{ age: number | null }>(
      `SELECT extract(day FROM now() - finished_at)::int AS age FROM ${sql} ORDER BY 1 NULLS FIRST`,
    );
    return rows.map(({ age }) => age);
  };

  it('of drift checks is kept for three months after their end', async () => {
    for (const age of AGES) {
      await test.registry.query(
        `INSERT INTO drift_checks (id, state, match, actor, finished_at)
         VALUES ($1, $2, '{}', 'test', now() - $3 * interval '1 day')`,
        [randomUUID(), age === null ? 'running' : 'succeeded', age],
      );
    }
    await forgetOldChecks(test.registry);
    assert.deepEqual(await ages('drift_checks'), [null, 1, 89]);
  });

  it('of measurements is kept for three months after the end of their rollout', async () => {
    await test.registry.query(
      `INSERT INTO migrations (name, ordinal, checksum, up_sql, phase, transactional)
       VALUES ('m', 1, 'c', '', 'expand', true)`,
    );
    await test.registry.query(
      `INSERT INTO releases (name, head, head_ordinal, checksum, published_by) VALUES ('r', 'm', 1, 'c', 'test')`,
    );
    for (const age of AGES) {
      const id = randomUUID();
      await test.registry.query(
        `INSERT INTO rollouts (id, release, state, spec, author, started_at, finished_at)
         VALUES ($1, 'r', $2, '{}', 'test', now() - interval '2 years', now() - $3 * interval '1 day')`,
        [id, age === null ? 'running' : 'succeeded', age],
      );
      await test.registry.query(
        `INSERT INTO rollout_waves (rollout_id, ordinal, name, state, parallel, per_server, budget)
         VALUES ($1, 0, 'w', 'running', 1, 1, '{}')`,
        [id],
      );
      await test.registry.query(
        `INSERT INTO rollout_measurements (rollout_id, wave, gate, scope, outcome, samples, message, measured_at)
         VALUES ($1, 0, 'g', 'wave', 'success', 1, 'fine', now() - interval '1 year')`,
        [id],
      );
    }
    await forgetOldMeasurements(test.registry);
    assert.deepEqual(await ages('rollouts JOIN rollout_measurements ON rollout_id = rollouts.id'), [
      null,
      1,
      89,
    ]);
    assert.equal((await ages('rollouts')).length, AGES.length);
  });
});
