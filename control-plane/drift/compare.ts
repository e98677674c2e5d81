import { sha256 } from '../../platform/crypto.ts';
import type { LiveSchema } from '../releases/schema-live.ts';
import type { Schema } from '../releases/schema.ts';
import { compareFingerprint, type Finding } from './drift.ts';
import type { References } from './reference.ts';
import type { DriftTarget } from './store.ts';

/** Compares a database as it stands with what the published migrations that it has make. */
export async function compareLive(
  target: DriftTarget,
  live: LiveSchema,
  references: References,
): Promise<Finding> {
  const { databaseId, tenant, region, serverId, accepted } = target;
  const ordinal = publishedPart(live.applied, references);
  const expected = await references.at(ordinal, { serverId, serverMajor: live.serverMajor });
  const found = withForeign(live.schema, live.applied.slice(ordinal));
  return {
    ...{ databaseId, tenant, region },
    schemaVersion: live.applied[ordinal - 1] ?? null,
    fingerprint: found.fingerprint,
    expected: expected.fingerprint,
    comparison: compareFingerprint(found, expected, accepted),
    stamp: live.stamp,
  };
}

/** How many of the applied migrations, from the first on, are the published ones in their order. */
function publishedPart(applied: readonly string[], { migrations }: References): number {
  const foreign = applied.findIndex((name, index) => migrations[index]?.name !== name);
  return foreign === -1 ? applied.length : foreign;
}

/** Migrations that were never published are drift, whatever they did to the schema. */
function withForeign(schema: Schema, names: readonly string[]): Schema {
  if (names.length === 0) return schema;
  const lines = ['migrations that were never published', ...names.map((name) => `  migration ${name}`)];
  const description = `${schema.description}${lines.map((line) => `${line}\n`).join('')}`;
  return { fingerprint: sha256(description), description };
}
