import { randomUUID } from 'node:crypto';
import type { Rollout } from '../../../contract/rollout.ts';
import { RolloutSpec } from '../../../contract/rollout.ts';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import type { Registry } from '../../../control-plane/registry/registry.ts';
import {
  migrationChecksum,
  releaseChecksum,
  type Migration,
} from '../../../control-plane/releases/release.ts';
import { insertMigrations, insertRelease } from '../../../control-plane/releases/store.ts';
import type { GuardSchema } from '../../../control-plane/drift/guard.ts';
import { createRolloutDriver } from '../../../control-plane/rollouts/engine/driver.ts';
import { planRollout, startRollout } from '../../../control-plane/rollouts/verbs/start.ts';
import { readRollout } from '../../../control-plane/rollouts/view/view.ts';
import type { ServerAccess } from '../../../control-plane/servers/access.ts';
import { withClient, type PgAddress, type PgClient } from '../../../platform/pg.ts';
import { driveOnce } from '../../support/drive.ts';
import { freshRegistry, quietLogger } from '../../support/registry.ts';
import { makeTestServer, type TenantDatabase } from '../releases/tenant-database.ts';

/** Who speaks in these tests. */
export const ASKER = { caller: SYSTEM_CALLER, requestId: 'test' };
/** Migrations take this advisory lock, so that a test that holds it in a tenant's database stops that one. */
const GATE = 4242;

/** Long enough for one more try of a server that is down, short enough not to be waited for. */
const OUTAGE = { firstMs: 20, maxMs: 40, giveUpMs: 60 };

const RETRY = { retries: 2, firstDelayMs: 5, maxDelayMs: 20 };

export interface Gate {
  open(): Promise<void>;
}

/** Tenants with databases of their own on one real server, that the registry takes for one server a region. */
export interface RolloutFleet {
  registry: Registry;
  driver: ReturnType<typeof createRolloutDriver>;
  servers: ServerAccess;
  /** Servers that do not answer. */
  down: Set<string>;
  /** How often each server's address was asked for. */
  visits: number;
  database(slug: string): TenantDatabase;
  addTenant(slug: string, region?: string, state?: string): Promise<void>;
  setTenantState(slug: string, state: string): Promise<void>;
  /** Publishes the release `name`, whose last migration waits at the gate. */
  publish(name: string): Promise<void>;
  /** Plans and starts a rollout of these waves, or of more of a spec. */
  start(waves?: object[], more?: object): Promise<string>;
  drive(id: string): Promise<void>;
  read(id: string): Promise<Rollout>;
  /** The state of each target by tenant. */
  states(id: string): Promise<Record<string, string>>;
  /** Holds the tenant's migration until it is opened. */
  close(slug: string): Promise<Gate>;
  /** Makes the release's migration fail there, until `mend`. */
  spoil(slug: string): Promise<void>;
  mend(slug: string): Promise<void>;
  onDatabase<T>(slug: string, work: (client: PgClient) => Promise<T>): Promise<T>;
  drop(): Promise<void>;
}

/** These databases are made by hand, and spoilt by hand: what is tested is how rollouts go on then. */
export const bearAll: GuardSchema = (_id, stamp) => ({ stamp, prove: () => Promise.resolve() });

export async function makeRolloutFleet(slugs: string[]): Promise<RolloutFleet> {
  const test = await freshRegistry();
  const { registry } = test;
  const server = await makeTestServer();
  const databases = new Map<string, TenantDatabase>();
  const serverIds = {
    eu: await insertServer(registry, 'eu', server.admin),
    us: await insertServer(registry, 'us', server.admin),
  };
  const down = new Set<string>();
  const find = (slug: string): TenantDatabase => {
    const found = databases.get(slug);
    if (found === undefined) throw new Error(`no tenant ${slug}`);
    return found;
  };
  const servers = serverAccess(async (serverId, place) => {
    fleet.visits += 1;
    const region = serverId === serverIds.eu ? 'eu' : 'us';
    // Port 1 of the loopback refuses at once.
    return { ...server.migrator(place), ...(down.has(region) ? { port: 1 } : {}) };
  });
  const run = <T>(slug: string, work: (client: PgClient) => Promise<T>): Promise<T> =>
    withClient(find(slug).superuser, { applicationName: 'test' }, work);
  const fleet: RolloutFleet = {
    registry,
    servers,
    down,
    visits: 0,
    driver: createRolloutDriver({
      registry,
      servers,
      logger: quietLogger,
      retry: RETRY,
      outage: OUTAGE,
      guard: bearAll,
    }),
    database: find,
    addTenant: async (slug, region = 'eu', state = 'active') => {
      const made = await server.makeDatabase();
      databases.set(slug, made);
      const serverId = region === 'eu' ? serverIds.eu : serverIds.us;
      await insertTenant(registry, { slug, region, state, serverId, made });
    },
    setTenantState: (slug, state) => setTenantState(registry, slug, state),
    publish: (name) => publish(registry, name),
    start: (waves, more = {}) => planAndStart(registry, waves, more),
    drive: (id) => driveOnce(registry, fleet.driver, id),
    read: (id) => readRollout(registry, id, null),
    states: async (id) => {
      const { targets } = await fleet.read(id);
      return Object.fromEntries(targets.map((target) => [target.tenant, target.state]));
    },
    close: (slug) => holdGate(find(slug).superuser),
    spoil: (slug) => run(slug, async (client) => void (await client.query('CREATE TABLE notes (n int)'))),
    mend: (slug) => run(slug, async (client) => void (await client.query('DROP TABLE notes'))),
    onDatabase: run,
    drop: async () => {
      await test.drop();
      await server.drop();
    },
  };
  await Promise.all(slugs.map((slug) => fleet.addTenant(slug, slug.startsWith('us') ? 'us' : 'eu')));
  await fleet.publish('r1');
  return fleet;
}

