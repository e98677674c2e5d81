import { isDeepStrictEqual } from 'node:util';
import type { RenderedMigration } from '../../contract/release.ts';
import { FleetError, type FieldError } from '../../platform/errors.ts';
import { migrationChecksum, type Migration } from './release.ts';

/** What a folder adds to the published list. */
export interface Offer {
  /** How many of the list, from its beginning, the folder holds. */
  known: number;
  /** What is new, in the order in which it is appended: that of the folder. */
  fresh: RenderedMigration[];
  /** Names of those of them that the folder has in front of a published one. */
  late: ReadonlySet<string>;
}

/** Databases whose last migration is the one at this place of the list. */
export interface Holders {
  ordinal: number;
  databases: number;
  /** The first of their tenants, by name. */
  tenants: string[];
}

/** For the words of a refusal. */
export interface OfferWords {
  holders?: readonly Holders[] | undefined;
  /** How the migration at this place of the list can leave it; undefined where it cannot. */
  wayBack?: ((ordinal: number) => string | undefined) | undefined;
}

export interface OfferRules extends OfferWords {
  /** Takes new migrations that stand in front of published ones, and appends them all the same. */
  allowOutOfOrder?: boolean | undefined;
}

/**
 * Holds a folder against the published list, by names and checksums: what is published is there unchanged, and what
 * is new stands behind it. The list only ever grows at its end, so that every database, old or new, applies the same
 * migrations in the same order. What was taken out of order once keeps its place in the list; where the folder has
 * it says nothing from then on.
 * A folder that ends early is no fault here (see `refuseGap`).
 * @throws FleetError 409 `migration_edited`, 409 `migration_out_of_order`, 422 `migration_invalid` (a name twice)
 */
export function takeOffer(
  published: readonly Migration[],
  offered: readonly RenderedMigration[],
  { allowOutOfOrder = false, ...words }: OfferRules = {},
): Offer {
  refuseRepeatedNames(offered);
  const list = new Map(published.map((migration) => [migration.name, migration]));
  for (const given of offered) {
    const known = list.get(given.name);
    if (known !== undefined) refuseEdit(known, given, words);
  }
  const fresh = offered.filter(({ name }) => !list.has(name));
  const count = offered.length - fresh.length;
  const names = new Set(offered.map(({ name }) => name));
  if (fresh.length > 0 || !published.slice(0, count).every(({ name }) => names.has(name))) {
    refuseMissing(published, names, words);
  }
  refuseMoved(published, offered);
  const last = offered.findLastIndex(({ name }) => list.has(name));
  const late = offered.slice(0, Math.max(0, last)).filter(({ name }) => !list.has(name));
  if (!allowOutOfOrder) refuseLate(late, { offered, list, holders: words.holders ?? [] });
  return { known: count, fresh, late: new Set(late.map(({ name }) => name)) };
}

/** @throws FleetError 409 `migration_out_of_order` naming what a folder lacks that holds `known` of the list. */
export function refuseGap(
  published: readonly Migration[],
  known: number,
  { holders = [], wayBack }: OfferWords = {},
): void {
  const missing = published.slice(known);
  const [first] = missing;
  if (first === undefined) return;
  throw new FleetError({
    code: 'migration_out_of_order',
    status: 409,
    message: `the folder ends before ${first.name}, which is published already (${missing.length} missing)${heldBy(holders, first)}`,
    fix: withWayBack(
      'bring the folder up to date (it looks like an older checkout) and publish again',
      wayBack,
      first,
    ),
    errors: missing.map((migration) => lacking(migration, holders)),
  });
}

function refuseMissing(
  published: readonly Migration[],
  names: ReadonlySet<string>,
  { holders = [], wayBack }: OfferWords,
): void {
  const missing = published.filter(({ name }) => !names.has(name));
  const [first] = missing;
  if (first === undefined) return;
  const more = missing.length > 1 ? ` (and ${missing.length - 1} more)` : '';
  throw new FleetError({
    code: 'migration_out_of_order',
    status: 409,
    message: `${first.name} is published with checksum ${first.checksum}, but it is not in the folder${more}${heldBy(holders, first)}`,
    fix: withWayBack(
      `restore ${first.name}; what is no longer wanted is taken back by a new migration`,
      wayBack,
      first,
    ),
    errors: missing.map((migration) => lacking(migration, holders)),
  });
}

function lacking(migration: Migration, holders: readonly Holders[]): FieldError {
  return {
    path: migration.name,
    message: `published with checksum ${migration.checksum}, but not in the folder${heldBy(holders, migration)}`,
  };
}

function refuseMoved(published: readonly Migration[], offered: readonly RenderedMigration[]): void {
  const places = new Map(published.filter(({ outOfOrder }) => outOfOrder !== true).map((m) => [m.name, m]));
  let last: Migration | undefined;
  for (const given of offered) {
    const known = places.get(given.name);
    if (known === undefined) continue;
    if (last !== undefined && known.ordinal < last.ordinal) throw moved(known, given, last);
    last = known;
  }
}

