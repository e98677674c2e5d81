import { randomUUID } from 'node:crypto';
import { RolloutSpec } from '../../../contract/rollout.ts';
import type { Registry } from '../../../control-plane/registry/registry.ts';
import {
  migrationChecksum,
  releaseChecksum,
  type Migration,
} from '../../../control-plane/releases/release.ts';
import { currentRelease, insertMigrations, insertRelease } from '../../../control-plane/releases/store.ts';
import { createRolloutDriver } from '../../../control-plane/rollouts/driver.ts';
import { planRollout, startRollout } from '../../../control-plane/rollouts/start.ts';
import type { ClaimedTarget, TargetResult } from '../../../control-plane/rollouts/target-store.ts';
import type { ServerAccess } from '../../../control-plane/servers/access.ts';
import type { Driver } from '../../../control-plane/operations/driver.ts';
import { releaseLease } from '../../../control-plane/operations/lease.ts';
import { lockMembership } from '../../../control-plane/tenants/store.ts';
import { takeLease } from '../../support/drive.ts';
import { freshRegistry, quietLogger } from '../../support/registry.ts';
import { WATCHERS } from './model-watchers.ts';
import { ASKER } from './rollout-fleet.ts';

const HEAD = '001_head';
const PARALLEL = 3;
const SERVERS = { eu: randomUUID(), us: randomUUID() };

/** A migration in flight, that the test ends. */
interface Flight {
  target: ClaimedTarget;
  end: (how: 'done' | 'cut') => void;
}

/**
 * The real driver and words on a real registry; only the tenants' databases are memory. A database knows whether
 * the release is applied, and which session is at work there: two at once are a breach.
 */
export interface ModelFleet {
  registry: Registry;
  /** Starts afresh, with these many tenants. */
  reset(tenants: number): Promise<void>;
  /** The rollout of this run. */
  id(): string;
  start(): Promise<void>;
  /** Lets a worker take up what is open, if none is at it. */
  pump(): Promise<void>;
  /** Ends one migration in flight. */
  finishOne(nth: number): Promise<void>;
  /** The driver's process dies; what it had in flight may still have had its effect. */
  crash(effect: boolean): Promise<void>;
  /** Lets everything in flight end, until no worker has anything to do. */
  settle(): Promise<void>;
  /** Makes the migration fail there from now on, or not. */
  spoil(nth: number, bad: boolean): void;
  mend(slug: string): void;
  addTenant(): Promise<void>;
  setTenantState(nth: number, state: 'active' | 'suspended' | 'offboarding'): Promise<void>;
  tenant(nth: number): string;
  /** One whose target has failed. */
  failing(nth: number): Promise<string | undefined>;
  /** What must never be, and was seen. */
  breaches(): Promise<string[]>;
  isApplied(databaseId: string): boolean;
  drop(): Promise<void>;
}

/** Databases in memory, and the one driver that works on them. */
interface World {
  registry: Registry;
  driver: Driver;
  applied: Set<string>;
  bad: Set<string>;
  flights: Map<string, Flight>;
  breaches: string[];
  tenants: { slug: string; databaseId: string }[];
  id: string;
  number: number;
  /** Rings when something has taken off. */
  ring: () => void;
  driving: { lease: Awaited<ReturnType<typeof takeLease>>; over: Promise<void> } | undefined;
}

export async function makeModelFleet(): Promise<ModelFleet> {
  const test = await freshRegistry();
  const { registry } = test;
  await prepare(registry);
  const world = makeWorld(registry);
  const nth = (index: number) => world.tenants[index % world.tenants.length];
  return {
    registry,
    reset: (tenants) => reset(world, tenants),
    id: () => world.id,
    start: async () => {
      world.id = await registry.transaction(async (tx) => {
        const id = await planRollout(tx, SPEC, ASKER);
        await startRollout(tx, id, ASKER);
        return id;
      });
    },
    pump: async () => {
      await pump(world);
      await inFlight(world);
    },
    finishOne: async (index) => {
      const flights = [...world.flights.values()];
      flights[index % Math.max(1, flights.length)]?.end('done');
    },
    crash: (effect) => crash(world, effect),
    settle: () => settle(world),
    spoil: (index, bad) => {
      const databaseId = nth(index)?.databaseId ?? '';
      if (bad) world.bad.add(databaseId);
      else world.bad.delete(databaseId);
    },
    mend: (slug) => {
      world.bad.delete(world.tenants.find((tenant) => tenant.slug === slug)?.databaseId ?? '');
    },
    addTenant: () => addTenant(world),
    setTenantState: (index, state) =>
      setTenantState(world, nth(index) ?? { slug: '', databaseId: '' }, state),
    tenant: (index) => nth(index)?.slug ?? '',
    failing: async (index) => {
      const { rows } = await registry.query<{ slug: string }>(
        `SELECT n.slug FROM rollout_targets t JOIN tenants n ON n.id = t.tenant_id
          WHERE t.rollout_id::text = $1 AND t.state = 'failed' ORDER BY t.ordinal`,
        [world.id],
      );
      return rows[index % Math.max(1, rows.length)]?.slug;
    },
    breaches: async () => {
      const { rows } = await registry.query<{ breach: string }>('SELECT breach FROM breaches');
      return [...world.breaches, ...rows.map((row) => row.breach)];
    },
    isApplied: (databaseId) => world.applied.has(databaseId),
    drop: () => test.drop(),
  };
}

