import assert from 'node:assert/strict';
import type { Rollout } from '../../contract/rollout.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { quoteIdent, withClient } from '../../platform/pg.ts';
import { commandLine } from '../integration/cli/command-line.ts';
import { clusters } from '../support/clusters.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { operationIdOf, startFleet, type Fleet } from '../support/fleet.ts';
import { until } from '../support/until.ts';

/** What happens to tenants while the rollout is under way. */
const CREATED = 20;
const DELETED = 5;
const SUSPENDED = 5;
const MOVED = 2;
/** Left alone; the first is the canary. */
const QUIET = 3;
/** Provisioning at once: two cores do no more. */
const AT_ONCE = 6;
/** A lock that the migration waits for, so that a test decides when it goes on. */
const GATE = 4242;
/** Who holds it: a superuser's session would keep its database from being dropped. */
const HOLDER = 'busy_fleet_holder';

const FIRST = { name: '0001_a', upSql: 'CREATE TABLE a (id int)' };
const SECOND = {
  name: '0002_gate',
  upSql: `SELECT pg_advisory_xact_lock(${GATE}); ALTER TABLE a ADD b int`,
  lockTimeoutMs: 60_000,
};
const THIRD = { name: '0003_check', upSql: 'ALTER TABLE a ADD CHECK (id < 100)' };

