import type { NodeOf } from '../../sql/parse.ts';
import { addedColumn, columnWithout, constraintSource } from '../added-column.ts';
import {
  constraintName,
  fillStep,
  list,
  notNullSteps,
  OUTSIDE_TRANSACTION,
  validatedLater,
} from '../remedy.ts';
import type { Action, Hit, Rule, Subject } from '../rule.ts';
import { isProvenNotNull, isSerial } from '../schema.ts';
import { constraintOf, keyOf, notNullColumns, sqlName, strings, tableKey } from '../tree.ts';

/** What is checked against the rows that are there. */
export const CONSTRAINT_RULES: Rule[] = [
  {
    id: 'adding-required-field',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'moment',
    finds: '`ADD COLUMN … NOT NULL` without a default',
    danger:
      'fails (SQLSTATE 23502) in every tenant whose table has a row; code that does not know the column cannot insert',
    remedy: 'give it a constant default, or add it without NOT NULL, fill it, and make it NOT NULL then',
    allowable: true,
    check: ({ actions, servers }) => actions.flatMap((action) => requiredColumn(action, servers.min)),
  },
  {
    id: 'adding-not-nullable-field',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'scan',
    finds:
      '`SET NOT NULL`, or a primary key over it, unless a validated `CHECK (c IS NOT NULL)` stands; `ADD CONSTRAINT … NOT NULL` without `NOT VALID` (PostgreSQL 18)',
    danger: 'all rows are read while nobody can read or write the table',
    remedy:
      'add a constraint without a look at the rows, validate it in the next migration, and use it as the proof',
    allowable: true,
    check: (subject) => subject.actions.flatMap((action) => notNull(subject, action)),
  },
  {
    id: 'constraint-missing-not-valid',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'scan',
    finds: '`ADD CHECK` without `NOT VALID`, also behind `ADD COLUMN` and of a domain',
    danger: 'all rows are read while nobody can read or write the table',
    remedy:
      'add it NOT VALID and validate it in the next migration: that reads the rows beside readers and writers',
    allowable: true,
    check: (subject) => [...subject.actions.flatMap(checkConstraint), ...domainConstraint(subject)],
  },
  {
    id: 'adding-foreign-key-constraint',
    severity: 'error',
    lock: 'SHARE ROW EXCLUSIVE',
    hold: 'scan',
    finds: '`ADD FOREIGN KEY` without `NOT VALID`, and `ADD COLUMN … REFERENCES`',
    danger: 'nobody can write to either of the two tables while all rows are compared',
    remedy: 'add it NOT VALID and validate it in the next migration',
    allowable: true,
    check: ({ actions }) => actions.flatMap(foreignKey),
  },
  {
    id: 'validate-in-same-transaction',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'scan',
    finds: '`VALIDATE CONSTRAINT` in the migration that adds the constraint',
    danger: 'the lock of the first statement is kept while the second reads all rows',
    remedy: 'validate in the next migration',
    allowable: true,
    check: ({ actions, migration, schema }) =>
      actions.flatMap(({ table, isNew, command, text, at }) => {
        if (isNew || command.subtype !== 'AT_ValidateConstraint') return [];
        const constraint = schema.tables.get(table)?.constraints.get(command.name ?? '');
        if (migration.transactional === false || constraint?.madeBy !== migration.name) return [];
        return [
          {
            on: [table],
            at,
            message: `validates ${command.name ?? ''} under the lock that adding it took`,
            migrations: [`ALTER TABLE ${sqlName(table)} ${text};`],
          },
        ];
      }),
  },
  {
    id: 'disallowed-unique-constraint',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'build',
    finds: '`ADD UNIQUE` or `ADD PRIMARY KEY` without `USING INDEX`, also behind `ADD COLUMN`',
    danger: 'nobody can read or write the table while its index is built',
    remedy: 'build a unique index concurrently, and make it the constraint in the next migration',
    allowable: true,
    check: (subject) => subject.actions.flatMap((action) => uniqueConstraint(subject, action)),
  },
  {
    id: 'exclusion-constraint',
    severity: 'error',
    lock: 'ACCESS EXCLUSIVE',
    hold: 'build',
    finds: '`ADD … EXCLUDE`',
    danger: 'nobody can read or write the table while its index is built; there is no form without',
    remedy: 'make a new table with the constraint and move the rows over, or use a maintenance window',
    allowable: true,
    check: ({ actions }) =>
      actions.flatMap(({ table, isNew, command }) => {
        const constraint = constraintOf(command);
        if (isNew || constraint?.contype !== 'CONSTR_EXCLUSION') return [];
        return [{ on: [table], at: constraint.location, message: `builds an index on ${sqlName(table)}` }];
      }),
  },
];

