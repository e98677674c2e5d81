import type { NodeOf } from '../../sql/parse.ts';
import { isConcurrentReindex } from '../../sql/refused.ts';
import { constraintName, OUTSIDE_TRANSACTION } from '../remedy.ts';
import { isNew, type Hit, type Rule, type Subject } from '../rule.ts';
import { indexColumns, listKey, sqlName, tableKey } from '../tree.ts';

/** What builds, rebuilds and drops indexes, and what joins and leaves partitioned tables. */
export const INDEX_RULES: Rule[] = [
  {
    id: 'require-concurrent-index-creation',
    severity: 'error',
    lock: 'SHARE',
    hold: 'build',
    finds: '`CREATE INDEX` without `CONCURRENTLY` on a table that an earlier migration made',
    danger: 'nobody can write to the table until the index is built',
    remedy: 'build it concurrently, in a migration of its own that runs outside a transaction',
    allowable: true,
    check: createdIndex,
  },
  {
    id: 'require-concurrent-index-deletion',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'commit',
    finds: '`DROP INDEX` without `CONCURRENTLY`',
    danger:
      'it waits for every query on the table, and everybody else waits behind it, until the migration commits',
    remedy: 'drop it concurrently, in a migration of its own that runs outside a transaction',
    allowable: true,
    check: droppedIndex,
  },
  {
    id: 'require-concurrent-reindex',
    severity: 'error',
    lock: 'SHARE',
    hold: 'build',
    finds: '`REINDEX` without `CONCURRENTLY`',
    danger: 'nobody can write to the table, nor read through the index, until it is built anew',
    remedy: 'rebuild it concurrently, in a migration of its own that runs outside a transaction',
    allowable: true,
    check: ({ node, text }) => {
      if (!('ReindexStmt' in node) || isConcurrentReindex(node.ReindexStmt)) return [];
      const { kind, relation, name } = node.ReindexStmt;
      const what = relation === undefined ? (name ?? '') : tableKey(relation);
      return [
        {
          on: kind === 'REINDEX_OBJECT_TABLE' ? [what] : [],
          message: `builds the index${kind === 'REINDEX_OBJECT_INDEX' ? '' : 'es of'} ${sqlName(what)} anew`,
          migrations: [
            `${OUTSIDE_TRANSACTION}\n${text.replace(/(\b(?:index|table|schema)\b)/i, '$1 CONCURRENTLY')};`,
          ],
        },
      ];
    },
  },
  {
    id: 'attach-partition',
    severity: 'warning',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'scan',
    finds: '`ATTACH PARTITION` of an existing table',
    danger: 'the rows of the table are checked under a lock on it, and those of the default partition too',
    remedy:
      'add a CHECK constraint that says the same as the bounds and validate it before: then no row is read',
    allowable: true,
    check: (subject) =>
      subject.actions.flatMap(({ command }) => {
        const partition = partitionOf(command);
        if (command.subtype !== 'AT_AttachPartition' || partition === undefined) return [];
        if (isNew(subject, partition)) return [];
        return [{ on: [partition], message: `checks every row of ${sqlName(partition)} against the bounds` }];
      }),
  },
  {
    id: 'detach-partition',
    severity: 'warning',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'commit',
    finds: '`DETACH PARTITION`',
    danger: 'nobody can read or write the partitioned table until the migration commits',
    remedy:
      'keep it in a migration of its own, so that the lock is short: CONCURRENTLY cannot be repeated after a crash',
    allowable: true,
    check: ({ actions, count }) =>
      actions.flatMap(({ table, isNew: fresh, command }) => {
        if (fresh || command.subtype !== 'AT_DetachPartition' || count === 1) return [];
        return [
          { on: [table], message: `locks the whole of ${sqlName(table)} for the rest of the migration` },
        ];
      }),
  },
];

function partitionOf(command: NodeOf<'AlterTableCmd'>): string | undefined {
  const { def } = command;
  return def !== undefined && 'PartitionCmd' in def ? tableKey(def.PartitionCmd.name) : undefined;
}

function createdIndex(subject: Subject): Hit[] {
  const { node, text, schema } = subject;
  if (!('IndexStmt' in node) || node.IndexStmt.concurrent === true) return [];
  const index = node.IndexStmt;
  const table = tableKey(index.relation);
  if (isNew(subject, table)) return [];
  if (schema.tables.get(table)?.partitioned === true) return partitionedIndex(index, table);
  const named = index.idxname ?? sqlName(constraintName(table, indexColumns(index), 'idx'));
  const concurrent = text.replace(/\bindex\b/i, 'INDEX CONCURRENTLY');
  const sql = index.idxname === undefined ? concurrent.replace(/(concurrently)/i, `$1 ${named}`) : concurrent;
  return [
    {
      on: [table],
      message: `builds an index on ${sqlName(table)} while nobody can write to it`,
      migrations: [`${OUTSIDE_TRANSACTION}\n${sql};`],
    },
  ];
}

function partitionedIndex(index: NodeOf<'IndexStmt'>, table: string): Hit[] {
  // ON ONLY makes an entry in the catalogue and builds nothing.
  if (index.relation?.inh !== true) return [];
  return [
    {
      on: [table],
      message: `builds an index on every partition of ${sqlName(table)} while nobody can write to them`,
      remedy:
        'create it ON ONLY the partitioned table, build it concurrently on each partition, and attach those with ALTER INDEX … ATTACH PARTITION',
    },
  ];
}

function droppedIndex({ node, schema, migration }: Subject): Hit[] {
  if (!('DropStmt' in node) || node.DropStmt.removeType !== 'OBJECT_INDEX') return [];
  if (node.DropStmt.concurrent === true) return [];
  const indexes = (node.DropStmt.objects ?? []).map(listKey).filter((key) => {
    const table = schema.indexes.get(key)?.table;
    return table === undefined || !isNew({ schema, migration }, table);
  });
  if (indexes.length === 0) return [];
  const missingOk = node.DropStmt.missing_ok === true ? 'IF EXISTS ' : '';
  return [
    {
      on: [...new Set(indexes.flatMap((key) => schema.indexes.get(key)?.table ?? []))],
      message: `drops ${indexes.map(sqlName).join(', ')} under a lock on the whole table`,
      migrations: [
        [
          OUTSIDE_TRANSACTION,
          ...indexes.map((key) => `DROP INDEX CONCURRENTLY ${missingOk}${sqlName(key)};`),
        ].join('\n'),
      ],
    },
  ];
}