describe('a rollout over a fleet that does not stand still', function () {
  this.timeout(90_000);
  let fleet: Fleet;
  const { cli } = commandLine(() => fleet);
  const groups = {
    quiet: slugs('quiet', QUIET),
    deleted: slugs('deleted', DELETED),
    suspended: slugs('suspended', SUSPENDED),
    moved: slugs('moved', MOVED),
    created: slugs('created', CREATED),
  };
  const databases = new Map<string, string>();

  before(async () => {
    fleet = await startFleet({ publish: false });
    await onServer(`CREATE ROLE ${HOLDER} LOGIN PASSWORD '${HOLDER}'`);
    await publish('r1', [FIRST]);
    const { created: _later, ...early } = groups;
    await create(Object.values(early).flat());
    await publish('r2', [FIRST, SECOND]);
    // What the schema of a tenant is at the very moment at which it gets traffic again.
    await fleet.registry.query(`
      CREATE TABLE resumed (slug text, schema_version text);
      CREATE FUNCTION note_resumed() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO resumed SELECT NEW.slug, d.schema_version FROM databases d WHERE d.tenant_id = NEW.id;
        RETURN NULL; END $$;
      CREATE TRIGGER note_resumed AFTER UPDATE ON tenants FOR EACH ROW
        WHEN (OLD.state = 'suspended' AND NEW.state = 'active') EXECUTE FUNCTION note_resumed()`);
  });
  after(async () => {
    await fleet.stop();
    await onServer(`DROP OWNED BY ${HOLDER}; DROP ROLE ${HOLDER}`);
  });

  it(`10: brings all to the target while ${CREATED} are created, ${DELETED} deleted, ${SUSPENDED} suspended, ${MOVED} moved`, async () => {
    const [canary, ...rest] = groups.quiet;
    const [dying, ...doomed] = groups.deleted;
    const [leaving, ...suspended] = groups.suspended;
    assert.ok(canary !== undefined && dying !== undefined && leaving !== undefined);
    const gates = { canary: await hold(canary), dying: await hold(dying), leaving: await hold(leaving) };
    const { id } = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', {
      release: 'r2',
      waves: [
        { name: 'canary', match: { tenants: [canary] } },
        { name: 'some', match: { tenants: [dying, leaving, ...rest] } },
        { name: 'others', parallel: 8 },
      ],
    });
    await inFlight(id, canary);
    await setState(groups.moved, 'moving');
    await Promise.all([
      create(groups.created.slice(0, CREATED / 2)),
      eachAtOnce(doomed.slice(0, 2), 2, remove),
      eachAtOnce(suspended.slice(0, 2), 2, (slug) => verb(slug, 'suspend')),
    ]);
    await gates.canary();
    await inFlight(id, dying);
    await inFlight(id, leaving);
    await Promise.all([
      create(groups.created.slice(CREATED / 2)),
      // Two of them with their migration in flight.
      eachAtOnce([dying, ...doomed.slice(2)], 3, remove),
      eachAtOnce([leaving, ...suspended.slice(2)], 3, (slug) => verb(slug, 'suspend')),
    ]);
    await gates.dying();
    const last = groups.created.at(-1) ?? '';
    const gate = await hold(last);
    await gates.leaving();
    await inFlight(id, last);
    await setState(groups.moved, 'active');
    await gate();
    const done = await over(id);

    assert.deepEqual([done.state, done.cause], ['succeeded', null]);
    assert.equal(done.counts.failed + done.counts.unreachable, 0);
    const states = Object.fromEntries(
      done.targets.map(({ tenant, state, reason }) => [tenant, { state, reason }]),
    );
    for (const slug of [...groups.quiet, ...groups.moved, ...groups.created, leaving]) {
      assert.equal(states[slug]?.state, 'verified', slug);
    }
    for (const slug of doomed) assert.deepEqual(states[slug], { state: 'skipped', reason: 'deleted' });
    // Its migration was under way: it ended before the database went, or with it.
    assert.ok(['skipped', 'verified'].includes(states[dying]?.state ?? ''), states[dying]?.state);
    for (const slug of suspended) assert.deepEqual(states[slug], { state: 'deferred', reason: 'suspended' });
    assert.ok(done.targets.every(({ tries }) => tries <= 1));

    await eachAtOnce(groups.suspended, AT_ONCE, (slug) => verb(slug, 'resume'));
    const { rows } = await fleet.registry.query('SELECT DISTINCT schema_version AS v FROM resumed');
    assert.deepEqual(rows, [{ v: SECOND.name }]);
    await assertApplied([FIRST.name, SECOND.name]);
  });

  it('11: is one, started twice and retried five times at once, by API and command line', async () => {
    await publish('r3', [FIRST, SECOND, THIRD]);
    const [first = '', broken = ''] = groups.created;
    await onDatabase(broken, 'INSERT INTO a VALUES (100)');
    const waves = [{ name: 'all', parallel: 8 }];
    const plan = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts/plan', { release: 'r3', waves });
    const starts = await Promise.all([
      post(`${plan.id}/start`, {}),
      typed(`rollout start ${plan.id}`),
      post('', { release: 'r3' }),
      typed('rollout start --release r3'),
    ]);
    assert.deepEqual(
      starts.map((answer) => (answer.id === plan.id ? 'the plan' : answer.code)),
      await startedOnce(starts, plan.id),
    );
    const id = starts.find((answer) => answer.id !== undefined)?.id ?? '';
    assert.equal((await over(id)).state, 'halted');
    await onDatabase(broken, 'DELETE FROM a');
    const retries = await Promise.all([
      post(`${id}/retry`, {}),
      typed(`rollout retry ${id}`),
      post(`${id}/retry`, {}),
      typed(`rollout retry ${id}`),
      post(`${id}/retry`, { target: broken }),
    ]);
    for (const { id: answered, code } of retries) assert.ok(answered === id || code === 'wrong_state', code);
    const done = await over(id);
    assert.equal(done.state, 'succeeded');
    const tries = Object.fromEntries(done.targets.map((target) => [target.tenant, target.tries]));
    assert.deepEqual([tries[first], tries[broken]], [1, 2]);
    assert.deepEqual(
      Object.entries(tries).filter(([slug, count]) => count !== 1 && slug !== broken),
      [],
    );
    await assertApplied([FIRST.name, SECOND.name, THIRD.name]);
    const audited = await fleet.registry.query<{ action: string }>(
      `SELECT action FROM audit_log WHERE resource = $1 AND action ~ 'start|halt|retry|succeed' ORDER BY seq`,
      [`rollout:${id}`],
    );
    assert.deepEqual(
      audited.rows.map(({ action }) => action),
      ['rollout.start', 'rollout.halt', 'rollout.retry', 'rollout.succeed'],
    );
  });

  /** What four starts have to answer: those of one rollout its id, the others that one is active. */
  async function startedOnce(starts: Answer[], planId: string): Promise<(string | undefined)[]> {
    const { rows } = await fleet.registry.query<{ id: string }>(
      `SELECT id FROM rollouts WHERE release = 'r3' AND started_at IS NOT NULL`,
    );
    assert.equal(rows.length, 1);
    const planned = rows[0]?.id === planId;
    return starts.map(({ id }, index) => {
      if (planned) return index < 2 ? 'the plan' : 'rollout_active';
      return id === rows[0]?.id ? undefined : 'rollout_active';
    });
  }

  interface Answer {
    id: string | undefined;
    code: string | undefined;
  }

  async function post(path: string, body: object): Promise<Answer> {
    const url = path === '' ? '/api/v1/rollouts' : `/api/v1/rollouts/${path}`;
    const answer = await fleet.admin.call<{ id?: string; code?: string }>('POST', url, body);
    assert.ok(answer.status < 300 || answer.status === 409, JSON.stringify(answer.body));
    return { id: answer.body.id, code: answer.body.code };
  }

  async function typed(line: string): Promise<Answer> {
    const { code, stdout, stderr } = await cli(`${line} -o json`);
    assert.ok(code === 0 || code === 3, stderr);
    if (code === 0) return { id: (JSON.parse(stdout) as Rollout).id, code: undefined };
    return { id: undefined, code: /rollout_active|wrong_state/.exec(stderr)?.[0] };
  }

  function slugs(prefix: string, count: number): string[] {
    return Array.from({ length: count }, (_, index) => `${prefix}-${String(index).padStart(2, '0')}`);
  }

  async function create(names: string[]): Promise<void> {
    await eachAtOnce(names, AT_ONCE, async (slug) => {
      const { database } = await fleet.createTenant(slug);
      databases.set(slug, database ?? '');
    });
  }

  async function verb(slug: string, name: string): Promise<void> {
    const answer = await fleet.admin.call('POST', `/api/v1/tenants/${slug}/${name}`, {});
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    assert.equal((await fleet.finished(operationIdOf(answer.headers))).state, 'succeeded');
  }

  async function remove(slug: string): Promise<void> {
    const answer = await fleet.admin.call('DELETE', `/api/v1/tenants/${slug}?confirm=${slug}`);
    assert.equal(answer.status, 202, JSON.stringify(answer.body));
    assert.equal((await fleet.finished(operationIdOf(answer.headers))).state, 'succeeded');
  }

  /** Moving is not built: its states are, and they are all that a rollout sees of it. */
  async function setState(names: string[], state: string): Promise<void> {
    await fleet.registry.query('UPDATE tenants SET state = $2 WHERE slug = ANY ($1)', [names, state]);
  }

  async function publish(name: string, migrations: { name: string; upSql: string }[]): Promise<void> {
    const rendered = migrations.map((draft) => ({ downSql: null, file: `${draft.name}.sql`, ...draft }));
    const baseline = { migration: rendered.at(-1)?.name, reason: 'made for a test' };
    await fleet.admin.ok('POST', '/api/v1/releases', { name, migrations: rendered, baseline });
  }

  const over = (id: string) =>
    until(`rollout ${id} is over`, async () => {
      const rollout = await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);
      return rollout.state === 'running' ? undefined : rollout;
    });

  async function inFlight(id: string, slug: string): Promise<void> {
    await until(`${slug} is in flight`, async () => {
      const { targets } = await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);
      return targets.find(({ tenant }) => tenant === slug)?.state === 'running';
    });
  }

  const addressOf = (slug: string) => ({ ...clusters().eu.superuser, database: databases.get(slug) ?? '' });

  async function onDatabase(slug: string, sql: string): Promise<void> {
    await withClient(addressOf(slug), { applicationName: 'test' }, (client) => client.query(sql));
  }

  async function onServer(sql: string): Promise<void> {
    await withClient(clusters().eu.superuser, { applicationName: 'test' }, (client) => client.query(sql));
  }

  /** Keeps the tenant's migration waiting until the answer is called. */
  async function hold(slug: string): Promise<() => Promise<void>> {
    await onServer(`GRANT CONNECT ON DATABASE ${quoteIdent(databases.get(slug) ?? '')} TO ${HOLDER}`);
    const address = { ...addressOf(slug), user: HOLDER, password: HOLDER };
    let open = (): void => undefined;
    const opened = new Promise<void>((resolve) => {
      open = resolve;
    });
    let over: Promise<void> = Promise.resolve();
    await new Promise<void>((ready, failed) => {
      over = withClient(address, { applicationName: 'test-gate' }, async (client) => {
        client.on('error', () => undefined);
        await client.query('SELECT pg_advisory_lock($1)', [GATE]);
        ready();
        await opened;
      });
      over.catch(failed);
    });
    return async () => {
      open();
      await over;
    };
  }

  /** Every live tenant's database and the registry say the same, each migration once. */
  async function assertApplied(names: string[]): Promise<void> {
    const { items } = await fleet.admin.ok<{ items: Tenant[] }>(
      'GET',
      '/api/v1/tenants?limit=100&state=active',
    );
    assert.equal(items.length, QUIET + SUSPENDED + MOVED + CREATED);
    await eachAtOnce(items, AT_ONCE, async ({ slug, schemaVersion }) => {
      assert.equal(schemaVersion, names.at(-1), slug);
      await withClient(addressOf(slug), { applicationName: 'test' }, async (client) => {
        const { rows } = await client.query<{ name: string }>('SELECT name FROM pgmigrations ORDER BY id');
        assert.deepEqual(
          rows.map(({ name }) => name),
          names,
          slug,
        );
      });
    });
  }
});
