import { quoteIdent, type PgClient } from '../../platform/pg.ts';
import type { IndexFacts, StatementKind } from './sql.ts';

/**
 * Prepares the catalogue for a statement that runs outside a transaction and may have been interrupted before.
 * Returns whether the statement is still to be run; false means that its effect is there already.
 */
export async function clearTheWay(client: PgClient, kind: StatementKind): Promise<boolean> {
  switch (kind.run) {
    case 'create-index':
      return prepareCreate(client, kind.index);
    case 'drop-index':
      return anyExists(client, kind.indexes);
    case 'repeatable':
      if (kind.rebuildsIndexes) await dropRebuildLeftovers(client);
      return true;
    case 'transactional':
    case 'forbidden':
      return true;
  }
}

interface FoundIndex extends IndexFacts {
  valid: boolean;
}

/**
 * A valid index that matches is an earlier attempt's work; an invalid one is its ruin and is dropped. Any
 * other namesake is left alone: CREATE INDEX then says itself that the name is taken.
 */
async function prepareCreate(client: PgClient, wanted: IndexFacts): Promise<boolean> {
  const found = await findIndex(client, wanted.schema, wanted.name);
  if (found === undefined || found.table !== wanted.table) return true;
  if (found.valid) return !sameIndex(found, wanted);
  await dropIndex(client, wanted.schema, wanted.name);
  return true;
}

function sameIndex(found: IndexFacts, wanted: IndexFacts): boolean {
  return (
    found.unique === wanted.unique &&
    found.method === wanted.method &&
    found.partial === wanted.partial &&
    found.columns.length === wanted.columns.length &&
    found.columns.every((column, index) => column === wanted.columns[index])
  );
}

async function findIndex(client: PgClient, schema: string, name: string): Promise<FoundIndex | undefined> {
  const { rows } = await client.query<FoundIndex>(
    `SELECT n.nspname AS schema, c.relname AS name, t.relname AS "table", i.indisunique AS "unique",
            am.amname AS method, i.indpred IS NOT NULL AS partial, i.indisvalid AS valid,
            ARRAY(SELECT a.attname::text
                    FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
                    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0
                   WHERE k.place <= i.indnkeyatts ORDER BY k.place) AS columns
       FROM pg_index i
       JOIN pg_class c ON c.oid = i.indexrelid
       JOIN pg_class t ON t.oid = i.indrelid
       JOIN pg_am am ON am.oid = c.relam
       JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relname = $2`,
    [schema, name],
  );
  return rows[0];
}

/** Dropping an index that an earlier attempt has dropped already is no error. */
async function anyExists(client: PgClient, indexes: { schema: string; name: string }[]): Promise<boolean> {
  for (const { schema, name } of indexes) {
    if ((await findIndex(client, schema, name)) !== undefined) return true;
  }
  return false;
}

/** REINDEX CONCURRENTLY that was killed leaves its half-made copies behind; they cost every write. */
async function dropRebuildLeftovers(client: PgClient): Promise<void> {
  const { rows } = await client.query<{ schema: string; name: string }>(
    `SELECT n.nspname AS schema, c.relname AS name
       FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE NOT i.indisvalid AND c.relname ~ '_cc(new|old)[0-9]*$' AND n.nspname !~ '^pg_'`,
  );
  for (const { schema, name } of rows) await dropIndex(client, schema, name);
}

async function dropIndex(client: PgClient, schema: string, name: string): Promise<void> {
  await client.query(`DROP INDEX CONCURRENTLY IF EXISTS ${quoteIdent(schema)}.${quoteIdent(name)}`);
}
