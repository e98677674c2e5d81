import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import type { Queryable } from '../../../platform/pg.ts';
import { changedTargets, undoGoals } from '../../../control-plane/rollouts/verbs/undo-store.ts';
import { missingContractSteps } from '../../../control-plane/rollouts/plan/contract-store.ts';
import { historyOf, leftTargets } from '../../../control-plane/rollouts/plan/estimate-store.ts';
import { canaryTargets, gateTargets } from '../../../control-plane/rollouts/gates/store.ts';
import { listOutages, recallTargets } from '../../../control-plane/rollouts/engine/outage-store.ts';
import { targetsByMissing, waitingMembers } from '../../../control-plane/rollouts/plan/plan-store.ts';
import { readProgress } from '../../../control-plane/rollouts/view/progress.ts';
import { isOnItsWay, retryTargets } from '../../../control-plane/rollouts/verbs/retry-store.ts';
import { OPEN_ROLLOUTS_SQL } from '../../../control-plane/rollouts/store.ts';
import * as targetStore from '../../../control-plane/rollouts/target-store.ts';
import { listRollouts, listTargets } from '../../../control-plane/rollouts/view/view-store.ts';
import * as waitStore from '../../../control-plane/rollouts/engine/wait-store.ts';
import { reopenWaves } from '../../../control-plane/rollouts/wave-store.ts';
import { fleetMembers } from '../../../control-plane/tenants/store.ts';
import { freshRegistry } from '../../support/registry.ts';

const TARGETS = 5_000;
/**
 * Rows that all nodes of a plan together may take in hand, for each target. A plan that joins and sorts them has a
 * dozen nodes; one that looks at all targets for each target has thousands of rows for each.
 */
const ROWS_PER_TARGET = 40;

/** Share of the targets that budgets count: all but those that wait or were skipped. */
const COUNTED = 0.8;

describe(`a rollout of ${TARGETS} targets that the planner's statistics do not know yet`, function () {
  this.timeout(120_000);
  const id = randomUUID();
  let test: Awaited<ReturnType<typeof freshRegistry>>;
  let db: Queryable;
  const heavy: string[] = [];

  before(async () => {
    test = await freshRegistry();
    db = explaining(test.registry, (line) => heavy.push(line));
    await test.registry.query(FLEET);
    // What the statistics know is another rollout, so that they expect nothing of this one.
    await test.registry.query(ROLLOUT(randomUUID(), 'succeeded'));
    await test.registry.query('ANALYZE');
    await test.registry.query(ROLLOUT(id, 'running'));
  });
  after(() => test.drop());
  beforeEach(() => {
    heavy.length = 0;
  });
  afterEach(() => assert.deepEqual(heavy, []));

  it('is steered by queries that look at each of them a few times', async () => {
    assert.equal((await waitStore.tallyWaves(db, id)).length, 2);
    assert.equal((await waitStore.tallyRollout(db, id)).base, TARGETS * COUNTED);
    assert.ok((await targetStore.waitingTargets(db, id, 1)).length > 0);
    await listOutages(db, id);
    await targetStore.unknownTargets(db, id);
    await targetStore.countTargets(db, id, null);
    await targetStore.countTargets(db, id, 1);
    await targetStore.firstFailure(db, { rolloutId: id, wave: 1 }, 'failed');
    await waitStore.leftBehind(db);
    await fleetMembers(db, { behindOrdinal: 1 });
    await gateTargets(db, id, { states: ['verified'], wave: 1 });
    await canaryTargets(db, id);
    await db.query(OPEN_ROLLOUTS_SQL);
  });

  it('is started, retried and undone by such queries', async () => {
    await targetStore.targetRegions(db, id);
    await targetStore.databasesToRun(db, id);
    await waitStore.unsettledElsewhere(db, id);
    await waitStore.unreachableServers(db, id);
    await isOnItsWay(db, id, { tenant: 'tenant7', wave: null });
    await changedTargets(db, id);
    await undoGoals(db, id);
    await missingContractSteps(db, id, 1);
    await historyOf(db, ['001_head']);
    await leftTargets(db, id, null);
  });

  it('is shown by such queries', async () => {
    assert.equal((await readProgress(db, id, null)).total, TARGETS);
    assert.equal((await readProgress(db, id, ['eu'])).total, TARGETS);
    await listRollouts(db, { regions: ['eu'], limit: 20 });
    await listTargets(db, id, { regions: ['eu'], limit: null });
    await listTargets(db, id, { regions: null, limit: 100 });
    await targetsByMissing(db, id, null);
    await waitingMembers(db, id, null);
  });

  it('is changed by such queries', async () => {
    const { rows } = await test.registry.query<{ server: string; databases: string[] }>(
      `SELECT server_id AS server, array_agg(database_id) AS databases FROM rollout_targets
        WHERE rollout_id = $1 GROUP BY server_id`,
      [id],
    );
    const [{ server, databases } = { server: '', databases: [] }] = rows;
    const lease = { resource: 'rollout:x', holder: randomUUID(), epoch: 1 };
    await test.registry.query(
      `INSERT INTO leases (resource, holder, epoch, expires_at) VALUES ($1, $2, $3, now() + interval '1 hour')`,
      [lease.resource, lease.holder, lease.epoch],
    );
    const claim = databases.slice(0, 16);
    const batch = { rolloutId: id, lease, results: [], announce: false };
    await targetStore.writeBatch(db, { ...batch, claim });
    await targetStore.orphanTargets(db, id, 2);
    await waitStore.releaseDue(db, id);
    await waitStore.deferClosed(
      db,
      id,
      databases
        .slice(0, 1_000)
        .map((databaseId) => ({ databaseId, reason: 'closed', notBefore: new Date(0) })),
    );
    await recallTargets(db, id, server);
    await retryTargets(db, id, { tenant: null, wave: null });
    await reopenWaves(db, id, false);
    await targetStore.skipPending(db, id, 'aborted');
  });
});

