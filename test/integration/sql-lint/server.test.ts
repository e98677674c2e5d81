import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readDirectives } from '../../../fleet-cli/release/directives.ts';
import { sqlState } from '../../../platform/errors.ts';
import { withClient, type PgAddress, type PgClient } from '../../../platform/pg.ts';
import { isRefusal, lintMigrations } from '../../../platform/sql-lint/lint.ts';
import type { Finding, LintMigration } from '../../../platform/sql-lint/rule.ts';
import { NOT_VOLATILE } from '../../../platform/sql-lint/types.ts';
import { clusters } from '../../support/clusters.ts';
import { CASES, HISTORY, ROWS, type Case } from '../../unit/sql-lint/cases.ts';

const BASE = `lint_${randomBytes(4).toString('hex')}`;
const history = [{ name: '0001_history', upSql: HISTORY }];

let server: PgAddress;

function lint(
  sql: string,
  more: Partial<LintMigration> = {},
  min = 18,
  before = history,
): Promise<Finding[]> {
  const migration = { name: `000${before.length + 1}_m`, file: 'm.sql', upSql: sql, upLine: 1, ...more };
  return lintMigrations([migration], { servers: { min, max: 18 }, history: before });
}

function on<T>(database: string, work: (client: PgClient) => Promise<T>): Promise<T> {
  return withClient({ ...server, database }, { applicationName: 'test' }, async (client) => {
    await client.query(`SET TimeZone = 'UTC'`);
    return work(client);
  });
}

/** Runs `work` in a copy of the base database, which nobody else uses. */
async function inCopy<T>(work: (client: PgClient) => Promise<T>): Promise<T> {
  const copy = `${BASE}_copy`;
  await on('postgres', (client) => client.query(`CREATE DATABASE ${copy} TEMPLATE ${BASE}`));
  try {
    return await on(copy, work);
  } finally {
    await on('postgres', (client) => client.query(`DROP DATABASE ${copy} WITH (FORCE)`));
  }
}

/** File of each table, index and materialized view. */
async function files(client: PgClient): Promise<Map<string, string>> {
  const { rows } = await client.query<{ name: string; file: string }>(
    `SELECT relname AS name, relfilenode::text AS file FROM pg_class
      WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i', 'm')`,
  );
  return new Map(rows.map(({ name, file }) => [name, file]));
}

/** Relations by oid: a statement may drop or rename what it locks. */
async function relations(client: PgClient): Promise<Map<string, string>> {
  const { rows } = await client.query<{ oid: string; name: string }>(
    `SELECT oid::text, relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace`,
  );
  return new Map(rows.map(({ oid, name }) => [oid, name]));
}

/** Locks that this session holds on the relations given, as `mode name`. */
async function locks(client: PgClient, names: Map<string, string>): Promise<Set<string>> {
  const { rows } = await client.query<{ mode: string; oid: string }>(
    `SELECT mode, relation::text AS oid FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation'`,
  );
  return new Set(rows.map(({ mode, oid }) => `${mode} ${names.get(oid) ?? ''}`));
}

function lockName(lock: string): string {
  const words = lock.split(' ').map((word) => word.charAt(0) + word.slice(1).toLowerCase());
  return `${words.join('')}Lock`;
}

/** The tables that a finding says are locked. */
function tablesOf({ blocks }: Finding): string[] {
  const [, tables = ''] = /.* of (.+?) (?:while|until|for a moment)/.exec(blocks) ?? [];
  return tables.split(', ').filter((table) => table !== '');
}

/** What replaces a relation's file without being a rewrite of a table. */
const MADE_ANEW = new Set(['ban-truncate', 'require-concurrent-refresh', 'require-concurrent-reindex']);

