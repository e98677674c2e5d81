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

interface FoundIndex {
  valid: boolean;
  /** Everything behind the table's name, as the server writes it. */
  definition: string;
}

/**
 * A valid index that matches is an earlier attempt's work; an invalid one is its ruin and is dropped. Any
 * other namesake is left alone: CREATE INDEX then says itself that the name is taken.
 */
async function prepareCreate(client: PgClient, wanted: IndexFacts): Promise<boolean> {
  const found = await findIndex(client, wanted.schema, wanted.name, wanted.table);
  if (found === undefined) return true;
  if (found.valid) return found.definition !== (await probeDefinition(client, wanted));
  await dropIndex(client, wanted.schema, wanted.name);
  return true;
}

/** The definition that the server would give the wanted index: only it can tell how it writes an expression. */
async function probeDefinition(client: PgClient, wanted: IndexFacts): Promise<string | undefined> {
  await client.query(`BEGIN; CREATE TEMP TABLE fleet_probe (LIKE ${wanted.table})`);
  try {
    await client.query(wanted.probe);
    const { rows } = await client.query<{ definition: string }>(
      `SELECT ${DEFINITION_SQL} AS definition FROM pg_index i
        WHERE i.indrelid = 'pg_temp.fleet_probe'::regclass`,
    );
    return rows[0]?.definition;
  } finally {
    await client.query('ROLLBACK');
  }
}

const DEFINITION_SQL =
  "CASE WHEN i.indisunique THEN 'UNIQUE' ELSE '' END || substring(pg_get_indexdef(i.indexrelid) FROM ' USING .*')";

async function findIndex(
  client: PgClient,
  schema: string,
  name: string,
  table?: string,
): Promise<FoundIndex | undefined> {
  const { rows } = await client.query<FoundIndex>(
    `SELECT i.indisvalid AS valid, ${DEFINITION_SQL} AS definition
       FROM pg_index i
       JOIN pg_class c ON c.oid = i.indexrelid
       JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE n.nspname = $1 AND c.relname = $2 AND ($3::text IS NULL OR i.indrelid = to_regclass($3))`,
    [schema, name, table ?? null],
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
