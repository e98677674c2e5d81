import { randomUUID } from 'node:crypto';
import type { BoundOperation, StepContext } from '../../../control-plane/operations/definition.ts';
import type { Registry } from '../../../control-plane/registry/registry.ts';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import { quietLogger } from '../../support/registry.ts';

export const request = { caller: SYSTEM_CALLER, requestId: 'test' };

export async function addRegions(registry: Registry): Promise<void> {
  await registry.query(
    `INSERT INTO regions (name, jurisdiction, domain)
     VALUES ('eu', 'EU', 'eu.localhost'), ('us', 'US', 'us.localhost')`,
  );
  await registry.query(
    "INSERT INTO principals (id, name, kind) VALUES ($1, 'system', 'system') ON CONFLICT DO NOTHING",
    [SYSTEM_CALLER.principalId],
  );
}

/** A server row that nothing stands behind, for tests of bookkeeping alone. */
export async function insertReadyServer(
  registry: Registry,
  name: string,
  more: object = {},
): Promise<string> {
  const row = {
    ...{ id: randomUUID(), name, region: 'eu', provider: 'postgres', mode: 'shared', state: 'ready' },
    ...{ host: '127.0.0.1', port: 1, tls: 'disable', admin_user: 'a', admin_database: 'postgres' },
    ...{ max_databases: 100, max_connections: 1000 },
    ...more,
  };
  const columns = Object.keys(row);
  await registry.query(
    `INSERT INTO servers (${columns.join(', ')}) VALUES (${columns.map((_, i) => `$${i + 1}`).join(', ')})`,
    Object.values(row),
  );
  return row.id;
}

export async function insertTenant(registry: Registry, slug: string, region = 'eu'): Promise<string> {
  const id = randomUUID();
  await registry.query(
    "INSERT INTO tenants (id, slug, name, tier, region, state) VALUES ($1, $2, $2, 'standard', $3, 'provisioning')",
    [id, slug, region],
  );
  return id;
}

export interface Play {
  outputs: Record<string, unknown>;
  error: unknown;
}

/**
 * Plays an operation by hand, each step twice, as a worker that dies after every effect would. On an error,
 * or after step `stopAfter`, everything is undone, twice too.
 */
export async function play(
  registry: Registry,
  operation: BoundOperation,
  operationId: string,
  stopAfter?: string,
): Promise<Play> {
  const { rows } = await registry.query<{ input: unknown }>('SELECT input FROM operations WHERE id = $1', [
    operationId,
  ]);
  const input = rows[0]?.input;
  const outputs: Record<string, unknown> = {};
  const context: StepContext<unknown> = {
    operationId,
    input,
    actor: 'system',
    requestId: null,
    signal: new AbortController().signal,
    logger: quietLogger,
    transaction: (work) => registry.transaction(work),
    output: (step, schema) => schema.parse(outputs[step]),
  };
  let error: unknown;
  const reached = [];
  for (const step of operation.steps) {
    reached.unshift(step);
    try {
      await step.do(context);
      outputs[step.name] = JSON.parse(JSON.stringify((await step.do(context)) ?? null));
    } catch (thrown) {
      error = thrown;
      break;
    }
    if (step.name === stopAfter) {
      error = new Error('stopped');
      break;
    }
  }
  if (error === undefined) return { outputs, error };
  for (const step of reached) {
    await step.undo(context);
    await step.undo(context);
  }
  const end = { state: 'failed', error: { code: 'x', message: 'x' } } as const;
  await registry.transaction((tx) => operation.unwound(tx, input, end));
  return { outputs, error };
}
