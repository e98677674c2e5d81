import type { Migration } from '../../releases/release.ts';
import { parseStatements, SqlSyntaxError, type Statement } from '../../releases/sql.ts';

/** A migration that can be tried in a transaction that is rolled back, cut into its statements. */
export interface Prepared {
  migration: Migration;
  /** With the place of each in the migration's text, in characters. */
  statements: { text: string; start: number }[];
  /** Whether it adds a value to an enum: no later migration can use that in the same transaction. */
  addsEnumValue: boolean;
}

/** Why a migration, and all behind it, cannot be tried so. */
export interface Obstacle {
  migration: string;
  reason: string;
}

/** What of the missing migrations can be tried in place: those before the first that cannot. */
export type Prepare = (
  missing: readonly Migration[],
) => Promise<{ ready: Prepared[]; obstacle: Obstacle | null }>;

/** Parses each migration once, for however many targets lack it. */
export function createPrepare(): Prepare {
  const known = new Map<string, Promise<Prepared | Obstacle>>();
  return async (missing) => {
    const ready: Prepared[] = [];
    for (const migration of missing) {
      const pending = known.get(migration.name) ?? prepareOne(migration);
      known.set(migration.name, pending);
      const one = await pending;
      if ('reason' in one) return { ready, obstacle: one };
      ready.push(one);
    }
    return { ready, obstacle: null };
  };
}

async function prepareOne(migration: Migration): Promise<Prepared | Obstacle> {
  const { name, upSql } = migration;
  const obstacle = (reason: string): Obstacle => ({ migration: name, reason: `${name} ${reason}` });
  if (migration.backfill !== undefined) return obstacle('is a backfill, which commits chunk by chunk');
  if (!migration.transactional) return obstacle('runs outside of a transaction');
  if (OUTLIVES_ROLLBACK.test(upSql)) return obstacle('calls a function whose effect no rollback takes back');
  try {
    const statements = await parseStatements(upSql);
    // Publishing refuses such statements: they could end the transaction that is to be rolled back.
    if (statements.some(({ kind }) => kind.run !== 'transactional')) {
      return obstacle('holds a statement that cannot run in a transaction');
    }
    return {
      migration,
      statements: placed(statements, upSql),
      addsEnumValue: statements.some(({ text }) => ADDS_ENUM_VALUE.test(text)),
    };
  } catch (error) {
    if (!(error instanceof SqlSyntaxError)) throw error;
    return obstacle('cannot be cut into its statements');
  }
}

/** In comments and strings too: a rehearsal too few does no harm. `nextval` only leaves a gap, as any failed insert. */
const OUTLIVES_ROLLBACK = /\b(?:setval|dblink\w*)\s*\(/i;

const ADDS_ENUM_VALUE = /\balter\s+type\b[^]*\badd\s+value\b/i;

function placed(statements: readonly Statement[], sql: string): Prepared['statements'] {
  let from = 0;
  return statements.map(({ text }) => {
    const start = Math.max(from, sql.indexOf(text, from));
    from = start + text.length;
    return { text, start };
  });
}
