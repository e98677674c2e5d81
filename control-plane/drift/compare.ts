import { sha256 } from '../../platform/crypto.ts';
import type { Migration } from '../releases/release.ts';
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
  const { migrations } = references;
  const ordinal = lastPublished(live.applied, migrations);
  const expected = await references.at(ordinal, { serverId, serverMajor: live.serverMajor });
  const found = withHistory(live.schema, differencesOfHistory(live, migrations));
  return {
    ...{ databaseId, tenant, region },
    schemaVersion: migrations[ordinal - 1]?.name ?? null,
    fingerprint: found.fingerprint,
    expected: expected.fingerprint,
    comparison: compareFingerprint(found, expected, accepted),
    stamp: live.stamp,
  };
}

/** The place of the last of the published migrations that the database has; 0 for none. */
function lastPublished(applied: readonly string[], migrations: readonly ListedMigration[]): number {
  const has = new Set(applied);
  return migrations.findLast(({ name }) => has.has(name))?.ordinal ?? 0;
}

type ListedMigration = Pick<Migration, 'name' | 'ordinal' | 'checksum'>;

/**
 * How the migrations that a database has recorded differ from the published ones, whatever they did to its schema:
 * some were never published, were edited, stand in another order, or have no record although later ones do. A
 * migration without a checksum was applied by node-pg-migrate itself, and is taken by its name. Pure.
 */
export function differencesOfHistory(
  { applied, checksums }: Pick<LiveSchema, 'applied' | 'checksums'>,
  migrations: readonly ListedMigration[],
): string[] {
  const published = new Map(migrations.map((migration) => [migration.name, migration]));
  const has = new Set(applied);
  const gone = migrations
    .slice(0, lastPublished(applied, migrations))
    .filter(({ name }) => !has.has(name))
    .map(({ name }) => `migration ${name} is not recorded, later ones are`);
  let last: ListedMigration | undefined;
  const odd = applied.flatMap((name) => {
    const known = published.get(name);
    if (known === undefined) return [`migration ${name} was never published`];
    const before = last;
    if (before === undefined || known.ordinal > before.ordinal) last = known;
    const checksum = checksums.get(name) ?? known.checksum;
    return [
      ...(checksum === known.checksum
        ? []
        : [`migration ${name} was applied with checksum ${checksum}, published with ${known.checksum}`]),
      ...(before === undefined || known.ordinal > before.ordinal
        ? []
        : [`migration ${name} was applied after ${before.name}, published before it`]),
    ];
  });
  return [...gone, ...odd];
}

/** Each an object of its own: so it is named where only objects are. */
function withHistory(schema: Schema, differences: readonly string[]): Schema {
  if (differences.length === 0) return schema;
  const description = `${schema.description}${differences.map((line) => `${line}\n`).join('')}`;
  return { fingerprint: sha256(description), description };
}