function requiredColumn(action: Action, min: number): Hit[] {
  const added = addedColumn(action);
  if (added === undefined || isSerial(added.column)) return [];
  const required = added.constraints.filter(({ contype }) => contype === 'CONSTR_NOTNULL');
  const filled = added.constraints.some(({ contype }) =>
    ['CONSTR_DEFAULT', 'CONSTR_IDENTITY', 'CONSTR_GENERATED'].includes(contype ?? ''),
  );
  if (required.length === 0 || filled) return [];
  const { table, on, name, column } = added;
  return [
    {
      on: [table],
      at: column.location,
      message: `no row of ${on} has a value for the new column ${name}`,
      migrations: [
        `ALTER TABLE ${on} ADD COLUMN ${columnWithout(added, required)};`,
        fillStep(table, column.colname ?? '', 'NULL /* the value for the rows that are there */'),
        ...notNullSteps(table, column.colname ?? '', { min, max: min }),
      ],
    },
  ];
}

function notNull({ schema, servers }: Subject, { table, isNew, command, at }: Action): Hit[] {
  if (isNew) return [];
  const constraint = constraintOf(command);
  const unproven = columnsMadeNotNull(schema, command, constraint).filter(
    (column) => !isProvenNotNull(schema, table, column),
  );
  if (unproven.length === 0) return [];
  return [
    {
      on: [table],
      at,
      message: `looks for nulls in ${list(unproven)} in every row of ${sqlName(table)}`,
      migrations: unproven.flatMap((column) => notNullSteps(table, column, servers)),
    },
  ];
}

function columnsMadeNotNull(
  schema: Subject['schema'],
  { subtype, name }: NodeOf<'AlterTableCmd'>,
  constraint: NodeOf<'Constraint'> | undefined,
): string[] {
  if (subtype === 'AT_SetNotNull') return [name ?? ''];
  if (constraint?.contype === 'CONSTR_NOTNULL' && constraint.skip_validation !== true) {
    return strings(constraint.keys);
  }
  if (constraint?.contype !== 'CONSTR_PRIMARY' || constraint.indexname === undefined) return [];
  return schema.indexes.get(constraint.indexname)?.columns ?? [];
}

function checkConstraint(action: Action): Hit[] {
  const { table, isNew, command, text } = action;
  const constraint = constraintOf(command);
  if (!isNew && constraint?.contype === 'CONSTR_CHECK' && constraint.skip_validation !== true) {
    const name = constraint.conname ?? constraintName(table, notNullColumns(constraint.raw_expr), 'check');
    const definition = text.slice(text.search(/\bcheck\b/i));
    return [
      {
        on: [table],
        at: constraint.location,
        message: `checks every row of ${sqlName(table)}`,
        migrations: validatedLater(table, sqlName(name), definition),
      },
    ];
  }
  return columnChecks(action);
}

function columnChecks(action: Action): Hit[] {
  const added = addedColumn(action);
  const checks = (added?.constraints ?? []).filter(({ contype }) => contype === 'CONSTR_CHECK');
  if (added === undefined || checks.length === 0) return [];
  const { table, on, name } = added;
  const later = checks.map((constraint, index) => {
    const source = constraintSource(added, constraint);
    const suffix = index === 0 ? 'check' : `check${index}`;
    return validatedLater(
      table,
      sqlName(constraint.conname ?? constraintName(table, added.column.colname ?? '', suffix)),
      source.slice(source.search(/\bcheck\b/i)),
    );
  });
  return [
    {
      on: [table],
      at: checks[0]?.location,
      message: `checks the new column ${name} in every row of ${on}`,
      migrations: [
        [`ALTER TABLE ${on} ADD COLUMN ${columnWithout(added, checks)};`, ...later.map(([add]) => add)].join(
          '\n',
        ),
        later.map(([, validate]) => validate).join('\n'),
      ],
    },
  ];
}