/** Runs each statement under EXPLAIN ANALYZE as well, rolled back, and tells of those whose plan handles too many rows. */
function explaining(
  registry: Queryable & { transaction: Transact },
  tell: (line: string) => void,
): Queryable {
  return {
    query: async (text: string | { text: string }, values?: unknown[]) => {
      const sql = typeof text === 'string' ? text : text.text;
      await registry
        .transaction(async (tx) => {
          const { rows } = await tx.query<{ 'QUERY PLAN': { Plan: PlanNode }[] }>(
            `EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) ${sql}`,
            values,
          );
          const handled = rowsHandled(rows[0]?.['QUERY PLAN'][0]?.Plan);
          if (handled > TARGETS * ROWS_PER_TARGET) tell(`${handled} rows: ${sql}`);
          throw new RolledBack();
        })
        .catch((error: unknown) => {
          if (!(error instanceof RolledBack)) throw error;
        });
      return registry.query(sql, values);
    },
  } as Queryable;
}

type Transact = (work: (tx: Queryable) => Promise<void>) => Promise<void>;

class RolledBack extends Error {}

interface PlanNode {
  'Actual Rows': number;
  'Actual Loops': number;
  'Rows Removed by Filter'?: number;
  'Rows Removed by Join Filter'?: number;
  Plans?: PlanNode[];
}

/** Rows that came out of each node or were thrown away by it, over all its loops. */
function rowsHandled(node: PlanNode | undefined): number {
  if (node === undefined) return 0;
  const removed = (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Join Filter'] ?? 0);
  const own = (node['Actual Rows'] + removed) * node['Actual Loops'];
  return (node.Plans ?? []).reduce((sum, child) => sum + rowsHandled(child), own);
}

const FLEET = `
  INSERT INTO regions (name, jurisdiction, domain) VALUES ('eu', 'eu', 'eu');
  INSERT INTO servers (id, name, region, provider, mode, state, host, port, tls, admin_user, admin_database,
                       max_databases, max_connections)
  SELECT gen_random_uuid(), 'eu-' || n, 'eu', 'postgres', 'shared', 'ready', 'nowhere', 1, 'disable', 'nobody',
         'postgres', 10000, 100 FROM generate_series(1, 5) n;
  INSERT INTO tenants (id, slug, name, tier, region, state)
  SELECT gen_random_uuid(), 'tenant' || n, 'tenant' || n, 'standard', 'eu', 'active'
    FROM generate_series(1, ${TARGETS}) n;
  INSERT INTO databases (id, tenant_id, server_id, name, owner_role, rw_role, login_a, login_b, state,
                         connection_limit)
  SELECT gen_random_uuid(), t.id, s.id, t.slug, t.slug, t.slug, t.slug, t.slug, 'ready', 10
    FROM (SELECT *, row_number() OVER () AS number FROM tenants) t
    JOIN (SELECT *, row_number() OVER () AS number FROM servers) s ON s.number = t.number % 5 + 1;
  INSERT INTO migrations (name, ordinal, checksum, up_sql, phase, transactional)
  VALUES ('001_head', 1, 'test', 'SELECT 1', 'expand', true);
  INSERT INTO releases (name, head, head_ordinal, checksum, published_by) VALUES ('r1', '001_head', 1, 'test', 'test')`;

/** Targets in all states; a fiftieth in the first wave. */
const ROLLOUT = (id: string, state: string): string => `
  INSERT INTO rollouts (id, release, state, spec, author, started_at, finished_at)
  VALUES ('${id}', 'r1', '${state}', '{"release":"r1","waves":[]}', 'test', now(),
          CASE WHEN '${state}' = 'succeeded' THEN now() END);
  INSERT INTO rollout_waves (rollout_id, ordinal, name, state, parallel, per_server, budget)
  VALUES ('${id}', 0, 'canary', 'passed', 16, 16, '{"failures":0}'), ('${id}', 1, 'all', 'running', 16, 16, '{"failures":0}');
  INSERT INTO rollout_targets (rollout_id, tenant_id, database_id, server_id, wave, ordinal, state, missing, tries,
                               started_at, finished_at, duration_ms, error, reason)
  SELECT '${id}', d.tenant_id, d.id, d.server_id, CASE WHEN d.n % 50 = 0 THEN 0 ELSE 1 END, d.n, became, '["001_head"]',
         CASE WHEN became IN ('pending', 'deferred') THEN 0 ELSE 1 END, now(), now(), 10,
         CASE WHEN became = 'failed' THEN '{"code":"migration_failed","message":"bad data"}'::jsonb END,
         CASE WHEN became IN ('deferred', 'skipped') THEN 'suspended' END
    FROM (SELECT *, row_number() OVER () AS n FROM databases) AS d,
         LATERAL (SELECT (ARRAY['pending', 'verified', 'verified', 'failed', 'unreachable', 'deferred', 'skipped',
                                'pending', 'pending', 'verified'])[d.n % 10 + 1] AS became) AS s`;
