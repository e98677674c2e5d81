import type { NodeOf } from '../../sql/parse.ts';
import { computedColumn } from '../added-column.ts';
import { fillStep, list, notNullSteps } from '../remedy.ts';
import { isNew, type Action, type Hit, type Rule, type Subject } from '../rule.ts';
import { columnName, columnOf, sqlName, tableKey, typeText } from '../tree.ts';
import { keepsRows, missesIndexes } from '../types.ts';

/** What writes a table anew, while nobody can read it. */
export const REWRITE_RULES: Rule[] = [
  {
    id: 'adding-field-with-default',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'rewrite',
    finds:
      '`ADD COLUMN` with a volatile default (`gen_random_uuid()`, `nextval()`), `serial`, identity, `GENERATED … STORED`, or a domain with a constraint',
    danger: 'every row has to be written with a value of its own',
    remedy: 'add the column without it, set the default for new rows, then fill the old ones in batches',
    allowable: true,
    check: ({ actions, schema, servers }) =>
      actions.flatMap((action) => computedColumn(action, schema.constrainedDomains, servers)),
  },
  {
    id: 'changing-column-type',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'rewrite',
    finds:
      '`ALTER COLUMN … TYPE`, except where PostgreSQL keeps the rows: a longer `varchar`, `varchar` to `text`, more `numeric` digits at the same scale, and the like',
    danger:
      'the table and its indexes are written anew, with twice the disk; running code meets another type',
    remedy:
      'add a column of the new type, keep it in step by a trigger, fill it in batches, switch, drop the old one',
    allowable: true,
    check: (subject) => subject.actions.flatMap((action) => changedType(subject, action)),
  },
  {
    id: 'table-rewrite',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'rewrite',
    finds:
      '`CLUSTER`, `VACUUM FULL`, `SET LOGGED`, `SET UNLOGGED`, `SET TABLESPACE`, `SET ACCESS METHOD`, `SET EXPRESSION`',
    danger: 'the table is copied while nobody can read it, with twice the disk',
    remedy: 'do it in a maintenance window for one tenant at a time, or rebuild online with pg_repack',
    allowable: true,
    check: rewritten,
  },
  {
    id: 'require-concurrent-refresh',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'build',
    finds: '`REFRESH MATERIALIZED VIEW` without `CONCURRENTLY`',
    danger: 'nobody can read the view while its query runs',
    remedy: 'give the view a unique index and refresh it concurrently',
    allowable: true,
    check: (subject) => {
      const { node } = subject;
      if (!('RefreshMatViewStmt' in node) || node.RefreshMatViewStmt.concurrent === true) return [];
      const view = tableKey(node.RefreshMatViewStmt.relation);
      if (isNew(subject, view) || node.RefreshMatViewStmt.skipData === true) return [];
      return [
        {
          on: [view],
          message: `refreshes ${sqlName(view)} while nobody can read it`,
          migrations: [`REFRESH MATERIALIZED VIEW CONCURRENTLY ${sqlName(view)};`],
        },
      ];
    },
  },
  {
    id: 'ban-truncate',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'commit',
    finds: '`TRUNCATE` of an existing table',
    danger: 'all rows are gone in every tenant, and with CASCADE those of other tables',
    remedy: 'delete in batches what is to go; take a snapshot first',
    allowable: true,
    check: (subject) => {
      if (!('TruncateStmt' in subject.node)) return [];
      const { relations = [], behavior } = subject.node.TruncateStmt;
      const tables = relations.flatMap((each) => ('RangeVar' in each ? [tableKey(each.RangeVar)] : []));
      const on = tables.filter((table) => !isNew(subject, table));
      if (on.length === 0) return [];
      const more = behavior === 'DROP_CASCADE' ? ', and of every table that refers to it' : '';
      return [{ on, message: `removes all rows of ${list(on)}${more}` }];
    },
  },
];