function moved(known: Migration, given: RenderedMigration, before: Migration): FleetError {
  return new FleetError({
    code: 'migration_out_of_order',
    status: 409,
    message: `${before.name} stands before ${known.name} in the folder, but behind it in what is published: that order cannot change`,
    fix: `give ${before.name} and ${known.name} their old names`,
    errors: [{ path: given.file, message: `published at place ${known.ordinal}, before ${before.name}` }],
  });
}

function refuseLate(
  late: readonly RenderedMigration[],
  {
    offered,
    list,
    holders,
  }: {
    offered: readonly RenderedMigration[];
    list: ReadonlyMap<string, Migration>;
    holders: readonly Holders[];
  },
): void {
  const [first] = late;
  if (first === undefined) return;
  const next = nextPublished(first, offered, list);
  const more = late.length > 1 ? ` (and ${late.length - 1} more)` : '';
  throw new FleetError({
    code: 'migration_out_of_order',
    status: 409,
    message: `${first.name} stands before ${next.name}, which is published already${more}${heldBy(holders, next)}`,
    fix:
      `give ${first.name} a number after the last published migration; or publish with --allow-out-of-order: ` +
      'it is then put behind all that is published, and every database, new ones too, runs it there',
    errors: late.map((given) => {
      const after = nextPublished(given, offered, list);
      const checksum = migrationChecksum(given.upSql, given.downSql);
      return {
        path: given.file,
        message: `new, with checksum ${checksum}, before ${after.name}, published with checksum ${after.checksum}${heldBy(holders, after)}`,
      };
    }),
  });
}

/** The first published migration that the folder has behind `given`. */
function nextPublished(
  given: RenderedMigration,
  offered: readonly RenderedMigration[],
  list: ReadonlyMap<string, Migration>,
): Migration {
  for (const { name } of offered.slice(offered.indexOf(given))) {
    const known = list.get(name);
    if (known !== undefined) return known;
  }
  throw new Error(`nothing published stands behind ${given.name}`);
}

function refuseRepeatedNames(offered: readonly RenderedMigration[]): void {
  const seen = new Map<string, string>();
  for (const { name, file } of offered) {
    const other = seen.get(name);
    if (other !== undefined) {
      throw new FleetError({
        code: 'migration_invalid',
        status: 422,
        message: `${other} and ${file} are both called ${name}`,
        fix: 'rename one of them',
        errors: [{ path: file, message: `the name ${name} is used twice` }],
      });
    }
    seen.set(name, file);
  }
}

function refuseEdit(known: Migration, given: RenderedMigration, { holders = [], wayBack }: OfferWords): void {
  const checksum = migrationChecksum(given.upSql, given.downSql);
  const changed = checksum === known.checksum ? changedDirective(known, given) : undefined;
  if (checksum === known.checksum && changed === undefined) return;
  const held = heldBy(holders, known);
  throw new FleetError({
    code: 'migration_edited',
    status: 409,
    message:
      changed === undefined
        ? `${given.name} was edited after it was published: published ${known.checksum}, now ${checksum}${held}`
        : `${given.name} was edited after it was published: its ${changed} changed (checksum ${checksum})${held}`,
    fix: withWayBack(`restore ${given.file}, and put the change into a new migration`, wayBack, known),
    errors: [{ path: given.file, message: `published ${known.checksum}, now ${checksum}${held}` }],
  });
}

function changedDirective(known: Migration, given: RenderedMigration): string | undefined {
  if (known.phase !== given.phase) return `phase (published ${known.phase}, now ${given.phase})`;
  if (known.requiresApp !== given.requiresApp) return 'requires-app';
  if (known.transactional !== given.transactional) return 'transaction directive';
  if (known.lockTimeoutMs !== given.lockTimeoutMs) return 'lock-timeout';
  if (known.statementTimeoutMs !== given.statementTimeoutMs) return 'statement-timeout';
  if (!isDeepStrictEqual(known.backfill, given.backfill)) return 'backfill directive';
  return undefined;
}

function withWayBack(fix: string, wayBack: OfferWords['wayBack'], { ordinal }: Migration): string {
  const way = wayBack?.(ordinal);
  return way === undefined ? fix : `${fix}; or, ${way}`;
}

/** Who has the migration, in words; nothing where nobody has. */
function heldBy(holders: readonly Holders[], { ordinal }: Pick<Migration, 'ordinal'>): string {
  const having = holders.filter((holder) => holder.ordinal >= ordinal);
  const count = having.reduce((sum, { databases }) => sum + databases, 0);
  if (count === 0) return '';
  const named = having
    .flatMap(({ tenants }) => tenants)
    .toSorted()
    .slice(0, TENANTS_NAMED);
  const more = count > named.length ? `, and ${count - named.length} more` : '';
  return `; applied to ${named.join(', ')}${more}`;
}

/** A refusal names this many tenants: who it is about is clear, and the line stays one. */
export const TENANTS_NAMED = 5;
