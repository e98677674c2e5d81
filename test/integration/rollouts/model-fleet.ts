import { randomUUID } from 'node:crypto';
import type { Registry } from '../../../control-plane/registry/registry.ts';
import { currentRelease } from '../../../control-plane/releases/store.ts';
import { planRollout, startRollout, type StartRequest } from '../../../control-plane/rollouts/verbs/start.ts';
import { undoRollout } from '../../../control-plane/rollouts/verbs/undo.ts';
import { lockMembership } from '../../../control-plane/tenants/store.ts';
import { freshRegistry } from '../../support/registry.ts';
import {
  catchUp,
  makeDatabase,
  MIGRATIONS,
  takeSteps,
  versionOf,
  type ModelDatabase,
} from './model-database.ts';
import { CLEAR, prepare, SERVERS, SPEC } from './model-registry.ts';
import { crash, cutOff, databaseOf, inFlight, makeWorld, pump, settle, type World } from './model-world.ts';
import { ASKER } from './rollout-fleet.ts';

/** The one that is active sees that something has changed. */
const WAKE = `UPDATE rollouts SET wake_at = NULL WHERE state IN ('running', 'paused')`;

/**
 * The real driver and words on a real registry; only the tenants' databases are memory. A database knows what is
 * applied, and which session is at work there: two at once are a breach.
 */
export interface ModelFleet {
  registry: Registry;
  /** Starts afresh, with these many tenants. */
  reset(tenants: number): Promise<void>;
  /** The rollout of this run that was made last, or some before it. */
  id(before?: number): string;
  /** Plans and starts one more. @throws FleetError where that is refused */
  start(more?: Partial<StartRequest>): Promise<void>;
  /** @throws FleetError where that is refused */
  undo(id: string): Promise<void>;
  /** Lets a worker take up what is open, if none is at it. */
  pump(): Promise<void>;
  /** Ends one migration in flight. */
  finishOne(nth: number): Promise<void>;
  /** The driver's process dies; what it had in flight may still have had some of its effect. */
  crash(luck: number): Promise<void>;
  /** The driver's process is cut off from the registry alone: its sessions live on. */
  cutOff(): Promise<void>;
  /** A session that lives on does one more thing. */
  haunt(): void;
  /** Lets everything in flight end, until no worker has anything to do. */
  settle(): Promise<void>;
  /** Makes a migration fail there from now on, or none. */
  spoil(nth: number, bad: boolean): void;
  mend(slug: string): void;
  /** A server does not answer, or answers again and is tried. */
  breakServer(nth: number): void;
  mendServer(nth: number): Promise<void>;
  /** Servers that are away have been for so long that they are given up. */
  giveUpServers(): Promise<void>;
  addTenant(): Promise<void>;
  setTenantState(nth: number, state: 'active' | 'suspended' | 'offboarding'): Promise<void>;
  tenant(nth: number): string;
  /** One whose target has failed. */
  failing(nth: number): Promise<string | undefined>;
  /** What must never be, and was seen. */
  breaches(): Promise<string[]>;
  database(databaseId: string): ModelDatabase;
  /** Whether nobody could ask the database since something may have been done to it. */
  isLost(databaseId: string): boolean;
  drop(): Promise<void>;
}

export async function makeModelFleet(): Promise<ModelFleet> {
  const test = await freshRegistry();
  const { registry } = test;
  await prepare(registry);
  const world = makeWorld(registry);
  const nth = (index: number) => world.tenants[index % world.tenants.length];
  const server = (index: number) => (index % 2 === 0 ? SERVERS.eu : SERVERS.us);
  return {
    ...{ registry, reset: (tenants) => reset(world, tenants) },
    id: (before = 0) => world.ids.at(-1 - (before % Math.max(1, world.ids.length))) ?? '',
    start: (more) => start(world, more),
    undo: async (id) => {
      const undo = await registry.transaction((tx) => undoRollout(tx, id, ASKER));
      if (!world.ids.includes(undo)) world.ids.push(undo);
    },
    pump: async () => {
      await pump(world);
      await inFlight(world);
    },
    finishOne: async (index) => {
      const flights = [...world.flights.values()];
      flights[index % Math.max(1, flights.length)]?.end('done', index);
    },
    crash: (luck) => crash(world, luck),
    cutOff: () => cutOff(world),
    haunt: () => {
      for (const ghost of [...world.ghosts.values()].slice(0, 1)) {
        takeSteps(databaseOf(world, ghost.databaseId), ghost.run, ghost.databaseId, 1);
      }
    },
    settle: () => settle(world),
    spoil: (index, bad) => {
      const database = databaseOf(world, nth(index)?.databaseId ?? '');
      database.bad = bad ? MIGRATIONS[index % MIGRATIONS.length]?.name : undefined;
    },
    mend: (slug) => {
      const tenant = world.tenants.find((each) => each.slug === slug);
      databaseOf(world, tenant?.databaseId ?? '').bad = undefined;
    },
    breakServer: (index) => void world.down.add(server(index)),
    mendServer: async (index) => {
      world.down.delete(server(index));
      await registry.query('UPDATE rollout_outages SET next_try_at = now() WHERE server_id = $1', [
        server(index),
      ]);
      await registry.query(WAKE);
    },
    giveUpServers: async () => {
      await registry.query(`UPDATE rollout_outages SET since = now() - interval '2 days'`);
      await registry.query(WAKE);
    },
    addTenant: () => addTenant(world),
    setTenantState: (index, state) =>
      setTenantState(world, nth(index) ?? { slug: '', databaseId: '' }, state),
    tenant: (index) => nth(index)?.slug ?? '',
    failing: (index) => failing(world, index),
    breaches: async () => {
      const { rows } = await registry.query<{ breach: string }>('SELECT breach FROM breaches');
      return [...world.breaches, ...rows.map((row) => row.breach)];
    },
    database: (databaseId) => databaseOf(world, databaseId),
    isLost: (databaseId) => world.lost.has(databaseId) || world.ghosts.has(databaseId),
    drop: () => test.drop(),
  };
}

