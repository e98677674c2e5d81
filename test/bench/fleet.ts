import { join } from 'node:path';
import type { Operation } from '../../contract/operation.ts';
import type { Rollout } from '../../contract/rollout.ts';
import { renderMigrations } from '../../fleet-cli/release/render.ts';
import { projectRoot } from '../../platform/project.ts';
import { eachAtOnce } from '../support/concurrency.ts';
import { operationIdOf, type Fleet } from '../support/fleet.ts';

/** Four at once keep two cores busy; more only queue. */
const PROVISION_AT_ONCE = 4;

/** Creates `count` tenants in a region and waits until all are active. */
export async function provisionMany(
  fleet: Fleet,
  prefix: string,
  count: number,
  atOnce = PROVISION_AT_ONCE,
  region = 'eu',
): Promise<number[]> {
  const slugs = Array.from({ length: count }, (_, index) => `${prefix}-${String(index).padStart(4, '0')}`);
  return eachAtOnce(slugs, atOnce, async (slug) => {
    const start = performance.now();
    const answer = await fleet.admin.call('POST', '/api/v1/tenants', { slug, region });
    if (answer.status !== 202) throw new Error(`tenant ${slug}: ${JSON.stringify(answer.body)}`);
    const operation = await operationEnd(fleet, operationIdOf(answer.headers));
    if (operation.state !== 'succeeded')
      throw new Error(`tenant ${slug}: ${JSON.stringify(operation.error)}`);
    return performance.now() - start;
  });
}

/** Waits for the operation's end through its event stream, as the CLI does. */
export async function operationEnd(fleet: Fleet, id: string): Promise<Operation> {
  const response = await fetch(`${fleet.url}/api/v1/operations/${id}/events`, {
    headers: { authorization: `Bearer ${fleet.adminToken}`, accept: 'text/event-stream' },
  });
  // The stream ends by itself when the operation is over.
  await response.text();
  return fleet.admin.ok<Operation>('GET', `/api/v1/operations/${id}`);
}

/** Publishes migrations/tenant plus the given ones as the next release. */
export async function publishExtra(
  fleet: Fleet,
  name: string,
  extra: { name: string; upSql: string }[],
): Promise<void> {
  const base = await renderMigrations(join(projectRoot(), 'migrations', 'tenant'));
  const more = extra.map((migration) => ({ ...migration, file: `${migration.name}.sql`, downSql: null }));
  await fleet.admin.ok('POST', '/api/v1/releases', { name, migrations: [...base, ...more] });
}

/** Starts a rollout of everything at once and waits for its end through its event stream. */
export async function rolloutToEnd(fleet: Fleet, release: string, parallel: number): Promise<Rollout> {
  const { id } = await fleet.admin.ok<Rollout>('POST', '/api/v1/rollouts', {
    release,
    waves: [{ name: 'all', parallel, perServer: parallel }],
  });
  const response = await fetch(`${fleet.url}/api/v1/rollouts/${id}/events`, {
    headers: { authorization: `Bearer ${fleet.adminToken}`, accept: 'text/event-stream' },
  });
  await response.text();
  const rollout = await fleet.admin.ok<Rollout>('GET', `/api/v1/rollouts/${id}`);
  if (rollout.state !== 'succeeded')
    throw new Error(`rollout ${release}: ${rollout.state} ${JSON.stringify(rollout.cause)}`);
  return rollout;
}
