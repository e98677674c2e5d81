import type { Node } from 'libpg-query';
import type { NodeOf } from '../../sql/parse.ts';
import { isNew, type Action, type Hit, type Rule, type Subject } from '../rule.ts';
import { keyOf, listKey, sqlName, strings, tableKey } from '../tree.ts';

const IN_CONTRACT =
  'say `-- fleet: phase=contract` in a migration of its own, published when no running application uses it any more';

/** What breaks the code that runs against the schema as it was: allowed in the contract phase only. */
export const BREAKING_RULES: Rule[] = [
  {
    id: 'ban-drop-column',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'moment',
    finds: '`DROP COLUMN` outside `phase=contract`',
    danger: 'running code that names the column fails, and the data is gone',
    remedy: IN_CONTRACT,
    allowable: true,
    check: ({ actions, migration, schema }) =>
      actions.flatMap(({ table, isNew: fresh, command, text, at }) => {
        if (fresh || command.subtype !== 'AT_DropColumn' || migration.phase === 'contract') return [];
        const column = command.name ?? '';
        if (schema.tables.get(table)?.columns.get(column)?.madeBy === migration.name) return [];
        return [
          {
            on: [table],
            at,
            message: `drops the column ${sqlName(column)} of ${sqlName(table)}`,
            migrations: [`-- fleet: phase=contract\nALTER TABLE ${sqlName(table)} ${text};`],
          },
        ];
      }),
  },
  {
    id: 'ban-drop-table',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'moment',
    finds: '`DROP TABLE` outside `phase=contract`',
    danger: 'running code that names the table fails, and the data is gone',
    remedy: IN_CONTRACT,
    allowable: true,
    check: (subject) => dropped(subject, (type) => type === 'OBJECT_TABLE'),
  },
  {
    id: 'ban-drop-object',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'moment',
    finds:
      '`DROP` of a view, type, domain, function, sequence, schema or extension outside `phase=contract`, unless the migration makes it anew',
    danger: 'running code that uses it fails',
    remedy: IN_CONTRACT,
    allowable: true,
    check: (subject) => dropped(subject, (type) => KINDS[type] !== undefined && type !== 'OBJECT_TABLE'),
  },
  {
    id: 'renaming-column',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'moment',
    finds: '`RENAME COLUMN` outside `phase=contract`',
    danger: 'running code that uses the old name fails at once, new code fails until the rename',
    remedy: `add a column of the new name, keep both in step by a trigger, switch, drop the old one; or ${IN_CONTRACT}`,
    allowable: true,
    check: (subject) => renamed(subject, 'column'),
  },
  {
    id: 'renaming-table',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'moment',
    finds:
      '`RENAME TO` and `SET SCHEMA` of a table outside `phase=contract`, unless a view of the old name is left behind',
    danger: 'running code that uses the old name fails at once, new code fails until the rename',
    remedy: `leave a view of the old name behind, in the same migration; or ${IN_CONTRACT}`,
    allowable: true,
    check: (subject) => renamed(subject, 'table'),
  },
  {
    id: 'renaming-object',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'moment',
    finds: '`RENAME` of a schema, view, type, enum value, function or sequence outside `phase=contract`',
    danger: 'running code that uses the old name fails at once, new code fails until the rename',
    remedy: `make the new one beside it; or ${IN_CONTRACT}`,
    allowable: true,
    check: (subject) => renamed(subject, 'object'),
  },
  {
    id: 'ban-drop-not-null',
    severity: 'warning',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'moment',
    finds: '`DROP NOT NULL` outside `phase=contract`',
    danger: 'running code that reads the column may not expect a null',
    remedy: IN_CONTRACT,
    allowable: true,
    check: ({ actions, migration }) =>
      actions.flatMap(({ table, isNew: fresh, command, at }) => {
        if (fresh || command.subtype !== 'AT_DropNotNull' || migration.phase === 'contract') return [];
        return [
          { on: [table], at, message: `lets ${sqlName(command.name ?? '')} of ${sqlName(table)} be null` },
        ];
      }),
  },
  {
    id: 'drop-cascade',
    severity: 'warning',
    lock: 'none',
    hold: 'moment',
    finds: '`CASCADE` behind a `DROP`',
    danger: 'what depends on it goes too, and is not the same in every database that has drifted',
    remedy: 'name what is to go, in the order in which it can',
    allowable: true,
    check: ({ node, actions }) => {
      const cascades = actions.filter(({ command, isNew: fresh }) => !fresh && isCascade(command));
      const hits: Hit[] = cascades.map(({ text, at }) => ({
        at,
        message: `${text}: drops what it does not name`,
      }));
      if ('DropStmt' in node && node.DropStmt.behavior === 'DROP_CASCADE') {
        hits.push({ message: 'drops what it does not name' });
      }
      return hits;
    },
  },
];

function isCascade({ subtype, behavior }: Action['command']): boolean {
  return /^AT_Drop/.test(subtype ?? '') && behavior === 'DROP_CASCADE';
}

