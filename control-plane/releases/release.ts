import { isDeepStrictEqual } from 'node:util';
import type { Backfill } from '../../contract/backfill.ts';
import type { Phase, RenderedMigration } from '../../contract/release.ts';
import { sha256 } from '../../platform/crypto.ts';
import { FleetError } from '../../platform/errors.ts';
import type { z } from 'zod';

/** One published migration: immutable, with its place in the one list that all releases are points on. */
export interface Migration {
  name: string;
  /** 1, 2, 3 …, without gaps. */
  ordinal: number;
  checksum: string;
  upSql: string;
  downSql: string | null;
  phase: z.infer<typeof Phase>;
  /** Of a contract step: the app version below which no running app may be. */
  requiresApp?: string | undefined;
  /** False: its statements run one by one, outside a transaction (`-- fleet: transaction=off`). */
  transactional: boolean;
  /** Milliseconds; null = the default of session.ts. */
  lockTimeoutMs: number | null;
  statementTimeoutMs: number | null;
  /** The single statements of a non-transactional migration; null for a transactional one. */
  statements: string[] | null;
  /** Given for one that is run range by range; it is never transactional. */
  backfill?: Backfill | undefined;
}

/** SHA-256 over up, NUL and down: neither can hold a NUL, so no two pairs give the same bytes. */
export function migrationChecksum(upSql: string, downSql: string | null): string {
  return sha256(`${upSql}\0${downSql ?? ''}`);
}

/**
 * The checksum of a release: each link hashes the one before it with the migration's name and checksum, so
 * that an edit, a swap or a gap anywhere changes the end.
 */
export function releaseChecksum(migrations: Pick<Migration, 'name' | 'checksum'>[]): string {
  return migrations.reduce((chain, { name, checksum }) => sha256(`${chain}\0${name}\0${checksum}`), '');
}

/**
 * Checks that `offered` continues the published list: the same migrations in the same order, unchanged, then
 * new ones. Returns how many of `offered` are published already; fewer than published where the offer stops
 * early (the caller decides whether that is an older release or a gap).
 * @throws FleetError 409 `migration_edited`, 409 `migration_out_of_order`, 422 `migration_invalid` (name twice).
 */
export function publishedPrefix(published: Migration[], offered: RenderedMigration[]): number {
  refuseRepeatedNames(offered);
  const shared = Math.min(published.length, offered.length);
  const names = new Set(offered.map((migration) => migration.name));
  for (let index = 0; index < shared; index += 1) {
    const [known, given] = [published[index], offered[index]];
    if (known === undefined || given === undefined) break;
    if (known.name !== given.name) throw outOfOrder(known, given, names.has(known.name));
    refuseEdit(known, given);
  }
  return shared;
}

/** @throws FleetError 409 `migration_out_of_order` naming what the offer lacks. */
export function refuseGap(published: Migration[], offered: RenderedMigration[]): void {
  const missing = published.slice(offered.length);
  const [first] = missing;
  if (first === undefined) return;
  throw new FleetError({
    code: 'migration_out_of_order',
    status: 409,
    message: `the folder ends before ${first.name}, which is published already (${missing.length} missing)`,
    fix: 'bring the folder up to date (it looks like an older checkout) and publish again',
    errors: missing.map(({ name }) => ({ path: name, message: 'published, but not in the folder' })),
  });
}

function refuseRepeatedNames(offered: RenderedMigration[]): void {
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

function outOfOrder(known: Migration, given: RenderedMigration, present: boolean): FleetError {
  return new FleetError({
    code: 'migration_out_of_order',
    status: 409,
    message: present
      ? `${given.name} stands before ${known.name}, which is published already: the published order cannot change`
      : `${known.name} is published, but the folder has ${given.name} in its place`,
    fix: present
      ? `give ${given.name} a number after the last published migration`
      : `restore ${known.name}, and number new migrations after it`,
    errors: [{ path: given.file, message: `expected ${known.name} at place ${known.ordinal}` }],
  });
}

function refuseEdit(known: Migration, given: RenderedMigration): void {
  const checksum = migrationChecksum(given.upSql, given.downSql);
  const changed = checksum === known.checksum ? changedDirective(known, given) : undefined;
  if (checksum === known.checksum && changed === undefined) return;
  throw new FleetError({
    code: 'migration_edited',
    status: 409,
    message:
      changed === undefined
        ? `${given.name} was edited after it was published: published ${known.checksum}, now ${checksum}`
        : `${given.name} was edited after it was published: its ${changed} changed (checksum ${checksum})`,
    fix: `restore ${given.file}, and put the change into a new migration`,
    errors: [{ path: given.file, message: `published ${known.checksum}, now ${checksum}` }],
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

/**
 * Checks what a database says it has against the published list, and returns what it still lacks. A database
 * that is past the list's end lacks nothing. A migration without a recorded checksum was applied by
 * node-pg-migrate itself and is accepted by its name.
 * @throws FleetError 409 `migration_out_of_order`, 409 `migration_edited`.
 */
export function missingMigrations(applied: Applied[], wanted: Migration[]): Migration[] {
  for (const [index, has] of applied.slice(0, wanted.length).entries()) {
    const want = wanted[index];
    if (want === undefined) break;
    if (want.name !== has.name) {
      throw new FleetError({
        code: 'migration_out_of_order',
        status: 409,
        message: `the database has ${has.name} at place ${index + 1}, where the release has ${want.name}`,
        fix: 'bring the table pgmigrations of this database in line with its schema',
      });
    }
    if (has.checksum !== null && has.checksum !== want.checksum) {
      throw new FleetError({
        code: 'migration_edited',
        status: 409,
        message: `${has.name} was applied with checksum ${has.checksum}, the release has ${want.checksum}`,
        fix: 'this database was migrated from other files; compare them before going on',
      });
    }
  }
  return wanted.slice(applied.length);
}

/** A row of a database's `pgmigrations`, with the checksum that `fleet.migrations` holds for it, if any. */
export interface Applied {
  name: string;
  checksum: string | null;
}

export function releaseNotFound(name: string): FleetError {
  return new FleetError({
    code: 'release_not_found',
    status: 404,
    message: `there is no release ${name}`,
    fix: 'fleet release list',
  });
}
