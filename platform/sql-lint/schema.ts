import type { Node } from 'libpg-query';
import type { NodeOf } from '../sql/parse.ts';
import {
  columnOf,
  constraintOf,
  constraintsOf,
  indexColumns,
  keyOf,
  listKey,
  notNullColumns,
  nodesOf,
  strings,
  tableKey,
  typeText,
} from './tree.ts';

/**
 * What migrations have made, as far as rules need it: which tables are new, what type a column has, which
 * constraints are proven. What is not in here existed before, or is unknown: rules take it for old and large.
 */
export interface Schema {
  tables: Map<string, Table>;
  indexes: Map<string, { table: string; columns: string[] }>;
  /** Enum types with the migration that made each. */
  enums: Map<string, string>;
  /** Domains with a constraint. */
  constrainedDomains: Set<string>;
}

export interface Table {
  /** Name of the migration. */
  madeBy: string;
  temporary: boolean;
  partitioned: boolean;
  columns: Map<string, Column>;
  constraints: Map<string, Constraint>;
}

export interface Column {
  madeBy: string;
  type: string;
  notNull: boolean;
}

export interface Constraint {
  madeBy: string;
  /** False after NOT VALID, until VALIDATE CONSTRAINT. */
  valid: boolean;
  /** Columns that it proves not to be null. */
  notNull: string[];
  /** A NOT NULL constraint of PostgreSQL 18, which is the column's own. */
  own: boolean;
}

export function emptySchema(): Schema {
  return { tables: new Map(), indexes: new Map(), enums: new Map(), constrainedDomains: new Set() };
}

/** Whether the column can hold no null, by its definition or by a validated constraint. */
export function isProvenNotNull(schema: Schema, table: string, column: string): boolean {
  const known = schema.tables.get(table);
  if (known?.columns.get(column)?.notNull === true) return true;
  return [...(known?.constraints.values() ?? [])].some(
    (constraint) => constraint.valid && constraint.notNull.includes(column),
  );
}

/** Adds what a statement of `migration` makes, changes or drops. */
export function learn(schema: Schema, node: Node, migration: string): void {
  if ('CreateStmt' in node) createTable(schema, node.CreateStmt, migration);
  else if ('CreateTableAsStmt' in node) addTable(schema, node.CreateTableAsStmt.into?.rel, migration);
  else if ('AlterTableStmt' in node) alterTable(schema, node.AlterTableStmt, migration);
  else if ('IndexStmt' in node) createIndex(schema, node.IndexStmt);
  else if ('RenameStmt' in node) rename(schema, node.RenameStmt);
  else if ('DropStmt' in node) drop(schema, node.DropStmt);
  else if ('CreateEnumStmt' in node) {
    schema.enums.set(keyOf(strings(node.CreateEnumStmt.typeName)), migration);
  } else if ('CreateDomainStmt' in node && (node.CreateDomainStmt.constraints ?? []).length > 0) {
    schema.constrainedDomains.add(keyOf(strings(node.CreateDomainStmt.domainname)));
  }
}

function addTable(schema: Schema, range: NodeOf<'RangeVar'> | undefined, migration: string): Table {
  const key = tableKey(range);
  const known = schema.tables.get(key);
  // IF NOT EXISTS, or a history that is not ours: the table that was there stays.
  if (known !== undefined) return known;
  const table: Table = {
    madeBy: migration,
    temporary: range?.relpersistence === 't',
    partitioned: false,
    columns: new Map(),
    constraints: new Map(),
  };
  schema.tables.set(key, table);
  return table;
}

function createTable(schema: Schema, node: NodeOf<'CreateStmt'>, migration: string): void {
  const table = addTable(schema, node.relation, migration);
  table.partitioned = node.partspec !== undefined;
  const name = tableKey(node.relation);
  for (const source of [...(node.inhRelations ?? []), ...(node.tableElts ?? [])]) {
    const range =
      'RangeVar' in source
        ? source.RangeVar
        : 'TableLikeClause' in source
          ? source.TableLikeClause.relation
          : undefined;
    for (const [column, facts] of schema.tables.get(tableKey(range))?.columns ?? []) {
      table.columns.set(column, { ...facts, madeBy: migration });
    }
  }
  for (const element of node.tableElts ?? []) {
    if ('ColumnDef' in element) addColumn(table, name, element.ColumnDef, migration);
    if ('Constraint' in element) addConstraint(table, name, element.Constraint, migration);
  }
}

const SERIAL = /^(?:small|big)?serial[248]?$/;

export function isSerial(column: NodeOf<'ColumnDef'>): boolean {
  return SERIAL.test(typeText(column.typeName));
}

function addColumn(table: Table, name: string, column: NodeOf<'ColumnDef'>, migration: string): void {
  const constraints = constraintsOf(column);
  const notNull = constraints.some(({ contype }) =>
    ['CONSTR_NOTNULL', 'CONSTR_PRIMARY', 'CONSTR_IDENTITY'].includes(contype ?? ''),
  );
  table.columns.set(column.colname ?? '', {
    madeBy: migration,
    type: typeText(column.typeName),
    notNull: notNull || isSerial(column),
  });
  for (const constraint of constraints) {
    if (constraint.contype === 'CONSTR_CHECK') addConstraint(table, name, constraint, migration);
  }
}

