import type { Backfill } from '../../contract/backfill.ts';
import type { Phase } from '../../contract/release.ts';
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
  /** Its name sorts before one that was published earlier; its place in the list is behind that one all the same. */
  outOfOrder?: boolean | undefined;
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
