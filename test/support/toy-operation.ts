import { z } from 'zod';
import { bindOperation, type OperationDefinition } from '../../control-plane/operations/definition.ts';
import { startOperation } from '../../control-plane/operations/operation.ts';
import { SYSTEM_CALLER } from '../../control-plane/access/caller.ts';
import type { Registry } from '../../control-plane/registry/registry.ts';
import { randomUUID } from 'node:crypto';
import { sha256 } from '../../platform/crypto.ts';

/** An operation whose effects are rows of a table: enough to test the engine without any server. */
export interface ToyDeps {
  registry: Registry;
  /** Thrown by the named step, so often. */
  failures: Map<string, Error[]>;
}

const Input = z.object({ subject: z.string() });
type Input = z.infer<typeof Input>;

export const STEPS = ['one', 'two', 'three'] as const;

function toy(kind: string, cancellable: boolean): OperationDefinition<Input, ToyDeps> {
  return {
    kind,
    input: Input,
    cancellable,
    steps: STEPS.map((name) => ({
      name,
      do: async (context, deps) => {
        const failure = deps.failures.get(name)?.shift();
        if (failure !== undefined) throw failure;
        await deps.registry.query('INSERT INTO toy VALUES ($1, $2) ON CONFLICT DO NOTHING', [
          context.input.subject,
          name,
        ]);
        return { name };
      },
      undo: async (context, deps) => {
        const failure = deps.failures.get(`undo ${name}`)?.shift();
        if (failure !== undefined) throw failure;
        await deps.registry.query('DELETE FROM toy WHERE subject = $1 AND step = $2', [
          context.input.subject,
          name,
        ]);
      },
    })),
  };
}

export function toyOperations(deps: ToyDeps) {
  return new Map(
    [toy('toy.forward', true), toy('toy.stubborn', false)].map((definition) => [
      definition.kind,
      bindOperation(definition, deps),
    ]),
  );
}

export async function prepareToys(registry: Registry): Promise<void> {
  await registry.query(
    'CREATE TABLE IF NOT EXISTS toy (subject text, step text, PRIMARY KEY (subject, step))',
  );
  await registry.query(
    "INSERT INTO regions (name, jurisdiction, domain) VALUES ('eu', 'EU', 'eu.test') ON CONFLICT DO NOTHING",
  );
}

export async function startToy(
  registry: Registry,
  kind: string,
  subject: string,
  requestId: string | null = null,
): Promise<string> {
  const id = randomUUID();
  await registry.transaction((tx) =>
    startOperation(tx, {
      id,
      definition: { kind, steps: STEPS.map((name) => ({ name })) },
      subject,
      subjectName: sha256(subject).slice(0, 8),
      region: 'eu',
      input: { subject },
      caller: SYSTEM_CALLER,
      requestId,
    }),
  );
  return id;
}

export async function toyRows(registry: Registry, subject: string): Promise<string[]> {
  const { rows } = await registry.query<{ step: string }>(
    'SELECT step FROM toy WHERE subject = $1 ORDER BY step',
    [subject],
  );
  return rows.map((row) => row.step);
}