function addConstraint(table: Table, name: string, node: NodeOf<'Constraint'>, migration: string): void {
  const own = node.contype === 'CONSTR_NOTNULL';
  const keys = strings(node.keys);
  const valid = node.skip_validation !== true;
  if (node.contype === 'CONSTR_PRIMARY' || (own && valid)) {
    for (const key of keys) markNotNull(table, key);
  }
  table.constraints.set(node.conname ?? freeName(table, defaultName(name, node)), {
    madeBy: migration,
    valid,
    own,
    notNull: own ? keys : node.contype === 'CONSTR_CHECK' ? notNullColumns(node.raw_expr) : [],
  });
}

function markNotNull(table: Table, column: string): void {
  const known = table.columns.get(column);
  if (known !== undefined) known.notNull = true;
}

/** The name that PostgreSQL chooses where the statement gives none. */
function defaultName(table: string, node: NodeOf<'Constraint'>): string {
  const bare = table.split('.').at(-1) ?? '';
  const keys = [...strings(node.keys), ...strings(node.fk_attrs)];
  switch (node.contype) {
    case 'CONSTR_CHECK': {
      const columns = new Set(
        [...nodesOf(node.raw_expr, 'ColumnRef')].map((ref) => strings(ref.fields).at(-1)),
      );
      return [bare, ...(columns.size === 1 ? columns : []), 'check'].join('_');
    }
    case 'CONSTR_FOREIGN':
      return [bare, ...keys, 'fkey'].join('_');
    case 'CONSTR_PRIMARY':
      return `${bare}_pkey`;
    case 'CONSTR_NOTNULL':
      return [bare, ...keys, 'not_null'].join('_');
    default:
      return [bare, ...keys, 'key'].join('_');
  }
}

function freeName(table: Table, wanted: string): string {
  for (let number = 0; ; number += 1) {
    const name = number === 0 ? wanted : `${wanted}${number}`;
    if (!table.constraints.has(name)) return name;
  }
}

function alterTable(schema: Schema, node: NodeOf<'AlterTableStmt'>, migration: string): void {
  const name = tableKey(node.relation);
  if (schema.tables.get(name) === undefined) {
    // Made before the first migration we know, and by none of them.
    schema.tables.set(name, {
      madeBy: '',
      temporary: false,
      partitioned: false,
      columns: new Map(),
      constraints: new Map(),
    });
  }
  const table = schema.tables.get(name);
  if (table === undefined) return;
  for (const cmd of node.cmds ?? []) {
    if ('AlterTableCmd' in cmd) alterOne(table, name, cmd.AlterTableCmd, migration);
  }
}

function alterOne(table: Table, name: string, command: NodeOf<'AlterTableCmd'>, migration: string): void {
  const target = command.name ?? '';
  const column = columnOf(command);
  const constraint = constraintOf(command);
  switch (command.subtype) {
    case 'AT_AddColumn':
      if (column !== undefined) addColumn(table, name, column, migration);
      break;
    case 'AT_DropColumn':
      table.columns.delete(target);
      break;
    case 'AT_AlterColumnType':
      if (column !== undefined) {
        const known = table.columns.get(target);
        const type = typeText(column.typeName);
        table.columns.set(target, { madeBy: '', notNull: false, ...known, type });
      }
      break;
    case 'AT_SetNotNull':
      table.columns.set(target, { madeBy: '', type: '', ...table.columns.get(target), notNull: true });
      break;
    case 'AT_DropNotNull':
      table.columns.set(target, { madeBy: '', type: '', ...table.columns.get(target), notNull: false });
      break;
    case 'AT_AddConstraint':
      if (constraint !== undefined) addConstraint(table, name, constraint, migration);
      break;
    case 'AT_ValidateConstraint':
      validate(table, target);
      break;
    case 'AT_DropConstraint':
      table.constraints.delete(target);
      break;
    default:
  }
}

function validate(table: Table, name: string): void {
  const constraint = table.constraints.get(name);
  if (constraint === undefined) return;
  constraint.valid = true;
  if (constraint.own) for (const column of constraint.notNull) markNotNull(table, column);
}

function createIndex(schema: Schema, node: NodeOf<'IndexStmt'>): void {
  if (node.idxname === undefined) return;
  // An index is in its table's schema.
  const key = keyOf([node.relation?.schemaname ?? '', node.idxname]);
  schema.indexes.set(key, { table: tableKey(node.relation), columns: indexColumns(node) });
}

function rename(schema: Schema, node: NodeOf<'RenameStmt'>): void {
  const key = tableKey(node.relation);
  const table = schema.tables.get(key);
  if (table === undefined || node.newname === undefined) return;
  if (node.renameType === 'OBJECT_TABLE') {
    schema.tables.delete(key);
    schema.tables.set(keyOf([node.relation?.schemaname ?? '', node.newname]), table);
  } else if (node.renameType === 'OBJECT_COLUMN') {
    move(table.columns, node.subname ?? '', node.newname);
  } else if (node.renameType === 'OBJECT_TABCONSTRAINT') {
    move(table.constraints, node.subname ?? '', node.newname);
  }
}

function move<T>(map: Map<string, T>, from: string, to: string): void {
  const value = map.get(from);
  if (value === undefined) return;
  map.delete(from);
  map.set(to, value);
}

function drop(schema: Schema, node: NodeOf<'DropStmt'>): void {
  for (const object of node.objects ?? []) {
    const key = listKey(object);
    if (node.removeType === 'OBJECT_TABLE' || node.removeType === 'OBJECT_MATVIEW') schema.tables.delete(key);
    if (node.removeType === 'OBJECT_INDEX') schema.indexes.delete(key);
    if (node.removeType === 'OBJECT_TYPE') schema.enums.delete(key);
  }
}