function makeWorld(registry: Registry): World {
  const driver = createRolloutDriver({
    registry,
    servers: {} as ServerAccess,
    logger: quietLogger,
    migrate: (_run, target, signal) => migrate(world, target, signal),
    ask: async (_run, rollout, { databaseId }) => {
      if (world.applied.has(databaseId)) {
        return { event: 'verify', error: null, reason: null, schemaVersion: HEAD };
      }
      const aborted = rollout.state === 'aborted';
      return {
        event: aborted ? 'skip' : 'requeue',
        error: null,
        reason: aborted ? 'aborted' : null,
        schemaVersion: null,
      };
    },
  });
  const world: World = {
    ...{ registry, driver, applied: new Set(), bad: new Set(), flights: new Map(), breaches: [] },
    ...{ tenants: [], id: '', number: 0, ring: () => undefined, driving: undefined },
  };
  return world;
}

/** Waits in flight until somebody ends it. */
async function migrate(
  world: World,
  target: ClaimedTarget,
  signal: AbortSignal,
): Promise<TargetResult | undefined> {
  if (signal.aborted) return undefined;
  const older = world.flights.get(target.databaseId);
  if (older !== undefined && !target.ranBefore) world.breaches.push(`two sessions in ${target.slug}`);
  // The successor ends the dead owner's session first.
  older?.end('cut');
  const how = await new Promise<'done' | 'cut'>((resolve) => {
    const end = (outcome: 'done' | 'cut'): void => {
      if (world.flights.get(target.databaseId)?.end === end) world.flights.delete(target.databaseId);
      resolve(outcome);
    };
    world.flights.set(target.databaseId, { target, end });
    signal.addEventListener('abort', () => end('cut'), { once: true });
    world.ring();
  });
  if (how === 'cut') return undefined;
  if (world.bad.has(target.databaseId)) return result(target, 'failed');
  world.applied.add(target.databaseId);
  return result(target, 'verified');
}

function result(target: ClaimedTarget, state: 'verified' | 'failed'): TargetResult {
  return {
    ...{ databaseId: target.databaseId, serverId: target.serverId, durationMs: 1, state, reason: null },
    ...(state === 'verified' ? { reached: { schemaVersion: HEAD } } : {}),
    error: state === 'failed' ? { code: 'migration_failed', message: 'bad data' } : null,
  };
}

/** Lets a worker take the rollout if one should. */
async function pump(world: World): Promise<void> {
  const { registry, driver } = world;
  if (world.driving !== undefined || world.id === '') return;
  const { rowCount } = await registry.query(
    `SELECT 1 FROM (${driver.openIdsSql}) AS open(id) WHERE id = $1`,
    [world.id],
  );
  if (rowCount === 0) return;
  const lease = await takeLease(registry, `rollout:${world.id}`);
  const over = driver
    .drive(world.id, lease)
    .catch((error: unknown) => void world.breaches.push(`the driver threw: ${String(error)}`))
    .then(() => releaseLease(registry, lease.resource, lease.holder, lease.epoch))
    .finally(() => {
      if (world.driving?.lease === lease) world.driving = undefined;
    });
  world.driving = { lease, over };
}

/** Until something is in flight, or the driver is over. */
async function inFlight(world: World): Promise<void> {
  if (world.driving === undefined || world.flights.size > 0) return;
  const flight = new Promise<void>((resolve) => {
    world.ring = resolve;
  });
  await Promise.race([world.driving.over, flight]);
}

async function settle(world: World): Promise<void> {
  for (let turn = 0; turn < MAX_TURNS; turn += 1) {
    await pump(world);
    if (world.driving === undefined) return;
    await inFlight(world);
    for (const flight of [...world.flights.values()]) flight.end('done');
  }
  world.breaches.push('it never comes to rest');
}

async function reset(world: World, tenants: number): Promise<void> {
  await settle(world);
  for (const known of [world.applied, world.bad, world.flights]) known.clear();
  Object.assign(world, { breaches: [], tenants: [], id: '' });
  await world.registry.query(CLEAR);
  for (let count = 0; count < tenants; count += 1) await addTenant(world);
}

