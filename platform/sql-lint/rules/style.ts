import type { NodeOf } from '../../sql/parse.ts';
import type { Hit, Rule, Subject } from '../rule.ts';
import { isSerial } from '../schema.ts';
import { columnOf, constraintsOf, keyOf, sqlName, strings, typeText } from '../tree.ts';

/** What runs well today and is dear to change later. Warnings only. */
export const STYLE_RULES: Rule[] = [
  {
    ...columnRule((column) => /^json(?:\[\])*$/.test(typeText(column.typeName)), 'is json'),
    id: 'prefer-jsonb',
    finds: 'a column of the type `json`',
    danger: 'the type has no equality: `SELECT DISTINCT`, `GROUP BY` and indexes fail',
    remedy: 'use jsonb',
  },
  {
    ...columnRule((column) => /^varchar\(/.test(typeText(column.typeName)), 'has a length'),
    id: 'prefer-text-field',
    finds: 'a column of the type `varchar(n)`',
    danger: 'a shorter limit rewrites the table, and a longer one takes a lock that stops readers',
    remedy: 'use text, with a CHECK constraint on the length where there is one',
  },
  {
    ...columnRule((column) => /^bpchar/.test(typeText(column.typeName)), 'is padded with blanks'),
    id: 'ban-char-field',
    finds: 'a column of the type `char(n)`',
    danger: 'values are padded with blanks, which some comparisons see',
    remedy: 'use text',
  },
  {
    ...columnRule((column) => /^timestamp(?:\(|$|\[)/.test(typeText(column.typeName)), 'has no time zone'),
    id: 'prefer-timestamp-tz',
    finds: 'a column of the type `timestamp`',
    danger: 'the instant that it means depends on who reads it',
    remedy: 'use timestamptz',
  },
  {
    ...columnRule(isSerial, 'is serial'),
    id: 'prefer-identity',
    finds: 'a column of a `serial` type',
    danger: 'the sequence has grants and an owner of its own, and inserts may bypass it',
    remedy: 'use GENERATED ALWAYS AS IDENTITY, or uuid',
  },
  {
    ...styleRule(),
    id: 'prefer-bigint-over-int',
    finds: 'a primary key of the type `integer`, `smallint` or their serials',
    danger: 'it runs out at 2,147,483,647, and widening it then rewrites the table',
    remedy: 'use bigint, or uuid',
    check: smallKeys,
  },
  {
    ...styleRule(),
    id: 'wide-index',
    finds: 'an index of more than three columns',
    danger: 'it costs every write, and the columns behind the first ones are seldom used to search',
    remedy: 'index what the query filters by; put what it only reads into INCLUDE',
    check: ({ node }) => {
      if (!('IndexStmt' in node)) return [];
      const columns = node.IndexStmt.indexParams?.length ?? 0;
      return columns > INDEX_COLUMNS ? [{ message: `indexes ${columns} columns` }] : [];
    },
  },
  {
    ...styleRule(),
    id: 'ban-create-domain-with-constraint',
    finds: '`CREATE DOMAIN` with a constraint',
    danger:
      'a column of it rewrites the table when it is added, and a changed constraint reads every table that has one',
    remedy: 'use the base type, with a CHECK constraint on each table',
    check: ({ node }) => {
      if (!('CreateDomainStmt' in node) || (node.CreateDomainStmt.constraints ?? []).length === 0) return [];
      const domain = sqlName(keyOf(strings(node.CreateDomainStmt.domainname)));
      return [{ message: `gives the domain ${domain} a constraint` }];
    },
  },
];

/** More are seldom of use: the tasks of a request filter by one, two or three things. */
const INDEX_COLUMNS = 3;

function styleRule(): Pick<Rule, 'severity' | 'lock' | 'hold' | 'allowable'> {
  return { severity: 'warning', lock: 'none', hold: 'moment', allowable: true };
}

function columnRule(
  found: (column: NodeOf<'ColumnDef'>) => boolean,
  what: string,
): Pick<Rule, 'severity' | 'lock' | 'hold' | 'allowable' | 'check'> {
  return {
    ...styleRule(),
    check: (subject) =>
      newColumns(subject)
        .filter(found)
        .map((column): Hit => ({ at: column.location, message: `the column ${nameOf(column)} ${what}` })),
  };
}

function nameOf(column: NodeOf<'ColumnDef'>): string {
  return sqlName(column.colname ?? '');
}

/** Columns that the statement makes: by CREATE TABLE, or by ADD COLUMN. */
function newColumns({ node, actions }: Subject): NodeOf<'ColumnDef'>[] {
  if ('CreateStmt' in node) {
    return (node.CreateStmt.tableElts ?? []).flatMap((each) => ('ColumnDef' in each ? [each.ColumnDef] : []));
  }
  return actions
    .filter(({ command }) => command.subtype === 'AT_AddColumn')
    .flatMap(({ command }) => columnOf(command) ?? []);
}

const SMALL_NUMBER = /^(?:int2|int4|serial|serial2|serial4|smallserial)$/;

function smallKeys(subject: Subject): Hit[] {
  const { node } = subject;
  const named = 'CreateStmt' in node ? tableKeys(node.CreateStmt) : new Set<string>();
  return newColumns(subject)
    .filter((column) => {
      const key = constraintsOf(column).some(({ contype }) => contype === 'CONSTR_PRIMARY');
      return (key || named.has(column.colname ?? '')) && SMALL_NUMBER.test(typeText(column.typeName));
    })
    .map((column) => ({ at: column.location, message: `the key ${nameOf(column)} has 32 bits or fewer` }));
}

/** The column of a primary key that stands on its own; one of several columns has room by the others. */
function tableKeys(node: NodeOf<'CreateStmt'>): Set<string> {
  const keys = (node.tableElts ?? []).flatMap((each) =>
    'Constraint' in each && each.Constraint.contype === 'CONSTR_PRIMARY'
      ? [strings(each.Constraint.keys)]
      : [],
  );
  return new Set(keys.filter((columns) => columns.length === 1).flat());
}
