import { randomUUID } from 'node:crypto';
import { applyMigrations, type ApplyRequest } from '../../control-plane/releases/apply.ts';
import { BackfillStoppedError, type BackfillCount } from '../../control-plane/releases/backfill-run.ts';
import type { ApplyTask } from '../integration/releases/apply-child.ts';
import {
  checkOrders,
  fillOrders,
  keepAdding,
  makeOrders,
  rowsDone,
} from '../integration/releases/backfill-orders.ts';
import { makeTestServer, read, type TenantDatabase } from '../integration/releases/tenant-database.ts';
import { startChild } from '../support/child.ts';
import { until } from '../support/until.ts';
import { note } from './report.ts';

/** `ROWS` in the environment makes it smaller. */
const ROWS = Number(process.env.ROWS ?? 10_000_000);
/** Kills come at each twentieth of the rows from the first on. */
const KILLS = 5;
const KILL_SHARE = 0.05;
/** Promise: from a tenth of the work on, the time left is told as well as this. */
const ETA_BUDGET = 0.3;
/** Milliseconds that the injected lag lasts. */
const LAG_MS = 5_000;
/** Time for the largest share between two kills, in milliseconds. */
const PATIENCE_MS = 600_000;

/**
 * A backfill while rows are added: its worker is killed five times, it is stopped once and goes on, and a lag of the
 * replicas holds it. Fails when a row is wrong, or was met twice, or a transaction lasted two seconds.
 */
export async function benchBackfill(): Promise<void> {
  const server = await makeTestServer();
  try {
    const database = await server.makeDatabase();
    note(`backfill: making ${ROWS.toLocaleString('en')} rows`);
    await makeOrders(database, ROWS);
    const adding = keepAdding(database, ROWS);
    const startedAt = performance.now();
    const epochs = await killOften(database);
    await stopOnce(database, epochs);
    const { counts, endedAt } = await finish(database, epochs);
    const added = await adding.stop();
    await checkOrders(database, ROWS);
    const seconds = (performance.now() - startedAt) / 1_000;
    note(
      `backfill: ${KILLS} kills, a stop and a lag; ${added * 2} rows added; every row right, none met twice`,
    );
    note(`backfill: ${Math.round(ROWS / seconds)} rows a second over all, ${seconds.toFixed(0)} s`);
    await reportChunks(database);
    reportEta(counts, endedAt);
  } finally {
    await server.drop();
  }
}

type MakeRequest = () => ApplyRequest;

async function killOften(database: TenantDatabase): Promise<MakeRequest> {
  const rollout = randomUUID();
  const migrations = await fillOrders(1_000);
  let epoch = 0;
  const next = (): ApplyRequest => {
    epoch += 1;
    const applicationName = `fleet:${rollout}:${epoch}`;
    return {
      ownerRole: database.ownerRole,
      migrations,
      release: 'r',
      applicationName,
      endOlderSessions: true,
    };
  };
  for (let kill = 1; kill <= KILLS; kill += 1) {
    const task: ApplyTask = { address: database.address, request: next() };
    const child = startChild('test/integration/releases/apply-child.ts', [], {
      APPLY_TASK: JSON.stringify(task),
    });
    const wanted = ROWS * KILL_SHARE * kill;
    await until('the next kill is due', async () => (await rowsDone(database)) >= wanted, PATIENCE_MS);
    await child.kill('SIGKILL');
  }
  return next;
}

async function stopOnce(database: TenantDatabase, next: MakeRequest): Promise<void> {
  const from = await rowsDone(database);
  let done = from;
  const onProgress = (count: BackfillCount): void => {
    done = count.rowsDone;
  };
  const isStopping = (): boolean => done >= from + ROWS * KILL_SHARE;
  await applyMigrations(database.address, { ...next(), backfill: { onProgress, isStopping } }).catch(
    (error: unknown) => {
      if (!(error instanceof BackfillStoppedError)) throw error;
    },
  );
}

interface Told extends BackfillCount {
  at: number;
}

/** With a lag in the middle, of which the next chunk has to know. */
async function finish(
  database: TenantDatabase,
  next: MakeRequest,
): Promise<{ counts: Told[]; endedAt: number }> {
  const counts: Told[] = [];
  let lagUntil = Infinity;
  let chunksUnderLag = 0;
  const throttle = () => {
    const last = counts.at(-1);
    if (lagUntil === Infinity && (last?.rowsDone ?? 0) > ROWS / 2) lagUntil = performance.now() + LAG_MS;
    const late = lagUntil !== Infinity && performance.now() < lagUntil;
    return Promise.resolve(late ? { reason: 'a replica is 5 s behind', againMs: 500 } : null);
  };
  const onProgress = (count: BackfillCount): void => {
    if (count.reason === null && performance.now() < lagUntil && lagUntil !== Infinity) chunksUnderLag += 1;
    counts.push({ ...count, at: performance.now() });
  };
  await applyMigrations(database.address, { ...next(), backfill: { throttle, onProgress } });
  note(`backfill: held for ${counts.at(-1)?.heldMs ?? 0} ms, ${chunksUnderLag} chunks under lag`);
  return { counts, endedAt: counts.at(-1)?.at ?? 0 };
}

async function reportChunks({ superuser }: TenantDatabase): Promise<void> {
  const [chunks] = await read<Record<string, number>>(
    superuser,
    `SELECT count(*)::int AS n, max(seconds) AS most, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS median,
            max(rows)::int AS rows FROM chunks WHERE rows > 0`,
  );
  const { n = 0, most = 0, median = 0, rows = 0 } = chunks ?? {};
  const [longest, usual] = [most * 1_000, median * 1_000].map((ms) => `${Math.round(ms)} ms`);
  note(`backfill: ${n} chunks of up to ${rows} rows; transactions took ${usual}, the longest ${longest}`);
}

/** Compares what was said from a tenth on with what came to be, without the time held. */
function reportEta(counts: Told[], endedAt: number): void {
  const [first, last] = [counts[0], counts.at(-1)];
  if (first === undefined || last === undefined) return;
  const judged = counts.filter(
    ({ rowsDone: done, at }) => done > first.rowsDone + ROWS / 10 && at < endedAt - 10_000,
  );
  const errors = judged.flatMap(({ at, heldMs, etaSeconds }) => {
    const left = (endedAt - at - (last.heldMs - heldMs)) / 1_000;
    return etaSeconds === null ? [] : [Math.abs(etaSeconds - left) / left];
  });
  const good = errors.filter((error) => error <= ETA_BUDGET).length;
  const share =
    errors.length === 0 ? 'too short a run to tell' : `${Math.round((good / errors.length) * 100)} %`;
  note(`backfill: time left was told within ±30 % from a tenth to ten seconds before the end: ${share}`);
}