function planAndStart(registry: Registry, waves: object[] | undefined, more: object): Promise<string> {
  const { supersede, ...rest } = more as { supersede?: string };
  const given = { release: 'r1', ...(waves === undefined ? {} : { waves }), ...rest };
  return registry.transaction(async (tx) => {
    const id = await planRollout(tx, RolloutSpec.parse(given), ASKER);
    await startRollout(tx, id, { ...ASKER, supersede });
    return id;
  });
}

function serverAccess(migrator: ServerAccess['migrator']): ServerAccess {
  return {
    admin: () => Promise.reject(new Error('a rollout has no business in the admin database')),
    address: () => Promise.reject(new Error('a rollout has no business as the admin')),
    migrator,
    makeMigrators: () => Promise.reject(new Error('a rollout makes no roles')),
    close: async () => undefined,
  };
}

async function insertServer(registry: Registry, region: string, admin: PgAddress): Promise<string> {
  const id = randomUUID();
  await registry.query('INSERT INTO regions (name, jurisdiction, domain) VALUES ($1, $1, $1)', [region]);
  await registry.query(
    `INSERT INTO servers (id, name, region, provider, mode, state, host, port, tls, admin_user, admin_database,
                          max_databases, max_connections)
     VALUES ($1, $2 || '-1', $2, 'postgres', 'shared', 'ready', $3, $4, 'disable', $5, 'postgres', 1000, 1000)`,
    [id, region, admin.host, admin.port, admin.user],
  );
  return id;
}

async function setTenantState(registry: Registry, slug: string, state: string): Promise<void> {
  await registry.query(
    `UPDATE tenants SET state = $2, deleted_at = CASE WHEN $2 = 'deleted' THEN now() END WHERE slug = $1`,
    [slug, state],
  );
}

async function insertTenant(
  registry: Registry,
  tenant: { slug: string; region: string; state: string; serverId: string; made: TenantDatabase },
): Promise<void> {
  const id = randomUUID();
  await registry.query(
    'INSERT INTO tenants (id, slug, name, tier, region, state) VALUES ($1, $2, $2, $3, $4, $5)',
    [id, tenant.slug, 'standard', tenant.region, tenant.state],
  );
  const name = tenant.made.address.database;
  await registry.query(
    `INSERT INTO databases (id, tenant_id, server_id, name, owner_role, rw_role, login_a, login_b, state,
                            connection_limit)
     VALUES ($1, $2, $3, $4, $5, $4, $4, $4, 'ready', 10)`,
    [randomUUID(), id, tenant.serverId, name, tenant.made.ownerRole],
  );
}

async function publish(registry: Registry, name: string): Promise<void> {
  const migrations = [
    migration(1, '001_notes', 'CREATE TABLE notes (n int)'),
    migration(2, '002_gate', `SELECT pg_advisory_xact_lock(${GATE}); ALTER TABLE notes ADD COLUMN text text`),
  ];
  await registry.transaction(async (tx) => {
    await insertMigrations(tx, migrations);
    const checksum = releaseChecksum(migrations);
    const release = { head: '002_gate', headOrdinal: 2, checksum, publishedBy: 'test' };
    await insertRelease(tx, { name, ...release });
  });
}

function migration(ordinal: number, name: string, upSql: string): Migration {
  return {
    name,
    ordinal,
    checksum: migrationChecksum(upSql, null),
    upSql,
    downSql: null,
    phase: 'expand',
    transactional: true,
    lockTimeoutMs: 60_000,
    statementTimeoutMs: 60_000,
    statements: null,
  };
}

async function holdGate(address: PgAddress): Promise<Gate> {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let done: Promise<void> = Promise.resolve();
  await new Promise<void>((resolve, reject) => {
    done = withClient(address, { applicationName: 'test-gate' }, async (client) => {
      await client.query('SELECT pg_advisory_lock($1)', [GATE]);
      resolve();
      await opened;
    });
    done.catch(reject);
  });
  return {
    open: async () => {
      open();
      await done;
    },
  };
}
