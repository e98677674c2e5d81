import type { Migration } from '../../releases/release.ts';
import { parseStatements, SqlSyntaxError, type Statement } from '../../releases/sql.ts';
import { isOnlyOfIndexes, mayCauseByIndexes, mayCauseByNames, type LeftOut } from './left-out.ts';

/** A migration that can be tried in a transaction that is rolled back, cut into its statements. */
export interface Prepared {
  migration: Migration;
  /** With the place of each in the migration's text, in characters. */
  statements: { text: string; start: number }[];
  /** Whether it adds a value to an enum: no later migration can use that in the same transaction. */
  addsEnumValue: boolean;
}

/** Each of the missing migrations, to be tried in place or to be left out there; in their order. */
export type Prepare = (missing: readonly Migration[]) => Promise<(Prepared | LeftOut)[]>;

/** Parses each migration once, for however many targets lack it. */
export function createPrepare(): Prepare {
  const known = new Map<string, Promise<Prepared | LeftOut>>();
  return async (missing) => {
    const steps: (Prepared | LeftOut)[] = [];
    for (const migration of missing) {
      const pending = known.get(migration.name) ?? prepareOne(migration);
      known.set(migration.name, pending);
      steps.push(await pending);
    }
    return steps;
  };
}

export function isLeftOut(step: Prepared | LeftOut): step is LeftOut {
  return 'mayCause' in step;
}

async function prepareOne(migration: Migration): Promise<Prepared | LeftOut> {
  const { name, upSql } = migration;
  const leaveOut = (reason: string, mayCause = mayCauseByNames(upSql)): LeftOut => {
    return { migration: name, reason: `${name} ${reason}`, mayCause };
  };
  if (migration.backfill !== undefined) return leaveOut('is a backfill, which commits chunk by chunk');
  try {
    const statements = await parseStatements(upSql);
    if (!migration.transactional) {
      const mayCause = isOnlyOfIndexes(statements) ? mayCauseByIndexes(statements) : undefined;
      return leaveOut('runs outside of a transaction', mayCause);
    }
    if (OUTLIVES_ROLLBACK.test(upSql))
      return leaveOut('calls a function whose effect no rollback takes back');
    // Publishing refuses such statements: they could end the transaction that is to be rolled back.
    if (statements.some(({ kind }) => kind.run !== 'transactional')) {
      return leaveOut('holds a statement that cannot run in a transaction');
    }
    return {
      migration,
      statements: placed(statements, upSql),
      addsEnumValue: statements.some(({ text }) => ADDS_ENUM_VALUE.test(text)),
    };
  } catch (error) {
    if (!(error instanceof SqlSyntaxError)) throw error;
    return leaveOut('cannot be cut into its statements');
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
