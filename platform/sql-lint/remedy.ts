import type { ServerRange } from './rule.ts';
import { sqlName } from './tree.ts';

/** First server that can add a NOT NULL constraint without a scan under the lock. */
export const NOT_NULL_NOT_VALID = 18;

/** Stands on top of a migration whose statements cannot run in a transaction. */
export const OUTSIDE_TRANSACTION = '-- fleet: transaction=off';

/** Rows that one transaction changes: short enough for nobody to wait long. */
const ROWS_AT_ONCE = 1_000;

/** The migrations that make a column NOT NULL without reading the table under a lock that stops readers. */
export function notNullSteps(table: string, column: string, servers: ServerRange): string[] {
  const [on, name] = [sqlName(table), sqlName(column)];
  const constraint = sqlName(constraintName(table, column, 'not_null'));
  const validate = `ALTER TABLE ${on} VALIDATE CONSTRAINT ${constraint};`;
  if (servers.min >= NOT_NULL_NOT_VALID) {
    return [`ALTER TABLE ${on} ADD CONSTRAINT ${constraint} NOT NULL ${name} NOT VALID;`, validate];
  }
  return [
    `ALTER TABLE ${on} ADD CONSTRAINT ${constraint} CHECK (${name} IS NOT NULL) NOT VALID;`,
    validate,
    `ALTER TABLE ${on} ALTER COLUMN ${name} SET NOT NULL;\nALTER TABLE ${on} DROP CONSTRAINT ${constraint};`,
  ];
}

/** A constraint that is added without a look at the rows, and checked in the next migration. */
export function validatedLater(table: string, constraint: string, definition: string): string[] {
  const on = sqlName(table);
  return [
    `ALTER TABLE ${on} ADD CONSTRAINT ${constraint} ${definition} NOT VALID;`,
    `ALTER TABLE ${on} VALIDATE CONSTRAINT ${constraint};`,
  ];
}

/** One batch of filling a column; it is repeated until no row is left. */
export function fillStep(table: string, column: string, value: string): string {
  const [on, name] = [sqlName(table), sqlName(column)];
  return (
    `-- repeat until it changes no row\nUPDATE ${on} SET ${name} = ${value}\n` +
    ` WHERE ctid = ANY (ARRAY(SELECT ctid FROM ${on} WHERE ${name} IS NULL LIMIT ${ROWS_AT_ONCE}));`
  );
}

/** A name as PostgreSQL would choose it, cut to the length that it allows; not quoted yet. */
export function constraintName(table: string, columns: string | string[], suffix: string): string {
  const bare = table.split('.').at(-1) ?? '';
  const words = [bare, ...[columns].flat().filter((column) => column !== '')].join('_');
  return `${words.slice(0, NAME_MAX - suffix.length - 1)}_${suffix}`.replaceAll('.', '_');
}

/** NAMEDATALEN − 1. */
const NAME_MAX = 63;

export function list(names: string[]): string {
  return names.map(sqlName).join(', ');
}
