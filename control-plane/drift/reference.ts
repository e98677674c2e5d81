import { isRetryable } from '../../platform/errors.ts';
import type { Registry } from '../registry/registry.ts';
import { releaseChecksum, type Migration } from '../releases/release.ts';
import type { Schema } from '../releases/schema.ts';
import { listMigrations } from '../releases/store.ts';
import type { ServerAccess } from '../servers/access.ts';
import { findReference, insertReference } from './reference-store.ts';
import { schemaOf } from './scratch.ts';

/** What the published migrations make, by version: what databases are compared with. */
export interface References {
  /** The published migrations, in order. */
  migrations: Migration[];
  /**
   * The schema that the first `ordinal` migrations make (0: none) on a PostgreSQL of the given major version. Where
   * nobody has asked before, they are applied to a scratch database on `serverId`, which takes about as long as
   * making a tenant's template.
   */
  at(ordinal: number, place: { serverId: string; serverMajor: number }): Promise<Schema>;
}

export interface ReferenceDeps {
  registry: Registry;
  servers: ServerAccess;
}

/**
 * Reads the list of migrations once. Whoever asks for the same schema at once waits for the same answer. What fails
 * for good (a migration that an empty database does not take) is not tried again on that server, which would cost a
 * scratch database for every tenant; it may still work on another.
 */
export async function openReferences(deps: ReferenceDeps): Promise<References> {
  const migrations = await listMigrations(deps.registry);
  const asked = new Map<string, Promise<Schema>>();
  return {
    migrations,
    at: (ordinal, place) => {
      const key = `${ordinal}/${place.serverMajor}`;
      const here = `${key}/${place.serverId}`;
      const known = asked.get(key) ?? asked.get(here) ?? reference(deps, migrations.slice(0, ordinal), place);
      asked.set(key, known);
      known.catch((error: unknown) => {
        asked.delete(key);
        if (!isRetryable(error)) asked.set(here, known);
      });
      return known;
    },
  };
}

/** The same, opened when they are first asked for; what failed is tried again at the next question. */
export function lazyReferences(deps: ReferenceDeps): () => Promise<References> {
  let opened: Promise<References> | undefined;
  return () => {
    opened ??= openReferences(deps).catch((error: unknown) => {
      opened = undefined;
      throw error;
    });
    return opened;
  };
}

async function reference(
  { registry, servers }: ReferenceDeps,
  migrations: Migration[],
  { serverId, serverMajor }: { serverId: string; serverMajor: number },
): Promise<Schema> {
  const key = { checksum: releaseChecksum(migrations), serverMajor };
  const known = await findReference(registry, key);
  if (known !== undefined) return known;
  const schema = await schemaOf(servers, serverId, migrations);
  await insertReference(registry, key, schema);
  return schema;
}