/** What a running application may name, and how it is called in a message. */
const KINDS: Record<string, string> = {
  OBJECT_TABLE: 'table',
  OBJECT_VIEW: 'view',
  OBJECT_MATVIEW: 'materialized view',
  OBJECT_FOREIGN_TABLE: 'foreign table',
  OBJECT_TYPE: 'type',
  OBJECT_DOMAIN: 'domain',
  OBJECT_FUNCTION: 'function',
  OBJECT_PROCEDURE: 'procedure',
  OBJECT_ROUTINE: 'routine',
  OBJECT_AGGREGATE: 'aggregate',
  OBJECT_SEQUENCE: 'sequence',
  OBJECT_SCHEMA: 'schema',
  OBJECT_EXTENSION: 'extension',
  OBJECT_ATTRIBUTE: 'attribute',
};

function dropped(subject: Subject, wanted: (type: string) => boolean): Hit[] {
  const { node, migration, rest, text } = subject;
  if (!('DropStmt' in node) || migration.phase === 'contract') return [];
  const { removeType = '', objects = [] } = node.DropStmt as { removeType?: string; objects?: Node[] };
  if (!wanted(removeType)) return [];
  const gone = objects
    .map(listKey)
    .filter((key) => !isNew(subject, key) && !rest.some((later) => madeKey(later, removeType) === key));
  if (gone.length === 0) return [];
  return [
    {
      on: /TABLE|VIEW/.test(removeType) ? gone : [],
      message: `drops the ${KINDS[removeType] ?? ''} ${gone.map(sqlName).join(', ')}`,
      migrations: [`-- fleet: phase=contract\n${text};`],
    },
  ];
}

/** What a statement makes that may have been dropped to be made anew: code without data in it. */
function madeKey(node: Node, type: string): string | undefined {
  if (type === 'OBJECT_VIEW' && 'ViewStmt' in node) return tableKey(node.ViewStmt.view);
  if (type === 'OBJECT_MATVIEW' && 'CreateTableAsStmt' in node) {
    return tableKey(node.CreateTableAsStmt.into?.rel);
  }
  const routine = ['OBJECT_FUNCTION', 'OBJECT_PROCEDURE', 'OBJECT_ROUTINE'].includes(type);
  return routine && 'CreateFunctionStmt' in node
    ? keyOf(strings(node.CreateFunctionStmt.funcname))
    : undefined;
}

type Renamed = 'column' | 'table' | 'object';

function renamed(subject: Subject, wanted: Renamed): Hit[] {
  const { node, migration, text, rest } = subject;
  if (migration.phase === 'contract') return [];
  const change = renaming(node);
  if (change === undefined || change.what !== wanted) return [];
  if (change.view !== undefined && rest.some((later) => madeKey(later, 'OBJECT_VIEW') === change.table))
    return [];
  if (change.table !== undefined && isNew(subject, change.table)) return [];
  return [
    {
      on: change.table === undefined ? [] : [change.table],
      message: change.message,
      migrations: [
        change.what === 'table' && change.view !== undefined
          ? `${text};\n${change.view}`
          : `-- fleet: phase=contract\n${text};`,
      ],
    },
  ];
}

interface Renaming {
  what: Renamed;
  table?: string;
  message: string;
  /** A view that stands in for the old name. */
  view?: string;
}

function renaming(node: Node): Renaming | undefined {
  if ('RenameStmt' in node) return renameStatement(node.RenameStmt);
  if ('AlterEnumStmt' in node && node.AlterEnumStmt.oldVal !== undefined) {
    return { what: 'object', message: `renames the enum value '${node.AlterEnumStmt.oldVal}'` };
  }
  if (!('AlterObjectSchemaStmt' in node)) return undefined;
  const { objectType = '', relation, object } = node.AlterObjectSchemaStmt;
  const kind = KINDS[objectType];
  if (kind === undefined) return undefined;
  const key = relation === undefined ? listKey(object) : tableKey(relation);
  const message = `moves the ${kind} ${sqlName(key)} to another schema`;
  return objectType === 'OBJECT_TABLE' ? { what: 'table', table: key, message } : { what: 'object', message };
}

function renameStatement(node: NodeOf<'RenameStmt'>): Renaming | undefined {
  const { renameType = '', relation, object, subname, newname } = node;
  const key = relation === undefined ? listKey(object) : tableKey(relation);
  const to = sqlName(newname ?? '');
  if (renameType === 'OBJECT_COLUMN') {
    const message = `renames the column ${sqlName(subname ?? '')} of ${sqlName(key)} to ${to}`;
    return { what: 'column', table: key, message };
  }
  const kind = KINDS[renameType];
  if (kind === undefined) return undefined;
  const message = `renames the ${kind} ${sqlName(subname ?? key)} to ${to}`;
  if (renameType !== 'OBJECT_TABLE') return { what: 'object', message };
  const view = `CREATE VIEW ${sqlName(key)} AS SELECT * FROM ${to};`;
  return { what: 'table', table: key, message, view };
}
