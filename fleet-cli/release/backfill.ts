import { Backfill } from '../../contract/backfill.ts';
import type { RenderedMigration } from '../../contract/release.ts';
import { invalid } from './invalid.ts';

const SHAPE =
  'backfill table=orders key=id batch=1000 verify="select count(*) from orders where total is null"';

export function isBackfill(words: readonly string[]): boolean {
  return words.some((word) => word === 'backfill' || word.startsWith('backfill='));
}

/**
 * Reads `backfill table=… key=… batch=… verify="…"`; a key of several columns is written `key="tenant,id"`.
 * @throws FleetError `migration_invalid`
 */
export function backfillDirectives(place: string, words: readonly string[]): Backfill {
  const [first, ...rest] = words;
  if (first !== 'backfill') throw invalid(place, `has to begin the line with backfill, such as: ${SHAPE}`);
  const given = new Map<string, string>();
  for (const word of rest) {
    const [key = '', value = ''] = word.split(/=(.*)/s);
    if (!FIELDS.has(key)) throw invalid(place, `has ${word} in its backfill; it is written: ${SHAPE}`);
    if (given.has(key)) throw invalid(place, `has ${key} twice in its backfill`);
    given.set(key, value.replace(/^"(.*)"$/s, '$1').trim());
  }
  const batch = given.get('batch');
  const verify = given.get('verify');
  const read = Backfill.safeParse({
    table: given.get('table'),
    key: given.get('key')?.split(/\s*,\s*/),
    ...(batch === undefined ? {} : { batch: Number(batch) }),
    ...(verify === undefined ? {} : { verify: bindRange(verify) }),
  });
  if (read.success) return read.data;
  const field = read.error.issues[0]?.path[0] ?? 'table';
  throw invalid(place, `has a backfill without a usable ${String(field)}; it is written: ${SHAPE}`);
}

const FIELDS = new Set(['table', 'key', 'batch', 'verify']);

/** @throws FleetError `migration_invalid` for directives that a backfill decides itself */
export function refuseBeside(
  file: string,
  said: Partial<Pick<RenderedMigration, 'phase' | 'transactional' | 'statementTimeoutMs'>>,
): void {
  if (said.phase !== undefined && said.phase !== 'migrate') {
    throw invalid(file, `is a backfill, whose phase is migrate, not ${said.phase}`);
  }
  if (said.transactional === true) {
    throw invalid(file, 'is a backfill, which runs in many transactions: leave out transaction=on');
  }
  if (said.statementTimeoutMs !== undefined) {
    throw invalid(
      file,
      'is a backfill, whose chunks have a time-out of their own: leave out statement-timeout',
    );
  }
}

/** Gives the ends of the range the names that PostgreSQL's parser knows. */
export function withRange(migration: RenderedMigration): RenderedMigration {
  if (migration.backfill === undefined) return migration;
  return { ...migration, upSql: bindRange(migration.upSql) };
}

/** Texts, names and comments, in which nothing is replaced, and then the two ends themselves. */
const TOKENS = new RegExp(
  [
    /\b[eE]'(?:\\.|''|[^'\\])*'/,
    /'(?:''|[^'])*'/,
    /"(?:""|[^"])*"/,
    /--[^\n]*/,
    /\/\*[\s\S]*?\*\//,
    /\$([A-Za-z_]\w*)?\$[\s\S]*?\$\1\$/,
    /(?<![:\w])(?::from|:to)\b/,
  ]
    .map(({ source }) => source)
    .join('|'),
  'g',
);

function bindRange(sql: string): string {
  return sql.replace(TOKENS, (token) => (token === ':from' ? '$1' : token === ':to' ? '$2' : token));
}
