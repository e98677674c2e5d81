import { rm } from 'node:fs/promises';
import type { AuditEntry, AuditVerification } from '../../contract/audit.ts';
import type { Rollout } from '../../contract/rollout.ts';
import type { Tenant } from '../../contract/tenant.ts';
import { chapter, claim, expect } from './stage.ts';
import { startTraffic, until } from './traffic.ts';
import {
  appliedTwice,
  latestRollout,
  publish,
  rolloutFile,
  run,
  TENANTS,
  tenants,
  visit,
  type World,
} from './world.ts';

/** Exit code of `fleet` for a rollout that ended unhealthy. */
const UNHEALTHY = 5;
/** The tenant whose data the second migration cannot live with. */
const TROUBLED = 'hazel';
/** How many commands run at a time while tenants are made: each is a process of its own. */
const COMMANDS_AT_ONCE = 4;

/** Ten tenants, each made by the CLI and each with a database of its own. */
export async function provision(world: World): Promise<void> {
  chapter('2. Tenants, each with a database of its own');
  await claim('each region has a PostgreSQL server', async () => {
    await Promise.all(world.config.regions.map((region) => makeServer(world, region)));
  });
  await claim('the schema of the tenants is published as the first release', async () => {
    expect((await publish(world, 0, 'base')).code === 0, 'fleet release publish failed');
  });
  await claim(`${TENANTS.length} tenants in two regions are active`, async () => {
    const waiting = [...TENANTS];
    const make = async (): Promise<void> => {
      for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
        const { slug, region, canary } = next;
        const label = canary ? ['--label', 'canary=true'] : [];
        const made = await run(world, 'tenant', 'create', slug, '--region', region, ...label, '--wait');
        expect(made.code === 0, `creating ${slug} ended with ${made.code}: ${made.stderr}`);
      }
    };
    await Promise.all(Array.from({ length: COMMANDS_AT_ONCE }, make));
    const all = await tenants(world);
    expect(all.length === TENANTS.length, `there are ${all.length} tenants`);
    expect(
      all.every((one) => one.state === 'active'),
      'not all are active',
    );
    expect(new Set(all.map((one) => one.database)).size === all.length, 'two tenants share a database');
  });
}

async function makeServer(world: World, region: string): Promise<void> {
  const made = await run(world, 'server', 'create', `${region}-1`, '--region', region, '--wait');
  expect(made.code === 0, `making a server in ${region} ended with ${made.code}: ${made.stderr}`);
}

/** Every request reaches its own tenant's database, and no other region's app serves it. */
export async function route(world: World): Promise<void> {
  chapter('3. Every request reaches its own database');
  await claim('each tenant writes a project and reads back its own, and only that', async () => {
    await Promise.all((await tenants(world)).map((own) => writeAndRead(world, own)));
  });
  await claim('the app in the US refuses a tenant of the EU: 421, with the right address', async () => {
    const reply = await visit(world, 'acme', '/api/v1/whoami', undefined, 'us');
    expect(reply.status === 421, `it answered ${reply.status}`);
    expect(JSON.stringify(reply.body).includes('eu.localhost'), 'the answer does not name the EU app');
  });
  await claim('an unknown tenant gets 404, and no database is asked', async () => {
    const reply = await visit(world, 'nobody', '/api/v1/whoami');
    expect(reply.status === 404, `it answered ${reply.status}`);
  });
}

async function writeAndRead(world: World, own: Tenant): Promise<void> {
  const { slug } = own;
  const who = await visit(world, slug, '/api/v1/whoami');
  expect(who.status === 200 && who.body['tenant'] === slug, `whoami of ${slug} answered ${who.status}`);
  expect(who.body['database'] === own.database, `${slug} is served from another database`);
  const name = `the plan of ${slug}`;
  const written = await visit(world, slug, '/api/v1/projects', { method: 'POST', json: { name } });
  expect(written.status === 201, `${slug} could not write: ${written.status}`);
  const names = await projectNames(world, slug);
  expect(names.length === 1 && names[0] === name, `${slug} reads ${names.join(', ')}`);
}

async function projectNames(world: World, slug: string): Promise<string[]> {
  const { body } = await visit(world, slug, '/api/v1/projects');
  const items = body['items'] as { name: string }[];
  return items.map((item) => item.name);
}

/** A migration goes to the canaries first, then to everyone. */
export async function canary(world: World): Promise<void> {
  chapter('4. A migration goes over the fleet, canaries first');
  await publish(world, 1, 'colours');
  await claim('every tenant has the new column; the others waited for the canaries', async () => {
    const rollout = await startRollout(world, 'colours', 4, 0);
    expect(rollout.state === 'succeeded', `the rollout is ${rollout.state}`);
    const ended = times(rollout, 'canary').map((target) => target.finishedAt);
    const started = times(rollout, 'everyone').map((target) => target.startedAt);
    expect(Math.max(...ended) <= Math.min(...started), 'a tenant was migrated before the canaries were done');
    await expectSchema(world, '9001_project_colours');
  });
}

