import type { Node } from 'libpg-query';
import type { NodeOf } from '../../sql/parse.ts';
import { changes, isBounded, lockedTables, type Change } from '../data.ts';
import { list } from '../remedy.ts';
import { isNew, type Hit, type Rule, type Subject } from '../rule.ts';
import { hasNode, sqlName } from '../tree.ts';
import { isFleetTable } from './reach.ts';

/** What changes rows. */
export const DATA_RULES: Rule[] = [
  {
    id: 'dml-without-where',
    severity: 'error',
    lock: 'ROW EXCLUSIVE',
    hold: 'commit',
    finds: '`UPDATE` or `DELETE` without `WHERE` on an existing table',
    danger: 'every row is locked until the commit, and every row leaves a dead one behind',
    remedy: 'change the rows in batches, each in a transaction of its own',
    allowable: true,
    check: (subject) =>
      existing(subject)
        .filter(({ kind, where }) => (kind === 'UPDATE' || kind === 'DELETE') && !limits(where))
        .map((change) => hitOf(subject, change, 'changes every row')),
  },
  {
    id: 'dml-without-bound',
    severity: 'warning',
    lock: 'ROW EXCLUSIVE',
    hold: 'commit',
    finds:
      '`UPDATE`, `DELETE`, `MERGE` or `INSERT … SELECT` on an existing table that no key, range, list or `LIMIT` bounds',
    danger: 'as many rows as there are in the largest tenant are locked until the commit',
    remedy: 'change the rows in batches, each in a transaction of its own',
    allowable: true,
    check: (subject) =>
      existing(subject)
        .filter(({ kind, where }) => limits(where) || kind === 'MERGE' || kind === 'INSERT')
        .filter((change) => !isBounded(change))
        .map((change) => hitOf(subject, change, 'may change any number of rows')),
  },
  {
    id: 'dml-beside-ddl',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'commit',
    finds:
      '`UPDATE`, `DELETE`, `MERGE` or `INSERT … SELECT` beside DDL, both on existing tables, in one migration',
    danger: 'the lock of the DDL is kept while the rows are changed',
    remedy: 'put the schema into one migration and the rows into the next',
    allowable: true,
    check: besideDdl,
  },
];

function existing(subject: Subject): Change[] {
  // What runs range by range is bounded by that.
  if (subject.migration.backfill !== undefined && subject.migration.backfill !== null) return [];
  // Changes of the fleet's record are not to be batched, but left out.
  return changes(subject.node).filter(({ table }) => !isNew(subject, table) && !isFleetTable(table));
}

/** Whether there is a condition at all that looks at a row. */
function limits(where: Node | undefined): boolean {
  return where !== undefined && (hasNode({ where }, 'ColumnRef') || hasNode({ where }, 'SubLink'));
}

function hitOf({ text, node }: Subject, { table, kind, where }: Change, what: string): Hit {
  const on = sqlName(table);
  return {
    on: [table],
    message: `${kind} ${what} of ${on} in one transaction`,
    migrations: simple(node) ? [limits(where) ? batched(text, on) : ranged(text, kind, on)] : [],
  };
}

/** Statements that take another condition at their end. */
function simple(node: Node): boolean {
  const statement: NodeOf<'UpdateStmt'> | NodeOf<'DeleteStmt'> | undefined =
    'UpdateStmt' in node ? node.UpdateStmt : 'DeleteStmt' in node ? node.DeleteStmt : undefined;
  return (
    statement !== undefined && statement.returningClause === undefined && statement.withClause === undefined
  );
}

/** Rows of one batch: short enough for nobody to wait long. */
const BATCH = 1_000;

function batched(text: string, table: string): string {
  const [, statement = text, condition = ''] = /^(.*?)(\swhere\s.*)$/is.exec(text) ?? [];
  return (
    `-- repeat until it changes no row\n${statement}\n` +
    ` WHERE ctid = ANY (ARRAY(SELECT ctid FROM ${table}${condition} LIMIT ${BATCH}));`
  );
}

/** Rows that are changed stay as candidates, unless they are gone: so by key. */
function ranged(text: string, kind: Change['kind'], table: string): string {
  const plain = text.replace(/\swhere\s.*$/is, '');
  if (kind === 'DELETE') return batched(plain, table);
  return `-- for every range of the key\n${plain}\n WHERE id > 0 AND id <= ${BATCH};`;
}

function besideDdl(subject: Subject): Hit[] {
  const { before, migration } = subject;
  if (migration.transactional === false || before.mixed) return [];
  const [changed] = existing(subject);
  if (changed !== undefined && before.locked.size > 0) {
    const [[table = '', line = 0] = []] = before.locked;
    return [
      {
        on: [table],
        message: `changes rows of ${sqlName(changed.table)} under the lock on ${sqlName(table)} that line ${line} took`,
      },
    ];
  }
  const locked = lockedTables(subject);
  if (locked.length === 0 || before.changed.size === 0) return [];
  const [[table = '', line = 0] = []] = before.changed;
  return [
    {
      on: locked,
      message: `locks ${list(locked)} behind the rows of ${sqlName(table)} that line ${line} changed`,
    },
  ];
}
