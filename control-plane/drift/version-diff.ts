import type { MigrationSummary, SchemaChange, VersionDiff } from '../../contract/schema-diff.ts';
import { isUnreachable, summarizeError, type ErrorSummary } from '../../platform/errors.ts';
import { differenceInWords } from '../releases/diff-words.ts';
import type { Migration } from '../releases/release.ts';
import { schemaDiff } from '../releases/schema-diff.ts';
import { referencePlaces, type Place } from './place-store.ts';
import { openReferences, type ReferenceDeps, type References } from './reference.ts';

/** Two versions of the schema, as counts of published migrations; 0 is the empty database. */
export interface Versions {
  from: number;
  to: number;
}

/** Servers that are tried: one that does not answer costs seconds, and somebody waits. */
const PLACES_TRIED = 3;

/**
 * 10 s: a reference takes about one, and waits where others are made. A reader who is told to ask again finds it
 * made: it goes on, and is kept.
 */
const WAIT_MS = 10_000;

/**
 * Compares two versions of the schema, without looking at any tenant's database. That no server answers is no error:
 * the answer then says so in place of the diff.
 * @param servers on which the schemas may be made; null means all
 */
export async function diffVersions(
  deps: ReferenceDeps,
  versions: Versions,
  servers: readonly string[] | null,
): Promise<VersionDiff> {
  const references = await openReferences(deps);
  const found = await within(WAIT_MS, compareSomewhere(deps, references, versions, servers));
  const absent = 'schema' in found ? null : found;
  return {
    ...describeVersions(references.migrations, versions),
    schema: 'schema' in found ? found.schema : null,
    absent,
  };
}

/** The two versions by name, and what lies between them in the order in which it runs. */
export function describeVersions(
  migrations: readonly Migration[],
  { from, to }: Versions,
): Pick<VersionDiff, 'from' | 'to' | 'migrations'> {
  const between = migrations.slice(Math.min(from, to), Math.max(from, to)).map(summaryOf);
  return {
    from: migrations[from - 1]?.name ?? null,
    to: migrations[to - 1]?.name ?? null,
    migrations: from <= to ? between : between.reverse(),
  };
}

export function summaryOf(migration: Migration): MigrationSummary {
  return {
    name: migration.name,
    phase: migration.phase,
    requiresApp: migration.requiresApp ?? null,
    transactional: migration.transactional,
    reversible: migration.downSql !== null,
    outOfOrder: migration.outOfOrder ?? false,
    backfill: migration.backfill ?? null,
  };
}

type Comparison = { schema: SchemaChange } | ErrorSummary;

async function compareSomewhere(
  deps: ReferenceDeps,
  references: References,
  versions: Versions,
  servers: readonly string[] | null,
): Promise<Comparison> {
  const places = await referencePlaces(deps.registry, servers);
  let failure = NO_PLACE;
  for (const place of places.slice(0, PLACES_TRIED)) {
    try {
      return { schema: await compareAt(references, versions, place) };
    } catch (error) {
      const { code, message } = summarizeError(error);
      failure = { code, message: `the schemas could not be made on ${place.server}: ${message}`, fix: RETRY };
      // What is wrong with a migration is wrong on every server.
      if (!isUnreachable(error)) break;
    }
  }
  return failure;
}

const RETRY = 'fleet server list; the plan holds without the diff';
const NO_PLACE: ErrorSummary = {
  code: 'no_server',
  message: 'there is no server on which the schemas could be made',
  fix: RETRY,
};

async function compareAt(
  references: References,
  { from, to }: Versions,
  place: Place,
): Promise<SchemaChange> {
  // One after the other: a server makes one at a time.
  const before = await references.at(from, place);
  const after = await references.at(to, place);
  const name = (ordinal: number): string => references.migrations[ordinal - 1]?.name ?? 'empty database';
  const { diff } = schemaDiff(before.description, after.description, {
    before: name(from),
    after: name(to),
  });
  const summary = differenceInWords(before.description, after.description);
  return { postgres: place.serverMajor, diff, summary };
}

/** What comes too late goes on for the next one who asks. */
async function within(ms: number, work: Promise<Comparison>): Promise<Comparison> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Comparison>((resolve) => {
    timer = setTimeout(() => resolve(NOT_YET), ms);
  });
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

const NOT_YET: ErrorSummary = {
  code: 'schema_not_made_yet',
  message: 'the schemas are still being made, to be compared',
  fix: 'ask again in a moment',
};