function changedType({ schema, servers }: Subject, { table, isNew: fresh, command }: Action): Hit[] {
  const wanted = columnOf(command);
  if (fresh || command.subtype !== 'AT_AlterColumnType' || wanted === undefined) return [];
  const name = command.name ?? '';
  const known = schema.tables.get(table)?.columns.get(name);
  const to = typeText(wanted.typeName);
  const using = wanted.raw_default;
  const plain = using === undefined || isItself(using, name, to);
  const indexed = [...schema.indexes.values()].some(
    (index) => index.table === table && index.columns.includes(name),
  );
  if (known !== undefined && known.type !== '' && plain && keepsRows(known.type, to)) {
    if (!indexed || !missesIndexes(known.type, to)) return [];
  }
  const [on, column, next] = [sqlName(table), sqlName(name), sqlName(`${name}_new`)];
  const was = known === undefined || known.type === '' ? '' : ` from ${known.type}`;
  return [
    {
      on: [table],
      at: wanted.location,
      message: `changes ${on}.${column}${was} to ${to}`,
      migrations: [
        `ALTER TABLE ${on} ADD COLUMN ${next} ${to};\n-- and a trigger that keeps ${next} in step with ${column}`,
        fillStep(table, `${name}_new`, `${column}::${to}`),
        ...(known?.notNull === true ? notNullSteps(table, `${name}_new`, servers) : []),
        `-- fleet: phase=contract\nALTER TABLE ${on} DROP COLUMN ${column};\nALTER TABLE ${on} RENAME COLUMN ${next} TO ${column};`,
      ],
    },
  ];
}

/** `USING c`, or `USING c::type`: no other conversion than the one without USING. */
function isItself(
  using: NonNullable<NodeOf<'ColumnDef'>['raw_default']>,
  column: string,
  type: string,
): boolean {
  if (columnName(using) === column) return true;
  if (!('TypeCast' in using)) return false;
  return columnName(using.TypeCast.arg) === column && typeText(using.TypeCast.typeName) === type;
}

const REWRITING_ACTIONS: Record<string, string> = {
  AT_SetLogged: 'SET LOGGED',
  AT_SetUnLogged: 'SET UNLOGGED',
  AT_SetTableSpace: 'SET TABLESPACE',
  AT_SetAccessMethod: 'SET ACCESS METHOD',
  AT_SetExpression: 'SET EXPRESSION',
};

function rewritten(subject: Subject): Hit[] {
  const { node, actions } = subject;
  const hits = actions.flatMap(({ table, isNew: fresh, command, at }): Hit[] => {
    const what = REWRITING_ACTIONS[command.subtype ?? ''];
    return fresh || what === undefined
      ? []
      : [{ on: [table], at, message: `${what} writes ${sqlName(table)} anew` }];
  });
  if ('ClusterStmt' in node) {
    const table = tableKey(node.ClusterStmt.relation);
    if (!isNew(subject, table)) hits.push({ on: [table], message: `CLUSTER writes ${sqlName(table)} anew` });
  }
  if ('VacuumStmt' in node && isFull(node.VacuumStmt)) {
    const on = (node.VacuumStmt.rels ?? []).flatMap((each) =>
      'VacuumRelation' in each ? [tableKey(each.VacuumRelation.relation)] : [],
    );
    hits.push({
      on,
      message: `VACUUM FULL writes ${on.length === 0 ? 'every table' : list(on)} anew`,
      remedy: 'VACUUM without FULL gives the space back to the table; pg_repack to the disk',
    });
  }
  return hits;
}

function isFull(node: NodeOf<'VacuumStmt'>): boolean {
  return (node.options ?? []).some((option) => {
    if (!('DefElem' in option) || option.DefElem.defname !== 'full') return false;
    const { arg } = option.DefElem;
    return arg === undefined || !('String' in arg) || !/^(?:off|false|0)$/i.test(arg.String.sval ?? '');
  });
}
