import type { PgClient } from '../../platform/pg.ts';
import type { SchemaGuard } from '../releases/guard.ts';
import { readSchema } from '../releases/schema.ts';
import type { SchemaStamp } from '../releases/stamp.ts';
import type { DriftDeps } from './check.ts';
import { compareLive } from './compare.ts';
import { schemaDrifted, type Finding } from './drift.ts';
import { recordFindings } from './record.ts';
import { lazyReferences, type References } from './reference.ts';
import { findTarget, type DriftTarget } from './store.ts';

/** Guards databases before they are migrated; `stamp` as it was stored with the last comparison. */
export type GuardSchema = (databaseId: string, stamp: SchemaStamp | null) => SchemaGuard;

/**
 * Opens the guard of one rollout. The list of migrations is read when the first schema has to be compared, which
 * mostly is none: what nobody has touched is known by its stamp.
 */
export function openGuard(deps: DriftDeps): GuardSchema {
  const references = lazyReferences(deps);
  return (databaseId, stamp) => ({
    stamp,
    prove: async (client, applied) => {
      const target = await findTarget(deps.registry, databaseId);
      if (target === undefined) throw new Error(`there is no database ${databaseId}`);
      const finding = await look(client, target, applied, await references());
      const { verdict, changes } = finding.comparison;
      if (verdict !== 'same' || target.differed) {
        await deps.registry.transaction((tx) => recordFindings(tx, [finding]));
      }
      if (verdict === 'drifted') throw schemaDrifted(target.tenant, changes);
    },
  });
}

async function look(
  client: PgClient,
  target: DriftTarget,
  applied: readonly string[],
  references: References,
): Promise<Finding> {
  await client.query('BEGIN READ ONLY');
  const { rows } = await client.query<{ major: number }>(
    "SELECT current_setting('server_version_num')::int / 10000 AS major",
  );
  const schema = await readSchema(client, target);
  await client.query('COMMIT');
  const live = {
    schema,
    applied: [...applied],
    checksums: NOT_ASKED,
    serverMajor: rows[0]?.major ?? 0,
    stamp: null,
  };
  return compareLive(target, live, references);
}

/** Whoever migrates has held the checksums against the release before, and refuses what was edited. */
const NOT_ASKED: ReadonlyMap<string, string> = new Map();