describe('lint findings and what PostgreSQL does', () => {
  before(async () => {
    server = clusters().eu.superuser;
    await on('postgres', (client) => client.query(`CREATE DATABASE ${BASE}`));
    await on(BASE, (client) => client.query(HISTORY + ROWS));
  });
  after(async () => {
    await on('postgres', (client) => client.query(`DROP DATABASE ${BASE} WITH (FORCE)`));
  });

  for (const each of CASES.filter(
    ({ more, fails }) => more?.transactional !== false && fails === undefined,
  )) {
    it(each.sql.replaceAll('\n', ' '), async () => {
      const findings = await lint(each.sql, each.more);
      await on(BASE, async (client) => {
        const [before, names] = [await files(client), await relations(client)];
        await client.query('BEGIN');
        await client.query(each.sql);
        const [held, after] = [await locks(client, names), await files(client)];
        await client.query('ROLLBACK');
        for (const finding of findings.filter(({ lock }) => lock !== 'none')) {
          for (const table of tablesOf(finding)) {
            assert.ok(
              held.has(`${lockName(finding.lock)} ${table}`),
              `${finding.lock} on ${table}: ${[...held].join(', ')}`,
            );
          }
        }
        const changed = [...before].filter(([name, file]) => after.has(name) && after.get(name) !== file);
        const rewrites = findings.some(({ blocks }) => blocks.includes('written anew'));
        assert.equal(
          changed.length > 0,
          rewrites || findings.some(({ rule }) => MADE_ANEW.has(rule)),
          `written anew: ${changed.map(([name]) => name).join(', ') || 'nothing'}`,
        );
      });
    });
  }

  for (const each of CASES.filter(({ fails }) => fails !== undefined && fails !== 'any')) {
    it(`fails: ${each.sql}`, async () => {
      const run = on(BASE, (client) => client.query(each.sql));
      await assert.rejects(run, (error: unknown) => sqlState(error) === each.fails);
    });
  }

  for (const each of CASES.filter(
    ({ more, fails }) => more?.transactional === false && fails === undefined,
  )) {
    it(`outside a transaction: ${each.sql.replaceAll('\n', ' ')}`, async () => {
      await inCopy(async (client) => {
        for (const statement of each.sql.split(';\n')) await client.query(statement);
      });
    });
  }

  it('takes no volatile function of PostgreSQL for another', async () => {
    const { rows } = await on('postgres', (client) =>
      client.query<{ name: string }>(
        `SELECT DISTINCT proname AS name FROM pg_proc
          WHERE pronamespace = 'pg_catalog'::regnamespace AND provolatile = 'v' AND proname = ANY ($1)`,
        [[...NOT_VOLATILE]],
      ),
    );
    assert.deepEqual(rows, []);
  });
});

describe('what lint says to write instead', () => {
  before(async () => {
    server = clusters().eu.superuser;
    await on('postgres', (client) => client.query(`CREATE DATABASE ${BASE}`));
    await on(BASE, (client) => client.query(HISTORY + ROWS));
  });
  after(async () => {
    await on('postgres', (client) => client.query(`DROP DATABASE ${BASE} WITH (FORCE)`));
  });

  for (const each of CASES.filter(({ rules }) => rules.length > 0)) {
    it(each.sql.replaceAll('\n', ' '), async () => {
      const followed = new Set<string>();
      for (const min of [15, 18]) {
        for (const { rule, migrations } of (await lint(each.sql, each.more, min)).filter(isRefusal)) {
          if (followed.has(migrations.join('\n'))) continue;
          await follow(each, rule, migrations, min);
          followed.add(migrations.join('\n'));
        }
      }
    });
  }
});

/** Lints a remedy's migrations one behind the other, and runs them. */
async function follow(each: Case, rule: string, migrations: string[], min: number): Promise<void> {
  const applied = [...history];
  for (const sql of migrations) {
    const directives = readDirectives('m.sql', sql);
    const found = await lint(sql, directives, min, applied);
    assert.deepEqual(found.filter(isRefusal), [], `${rule} says to write ${sql}`);
    applied.push({ name: `000${applied.length + 1}_m`, upSql: sql });
  }
  if (each.pattern === true || each.fails !== undefined) return;
  const run = async (client: PgClient): Promise<void> => {
    for (const sql of migrations) await apply(client, sql);
  };
  if (migrations.some((sql) => sql.includes('transaction=off'))) await inCopy(run);
  else await on(BASE, async (client) => void (await client.query('BEGIN'), await run(client)));
}

/** More batches than any test has rows: a remedy that does not end fails. */
const BATCHES_MAX = 5;

async function apply(client: PgClient, sql: string): Promise<void> {
  if (!sql.startsWith('-- repeat')) {
    await client.query(sql);
    return;
  }
  for (let batch = 1; ; batch += 1) {
    assert.ok(batch <= BATCHES_MAX, `does not end: ${sql}`);
    if ((await client.query(sql)).rowCount === 0) return;
  }
}