/** A migration that one tenant's data violates: it halts, a person mends the data, it goes on. */
export async function halt(world: World): Promise<void> {
  chapter('5. A migration that one tenant cannot take');
  const twin = await visit(world, TROUBLED, '/api/v1/projects', {
    method: 'POST',
    json: { name: `the plan of ${TROUBLED}` },
  });
  expect(twin.status === 201, `a second project could not be made: ${twin.status}`);
  await publish(world, 2, 'unique-names');
  await claim(`the rollout halts on ${TROUBLED} and says why (exit code ${UNHEALTHY})`, async () => {
    const rollout = await startRollout(world, 'unique-names', 1, UNHEALTHY);
    expect(rollout.state === 'halted', `the rollout is ${rollout.state}`);
    const failed = rollout.targets.filter((target) => target.state === 'failed');
    expect(failed.length === 1 && failed[0]?.tenant === TROUBLED, 'it is not the one that had to fail');
    process.stdout.write(`      ${failed[0].error?.code}: ${failed[0].error?.message}\n`);
  });
  await claim(`${TROUBLED} is served all the same: the migration left nothing behind`, async () => {
    const who = await visit(world, TROUBLED, '/api/v1/whoami');
    expect(who.status === 200, `whoami answered ${who.status}`);
    expect(who.body['schemaVersion'] === '9001_project_colours', 'its schema has changed');
  });
  await claim('its data is mended, the rollout retried, and everyone has it', async () => {
    await rename(world, String(twin.body['id']));
    const retried = await run(world, 'rollout', 'retry', 'latest', '--wait');
    expect(retried.code === 0, `the retry ended with ${retried.code}: ${retried.stderr}`);
    await expectSchema(world, '9002_unique_project_names');
  });
}

async function rename(world: World, project: string): Promise<void> {
  const path = `/api/v1/projects/${project}`;
  const { headers } = await visit(world, TROUBLED, path);
  const etag = headers['etag'];
  const reply = await visit(world, TROUBLED, path, {
    method: 'PATCH',
    json: { name: 'the other plan' },
    headers: typeof etag === 'string' ? { 'If-Match': etag } : {},
  });
  expect(reply.status === 200, `renaming answered ${reply.status}`);
}

/** `kill -9` of the worker in the middle of a rollout, while users are at work. */
export async function kill(world: World): Promise<void> {
  chapter('6. kill -9 in the middle of a rollout');
  await publish(world, 3, 'priorities');
  const traffic = startTraffic(world);
  await claim('the control plane is killed with some tenants done and some not', async () => {
    const file = rolloutFile(world, 'priorities', 2);
    const started = await run(world, 'rollout', 'start', file, '--no-wait');
    expect(started.code === 0, `the start ended with ${started.code}: ${started.stderr}`);
    await until(async () => (await latestRollout(world)).targets.some((one) => one.state === 'verified'));
    const pid = world.fleet.controlPlanePid();
    expect(pid !== undefined, 'the control plane does not run');
    process.stdout.write(`  $ kill -9 ${pid}\n`);
    process.kill(pid, 'SIGKILL');
  });
  await claim('its successor finishes the rollout', async () => {
    await until(async () => (await fetch(`${world.fleet.url}/readyz`)).ok);
    const status = await run(world, 'rollout', 'status', 'latest', '--timeout', '30s');
    expect(status.code === 0, `the rollout ended with ${status.code}: ${status.stderr}`);
    await expectSchema(world, '9003_task_priorities');
  });
  await claim('every database has recorded every migration exactly once', async () => {
    const twice = await appliedTwice(world);
    expect(twice.length === 0, twice.join(', '));
  });
  const { answered, failed } = await traffic.stop();
  await claim(`tenants were served all the time: ${answered} requests, ${failed.length} failed`, () => {
    expect(answered > 0 && failed.length === 0, failed.slice(0, 3).join('; '));
  });
}

/** Everything that was done is in a log that proves itself. */
export async function verifyAudit(world: World): Promise<void> {
  chapter('7. What was done, and by whom');
  await claim('the audit log has it all, and its chain of hashes is whole', async () => {
    const verified = await run(world, 'audit', 'verify', '-o', 'json');
    expect(verified.code === 0, `fleet audit verify ended with ${verified.code}`);
    expect((JSON.parse(verified.stdout) as AuditVerification).valid, 'the chain is broken');
    const log = await run(world, 'audit', 'list', '--action', 'tenant.create', '-o', 'json');
    const entries = JSON.parse(log.stdout) as AuditEntry[];
    expect(entries.length === TENANTS.length, `it has ${entries.length} creations`);
  });
}

async function startRollout(world: World, release: string, parallel: number, exit: number): Promise<Rollout> {
  const file = rolloutFile(world, release, parallel);
  const ended = await run(world, 'rollout', 'start', file, '--wait');
  await rm(file);
  expect(ended.code === exit, `fleet rollout start ended with ${ended.code}: ${ended.stderr}`);
  return await latestRollout(world);
}

function times(rollout: Rollout, wave: string): { startedAt: number; finishedAt: number }[] {
  return rollout.targets
    .filter((target) => target.wave === wave)
    .map(({ startedAt, finishedAt }) => ({
      startedAt: Date.parse(startedAt ?? ''),
      finishedAt: Date.parse(finishedAt ?? ''),
    }));
}

async function expectSchema(world: World, version: string): Promise<void> {
  const behind = (await tenants(world)).filter((one) => one.schemaVersion !== version);
  expect(
    behind.length === 0,
    `behind: ${behind.map((one) => `${one.slug} at ${one.schemaVersion}`).join(', ')}`,
  );
}
