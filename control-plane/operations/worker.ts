import { randomUUID } from 'node:crypto';
import { EventEmitter } from 'node:events';
import { setTimeout as wait } from 'node:timers/promises';
import { Logger as QueueLogger, makeWorkerUtils, run, type Runner, type WorkerEvents } from 'graphile-worker';
import type pg from 'pg';
import { z } from 'zod';
import type { Logger } from '../../platform/logging.ts';
import { clientConfig, createPool, parseAddress } from '../../platform/pg.ts';
import { sleep } from '../../platform/wait.ts';
import type { Registry } from '../registry/registry.ts';
import { DRIVE_TASK, wake, type Driver } from './driver.ts';
import {
  acquireLease,
  fencedTransaction,
  LEASE_LIFE_MS,
  LeaseLostError,
  releaseLease,
  releaseStrays,
  renewLeases,
  type Lease,
} from './lease.ts';
import { startPulse } from './pulse.ts';
import { forgetDeadWorkers, openWithoutOwner, releaseJobs } from './worker-store.ts';

/**
 * One worker of the fleet. It takes jobs from the queue, gets the lease of the resource that the job names,
 * and lets the resource's driver carry it. Beside that it proves that it lives (an advisory lock on a
 * connection of its own), renews its leases, and sweeps: whatever is open and owned by nobody is woken.
 */
export interface Worker {
  id: string;
  /** Finishes or hands over what is in hand within 10 s, then gives all leases back. */
  stop(): Promise<void>;
}

/** Work that recurs: safe to run twice and to miss once. */
export interface Schedule {
  name: string;
  /** Five fields of cron, UTC. */
  cron: string;
  run: () => Promise<void>;
}

export interface WorkerOptions {
  registry: Registry;
  drivers: Driver[];
  schedules?: Schedule[];
  logger: Logger;
  /** Resources carried at once. */
  concurrency?: number;
}

/** Eight operations at once keep two cores and one PostgreSQL server busy without queueing for connections. */
const CONCURRENCY = 8;
/** The sweeper's pace bounds takeover: a dead worker is noticed within one round. Its queries cost 1 ms. */
const SWEEP_MS = 1_000;
/**
 * 30 s: graphile-worker ends the process when it cannot write that a job is done. A registry whose disk is busy may
 * leave a connection waiting for longer than the usual five seconds.
 */
const QUEUE_CONNECT_MS = 30_000;
/** Three renewals in a lease's life: two may fail. */
const RENEW_MS = LEASE_LIFE_MS / 3;
/** Graceful stop: after this the signals turn hard and the leases are given up. */
const STOP_MS = 10_000;

const Payload = z.object({ kind: z.string(), id: z.string() });

/** Creates or upgrades the queue's own schema (`graphile_worker`). */
export async function migrateQueue(registry: Registry): Promise<void> {
  const utils = await makeWorkerUtils({ connectionString: registry.url, logger: queueLogger(undefined) });
  try {
    await utils.migrate();
  } finally {
    await utils.release();
  }
}

/** By resource: what this process holds, or (without an epoch) is just taking. */
type Held = Map<string, { epoch: number | undefined; abort: AbortController }>;

/** Takes work and carries it on until it is stopped. Any number of workers share one registry. */
export async function startWorker(options: WorkerOptions): Promise<Worker> {
  const { registry, logger } = options;
  const id = randomUUID();
  const held: Held = new Map();
  const ended = new AbortController();
  const stopping = new AbortController();
  const queueIds: string[] = [];

  const pulse = await startPulse(registry, logger, id, queueIds);
  const queuePool = createPool(
    {
      ...clientConfig(parseAddress(registry.url), {
        applicationName: 'fleet-queue',
        connectTimeoutMs: QUEUE_CONNECT_MS,
      }),
      max: (options.concurrency ?? CONCURRENCY) + 3,
    },
    (error) => logger.warn('a queue connection was lost', { error }),
  );
  const runner = await startQueue(options, queuePool, queueIds, (kind, resourceId) =>
    carry({ ...options, id, held, stopping: stopping.signal }, kind, resourceId),
  );
  await pulse.announce();
  const background = [
    every(RENEW_MS, ended.signal, heartbeat(registry, id, held, logger)),
    every(SWEEP_MS, stopping.signal, () => sweep(options, id, held)),
  ];
  return {
    id,
    stop: async () => {
      stopping.abort();
      const hard = setTimeout(() => held.forEach((lease) => lease.abort.abort()), STOP_MS);
      await runner.stop();
      clearTimeout(hard);
      ended.abort();
      await Promise.all(background);
      await queuePool.end();
      await pulse.stop();
    },
  };
}

async function startQueue(
  options: WorkerOptions,
  pgPool: pg.Pool,
  queueIds: string[],
  drive: (kind: string, id: string) => Promise<void>,
): Promise<Runner> {
  const events: WorkerEvents = new EventEmitter();
  // Jobs are locked in the pool's name; a single worker's name is used where local queues are off.
  events.on('pool:create', ({ workerPool }) => queueIds.push(workerPool.id));
  events.on('worker:create', ({ worker }) => queueIds.push(worker.workerId));
  return run({
    pgPool,
    events,
    concurrency: options.concurrency ?? CONCURRENCY,
    noHandleSignals: true,
    // LISTEN wakes at once; polling only finds jobs whose time has come (bakes).
    pollInterval: 1_000,
    logger: queueLogger(options.logger),
    crontab: (options.schedules ?? []).map(({ cron, name }) => `${cron} ${name}`).join('\n'),
    taskList: {
      ...Object.fromEntries((options.schedules ?? []).map(({ name, run: work }) => [name, work])),
      [DRIVE_TASK]: async (payload) => {
        const { kind, id } = Payload.parse(payload);
        await drive(kind, id);
      },
    },
  });
}