async function crash(world: World, effect: boolean): Promise<void> {
  const [flight] = world.flights.values();
  if (effect && flight !== undefined && !world.bad.has(flight.target.databaseId)) {
    world.applied.add(flight.target.databaseId);
  }
  const dying = world.driving;
  dying?.lease.abort.abort();
  await dying?.over;
}

async function addTenant(world: World): Promise<void> {
  world.number += 1;
  const slug = `tenant${world.number}`;
  const databaseId = randomUUID();
  const region = world.number % 2 === 0 ? 'eu' : 'us';
  world.tenants.push({ slug, databaseId });
  await world.registry.transaction(async (tx) => {
    await lockMembership(tx, 'shared');
    // Born at the release that the fleet is at.
    const current = await currentRelease(tx);
    await tx.query(
      `WITH tenant AS (INSERT INTO tenants (id, slug, name, tier, region, state)
                       VALUES ($1, $2, $2, 'standard', $3, 'active') RETURNING id)
       INSERT INTO databases (id, tenant_id, server_id, name, owner_role, rw_role, login_a, login_b, state,
                              connection_limit, schema_version)
       SELECT $4, id, $5, $2, $2, $2, $2, $2, 'ready', 10, $6 FROM tenant`,
      [randomUUID(), slug, region, databaseId, SERVERS[region], current === undefined ? null : HEAD],
    );
    if (current !== undefined) world.applied.add(databaseId);
  });
}

async function setTenantState(
  world: World,
  { slug, databaseId }: { slug: string; databaseId: string },
  state: 'active' | 'suspended' | 'offboarding',
): Promise<void> {
  await world.registry.transaction(async (tx) => {
    await lockMembership(tx, 'shared');
    const from = state === 'active' ? ['suspended'] : ['active', 'suspended'];
    const moved = await tx.query('UPDATE tenants SET state = $2 WHERE slug = $1 AND state = ANY ($3)', [
      ...[slug, state, from],
    ]);
    if (moved.rowCount === 0 || state !== 'active' || (await currentRelease(tx)) === undefined) return;
    // Caught up before it gets traffic.
    world.applied.add(databaseId);
    await tx.query('UPDATE databases SET schema_version = $2 WHERE id = $1', [databaseId, HEAD]);
  });
}

/** A run has some dozens of targets; far more rounds than that are a loop. */
const MAX_TURNS = 200;

const SPEC = RolloutSpec.parse({
  release: 'r1',
  budget: { failures: 3 },
  waves: [
    { name: 'canary', count: 1, parallel: PARALLEL },
    // Several may fail at once: it stays over its budget when one of them is repaired.
    { name: 'eu', match: { region: 'eu' }, dependsOn: ['canary'], parallel: PARALLEL },
    {
      name: 'us',
      match: { region: 'us' },
      dependsOn: ['canary'],
      parallel: PARALLEL,
      perServer: 2,
      budget: { failures: 1 },
      bake: '1h',
    },
    { name: 'rest', dependsOn: ['eu', 'us'], parallel: PARALLEL },
  ],
});

async function prepare(registry: Registry): Promise<void> {
  for (const [region, id] of Object.entries(SERVERS)) {
    await registry.query('INSERT INTO regions (name, jurisdiction, domain) VALUES ($1, $1, $1)', [region]);
    await registry.query(
      `INSERT INTO servers (id, name, region, provider, mode, state, host, port, tls, admin_user, admin_database,
                            max_databases, max_connections)
       VALUES ($1, $2, $2, 'postgres', 'shared', 'ready', 'nowhere', 1, 'disable', 'nobody', 'postgres', 1, 1)`,
      [id, region],
    );
  }
  await registry.transaction(async (tx) => {
    await insertMigrations(tx, [migration(1, HEAD)]);
    await insertRelease(tx, {
      name: 'r1',
      head: HEAD,
      headOrdinal: 1,
      checksum: releaseChecksum([migration(1, HEAD)]),
      publishedBy: 'test',
    });
  });
  await registry.query(WATCHERS);
}

function migration(ordinal: number, name: string): Migration {
  const upSql = 'SELECT 1';
  return {
    ...{ name, ordinal, upSql, downSql: null, phase: 'expand', transactional: true },
    checksum: migrationChecksum(upSql, null),
    ...{ lockTimeoutMs: null, statementTimeoutMs: null, statements: null },
  };
}

/** Rows of the run before; what hangs on rollouts and tenants goes with them. */
const CLEAR = `
  TRUNCATE rollouts, tenants CASCADE;
  DELETE FROM breaches; DELETE FROM route_changes; DELETE FROM leases; DELETE FROM graphile_worker._private_jobs;
  DELETE FROM settings WHERE key = 'current_release'`;