function domainConstraint({ node }: Subject): Hit[] {
  if (!('AlterDomainStmt' in node)) return [];
  const { subtype, def, typeName } = node.AlterDomainStmt;
  const constraint = def !== undefined && 'Constraint' in def ? def.Constraint : undefined;
  // C = ADD CONSTRAINT, O = SET NOT NULL, as in PostgreSQL's parser.
  const adds = subtype === 'C' && constraint?.skip_validation !== true;
  if (!adds && subtype !== 'O') return [];
  const domain = sqlName(keyOf(strings(typeName)));
  return [
    {
      lock: 'SHARE',
      at: constraint?.location,
      message: `checks every row of every table that has a column of the type ${domain}`,
      remedy: 'add a CHECK constraint to the domain NOT VALID, and validate it in the next migration',
    },
  ];
}

function foreignKey(action: Action): Hit[] {
  const { table, isNew, command, text } = action;
  if (isNew) return [];
  const constraint = constraintOf(command);
  if (constraint?.contype === 'CONSTR_FOREIGN' && constraint.skip_validation !== true) {
    const other = tableKey(constraint.pktable);
    const name = constraint.conname ?? constraintName(table, strings(constraint.fk_attrs), 'fkey');
    return [
      {
        on: [table, other],
        at: constraint.location,
        message: `compares every row of ${sqlName(table)} with ${sqlName(other)}`,
        migrations: validatedLater(table, sqlName(name), text.slice(text.search(/\bforeign\s+key\b/i))),
      },
    ];
  }
  const added = addedColumn(action);
  const reference = added?.constraints.find(({ contype }) => contype === 'CONSTR_FOREIGN');
  if (added === undefined || reference === undefined) return [];
  const { on, name, column } = added;
  const source = constraintSource(added, reference);
  const other = tableKey(reference.pktable);
  const [add = '', validate = ''] = validatedLater(
    table,
    sqlName(reference.conname ?? constraintName(table, column.colname ?? '', 'fkey')),
    `FOREIGN KEY (${name}) ${source.slice(source.search(/\breferences\b/i))}`,
  );
  return [
    {
      on: [table],
      at: reference.location,
      lock: 'ACCESS EXCLUSIVE',
      message: `compares every row of ${on} with ${sqlName(other)}, to which nobody can write meanwhile either`,
      migrations: [`ALTER TABLE ${on} ADD COLUMN ${columnWithout(added, [reference])};\n${add}`, validate],
    },
  ];
}

function uniqueConstraint({ schema, servers }: Subject, action: Action): Hit[] {
  const { table, isNew, command, text } = action;
  if (isNew) return [];
  const added = addedColumn(action);
  const constraint = constraintOf(command) ?? added?.constraints.find(isKey);
  if (constraint === undefined || !isKey(constraint) || constraint.indexname !== undefined) return [];
  const columns = added === undefined ? strings(constraint.keys) : [added.column.colname ?? ''];
  const primary = constraint.contype === 'CONSTR_PRIMARY';
  const name = sqlName(constraint.conname ?? defaultKeyName(table, columns, primary));
  const on = sqlName(table);
  const unproven = primary ? columns.filter((column) => !isProvenNotNull(schema, table, column)) : [];
  const include =
    (constraint.including ?? []).length > 0 ? ` INCLUDE (${list(strings(constraint.including))})` : '';
  const distinct = constraint.nulls_not_distinct === true ? ' NULLS NOT DISTINCT' : '';
  const [deferral = ''] = /\bdeferrable\b.*$/is.exec(text) ?? [];
  const using = `${primary ? 'PRIMARY KEY' : 'UNIQUE'} USING INDEX ${name}`;
  return [
    {
      on: [table],
      at: constraint.location,
      message: `builds a unique index on ${on} (${list(columns)})`,
      migrations: [
        ...(added === undefined
          ? []
          : [`ALTER TABLE ${on} ADD COLUMN ${columnWithout(added, [constraint])};`]),
        `${OUTSIDE_TRANSACTION}\nCREATE UNIQUE INDEX CONCURRENTLY ${name} ON ${on} (${list(columns)})${include}${distinct};`,
        ...unproven.flatMap((column) => notNullSteps(table, column, servers)),
        `ALTER TABLE ${on} ADD CONSTRAINT ${name} ${[using, deferral].join(' ').trim()};`,
      ],
    },
  ];
}

function isKey({ contype }: NodeOf<'Constraint'>): boolean {
  return contype === 'CONSTR_UNIQUE' || contype === 'CONSTR_PRIMARY';
}

function defaultKeyName(table: string, columns: string[], primary: boolean): string {
  return primary ? constraintName(table, [], 'pkey') : constraintName(table, columns, 'key');
}
