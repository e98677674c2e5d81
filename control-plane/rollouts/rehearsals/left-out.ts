import { SQLSTATE } from '../../../platform/errors.ts';
import type { Statement } from '../../releases/sql.ts';

/** A migration that a rehearsal in place goes without, as no rollback would take it back. */
export interface LeftOut {
  migration: string;
  reason: string;
  /** Whether it may be its absence that a later migration fails of, so that the failure proves nothing. */
  mayCause: (failure: Failure) => boolean;
}

/** What the server says of a statement that failed. */
export interface Failure {
  /** SQLSTATE. */
  state: string;
  /** The table whose constraint is violated, where the server names one. */
  table: string | undefined;
}

/** SQLSTATE class 22: data exception. */
const DATA_EXCEPTION = '22';
/** SQLSTATE class 23: integrity constraint violation. */
const CONSTRAINT_VIOLATION = '23';

/**
 * The rule for a migration that only makes, drops or mends indexes. It changes no row: what a constraint or a
 * conversion says of the rows holds with and without it. Only a unique index that it drops may be what is violated.
 */
export function mayCauseByIndexes(statements: readonly Statement[]): LeftOut['mayCause'] {
  const drops = statements.some(({ kind }) => kind.run === 'drop-index');
  return ({ state }) => {
    if (drops && state === SQLSTATE.uniqueViolation) return true;
    return !state.startsWith(DATA_EXCEPTION) && !state.startsWith(CONSTRAINT_VIOLATION);
  };
}

/**
 * The rule for one that may change anything that it names, as a backfill does: a violated constraint counts where its
 * table is one that the migration does not name. A foreign key has two tables, of which the server names one.
 */
export function mayCauseByNames(sql: string): LeftOut['mayCause'] {
  const lower = sql.toLowerCase();
  const words = new Set(lower.match(WORDS));
  const isNamed = (table: string): boolean =>
    words.has(table) || (/[^\w$]/.test(table) && lower.includes(table));
  return ({ state, table }) => {
    if (!state.startsWith(CONSTRAINT_VIOLATION) || state === SQLSTATE.foreignKeyViolation) return true;
    return table === undefined || isNamed(table.toLowerCase());
  };
}

const WORDS = /[\w$]+/g;

/** Whether nothing but indexes and what the planner knows is changed. */
export function isOnlyOfIndexes(statements: readonly Statement[]): boolean {
  return statements.every(
    ({ kind, text }) =>
      kind.run === 'create-index' ||
      kind.run === 'drop-index' ||
      kind.run === 'repeatable' ||
      (kind.run === 'transactional' && /^(?:set|reset|analyze)\b/i.test(text)),
  );
}