async function failing({ registry, ids }: World, index: number): Promise<string | undefined> {
  const { rows } = await registry.query<{ slug: string }>(
    `SELECT n.slug FROM rollout_targets t JOIN tenants n ON n.id = t.tenant_id
      WHERE t.rollout_id::text = $1 AND t.state = 'failed' ORDER BY t.ordinal`,
    [ids.at(-1) ?? ''],
  );
  return rows[index % Math.max(1, rows.length)]?.slug;
}

/** Plans and starts in one transaction: what is refused leaves no plan. */
async function start(world: World, more: Partial<StartRequest> = {}): Promise<void> {
  const id = await world.registry.transaction(async (tx) => {
    const planned = await planRollout(tx, SPEC, ASKER);
    await startRollout(tx, planned, { ...ASKER, ...more });
    return planned;
  });
  world.ids.push(id);
}

async function reset(world: World, tenants: number): Promise<void> {
  await settle(world);
  for (const known of [world.databases, world.down, world.flights, world.ghosts, world.lost]) known.clear();
  Object.assign(world, { breaches: [], tenants: [], ids: [] });
  await world.registry.query(CLEAR);
  for (let count = 0; count < tenants; count += 1) await addTenant(world);
}

async function addTenant(world: World): Promise<void> {
  world.number += 1;
  const slug = `tenant${world.number}`;
  const databaseId = randomUUID();
  const region = world.number % 2 === 0 ? 'eu' : 'us';
  await world.registry.transaction(async (tx) => {
    await lockMembership(tx, 'shared');
    // Born at the release that the fleet is at.
    const database = makeDatabase((await currentRelease(tx))?.headOrdinal ?? 0);
    await tx.query(
      `WITH tenant AS (INSERT INTO tenants (id, slug, name, tier, region, state)
                       VALUES ($1, $2, $2, 'standard', $3, 'active') RETURNING id)
       INSERT INTO databases (id, tenant_id, server_id, name, owner_role, rw_role, login_a, login_b, state,
                              connection_limit, schema_version)
       SELECT $4, id, $5, $2, $2, $2, $2, $2, 'ready', 10, $6 FROM tenant`,
      [randomUUID(), slug, region, databaseId, SERVERS[region], versionOf(database)],
    );
    world.databases.set(databaseId, database);
  });
  world.tenants.push({ slug, databaseId });
}

async function setTenantState(
  world: World,
  { slug, databaseId }: { slug: string; databaseId: string },
  state: 'active' | 'suspended' | 'offboarding',
): Promise<void> {
  await world.registry.transaction(async (tx) => {
    await lockMembership(tx, 'shared');
    // Coming back takes the lock of migrations.
    if (state === 'active' && world.flights.has(databaseId)) return;
    const from = state === 'active' ? ['suspended'] : ['active', 'suspended'];
    const moved = await tx.query('UPDATE tenants SET state = $2 WHERE slug = $1 AND state = ANY ($3)', [
      ...[slug, state, from],
    ]);
    if (moved.rowCount === 0 || state !== 'active' || (await currentRelease(tx)) === undefined) return;
    // Caught up before it gets traffic.
    const database = databaseOf(world, databaseId);
    world.ghosts.delete(databaseId);
    world.lost.delete(databaseId);
    catchUp(database);
    await tx.query('UPDATE databases SET schema_version = $2 WHERE id = $1', [
      databaseId,
      versionOf(database),
    ]);
  });
}