interface CarryOptions extends WorkerOptions {
  id: string;
  held: Held;
  stopping: AbortSignal;
}

/** Never throws: what is still open afterwards is found by the sweeper, which is the only retry there is. */
async function carry(options: CarryOptions, kind: string, resourceId: string): Promise<void> {
  const { registry, logger, id: holder, held } = options;
  const driver = options.drivers.find((candidate) => candidate.kind === kind);
  if (driver === undefined) {
    logger.error('a job names an unknown kind of work', { kind });
    return;
  }
  const resource = `${kind}:${resourceId}`;
  // At most once in this process: the lease tells workers apart, not the jobs of one.
  if (options.stopping.aborted || held.has(resource)) return;
  const abort = new AbortController();
  held.set(resource, { epoch: undefined, abort });
  try {
    const epoch = await acquireLease(registry, resource, holder);
    // Somebody else is at it; should that one stop or die, a sweeper sees the resource without an owner.
    if (epoch === undefined) return;
    held.set(resource, { epoch, abort });
    await driveUnder(options, driver, { resource, holder, epoch }, abort.signal);
  } catch (error) {
    if (error instanceof LeaseLostError) logger.info('another worker took over', { resource });
    else logger.error('work was interrupted and will be taken up again', { resource, error });
  } finally {
    held.delete(resource);
  }
}

/** A release that fails is made good by the next sweep, which finds the lease in our name and not in `held`. */
async function driveUnder(
  options: CarryOptions,
  driver: Driver,
  fence: Pick<Lease, 'resource' | 'holder' | 'epoch'>,
  signal: AbortSignal,
): Promise<void> {
  const { registry } = options;
  try {
    await driver.drive(fence.resource.slice(driver.kind.length + 1), {
      ...fence,
      signal,
      stopping: AbortSignal.any([options.stopping, signal]),
      transaction: (work) => fencedTransaction(registry, fence, work),
    });
  } finally {
    await releaseLease(registry, fence.resource, fence.holder, fence.epoch).catch((error: unknown) => {
      options.logger.warn('a lease could not be given back yet', { resource: fence.resource, error });
    });
  }
}

/**
 * Renews the leases; those that are no longer ours are aborted. After a lease's life without an answer all
 * are: a registry that hangs must not leave an owner at work beside its successor.
 */
function heartbeat(registry: Registry, holder: string, held: Held, logger: Logger): () => Promise<void> {
  let lastSuccess = performance.now();
  return async () => {
    const before = [...held].flatMap(([resource, { epoch }]) =>
      epoch === undefined ? [] : [{ resource, epoch }],
    );
    try {
      const ours = await Promise.race([
        renewLeases(registry, holder, before),
        wait(RENEW_MS, undefined, { ref: false }),
      ]);
      if (ours === undefined) throw new Error(`no answer within ${RENEW_MS} ms`);
      lastSuccess = performance.now();
      for (const { resource } of before) if (!ours.has(resource)) held.get(resource)?.abort.abort();
    } catch (error) {
      logger.warn('leases could not be renewed', { error });
      if (performance.now() - lastSuccess >= LEASE_LIFE_MS - RENEW_MS)
        held.forEach((lease) => lease.abort.abort());
    }
  };
}

/** Wakes what is open and owned by nobody, and releases the queue's jobs of workers that died. */
async function sweep(options: WorkerOptions, workerId: string, held: Held): Promise<void> {
  const { registry, drivers, logger } = options;
  try {
    const dead = await forgetDeadWorkers(registry, workerId);
    if (dead.queueIds.length > 0) await releaseJobs(registry, dead.queueIds);
    if (dead.workers > 0) logger.warn('a worker died; its work is taken over', { workers: dead.workers });
    await releaseStrays(registry, workerId, (resource) => held.has(resource));
    for (const driver of drivers) {
      for (const id of await openWithoutOwner(registry, driver)) await wake(registry, driver.kind, id);
    }
  } catch (error) {
    logger.warn('the sweep failed', { error });
  }
}

/** Runs `work` again and again until `signal`; never twice at once. */
async function every(intervalMs: number, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  while (!signal.aborted) {
    await work();
    await sleep(intervalMs, signal);
  }
}

/** Of graphile-worker's log levels. */
const NOTEWORTHY = new Set<string>(['error', 'warning']);

/** graphile-worker's messages as our JSON lines; its routine chatter is debug. */
function queueLogger(logger: Logger | undefined): QueueLogger {
  return new QueueLogger(() => (level, message) => {
    if (NOTEWORTHY.has(level)) logger?.warn(message, { source: 'graphile-worker' });
    else logger?.debug(message, { source: 'graphile-worker' });
  });
}
