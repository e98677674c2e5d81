import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { applyMigrations, type ApplyRequest } from '../../control-plane/releases/apply.ts';
import type { BackfillCount } from '../../control-plane/releases/backfill-run.ts';
import type { ApplyTask } from '../integration/releases/apply-child.ts';
import {
  checkOrders,
  fillOrders,
  keepAdding,
  makeOrders,
  rowsDone,
} from '../integration/releases/backfill-orders.ts';
import {
  makeTestServer,
  type TenantDatabase,
  type TestServer,
} from '../integration/releases/tenant-database.ts';
import { sized } from '../support/full-size.ts';
import { startChild } from '../support/child.ts';
import { until } from '../support/until.ts';

/** `npm run bench -- backfill` does the same with ten million. */
const ROWS = sized(20_000, 1_000_000);
const KILLS = 5;
/** Small chunks, so that each kill meets another one of them. */
const LIMITS = { targetMs: 500, minRows: 10, maxRows: sized(50, 5_000) };

describe('14: a backfill whose worker is killed five times while rows are added', function () {
  this.timeout(sized(60_000, 600_000));
  let server: TestServer;
  let database: TenantDatabase;

  before(async () => {
    server = await makeTestServer();
    database = await server.makeDatabase();
  });
  after(() => server.drop());

  it('loses no row, meets none twice, holds under lag, and ends', async () => {
    await makeOrders(database, ROWS);
    const rollout = randomUUID();
    const request: ApplyRequest = {
      ownerRole: database.ownerRole,
      migrations: await fillOrders(100),
      release: 'r',
      applicationName: '',
      endOlderSessions: true,
      backfill: { limits: LIMITS },
    };
    const adding = keepAdding(database, ROWS);
    for (let epoch = 1; epoch <= KILLS; epoch += 1) {
      const task: ApplyTask = {
        address: database.address,
        request: { ...request, applicationName: `fleet:${rollout}:${epoch}` },
      };
      const done = await rowsDone(database);
      const child = startChild('test/integration/releases/apply-child.ts', [], {
        APPLY_TASK: JSON.stringify(task),
      });
      await until('it has gone on', async () => (await rowsDone(database)) > done);
      await child.kill('SIGKILL');
    }
    const before = await rowsDone(database);
    assert.ok(before > 0 && before < ROWS, `${before} rows are done after the kills`);

    const counts: BackfillCount[] = [];
    let asked = 0;
    const throttle = () => {
      asked += 1;
      return Promise.resolve(
        asked > 3 && asked <= 6 ? { reason: 'a replica is 5 s behind', againMs: 20 } : null,
      );
    };
    await applyMigrations(database.address, {
      ...request,
      applicationName: `fleet:${rollout}:${KILLS + 1}`,
      backfill: { limits: LIMITS, throttle, onProgress: (count) => counts.push(count) },
    });
    assert.ok((await adding.stop()) > 0);
    await checkOrders(database, ROWS);
    const held = counts.filter(({ reason }) => reason !== null);
    assert.ok(held.length > 0 && held.every(({ rowsDone: done }) => done === held[0]?.rowsDone));
    assert.ok((counts[0]?.rowsDone ?? 0) >= before, 'it goes on where it stood');
  });
});
