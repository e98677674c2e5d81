import { scanSync, type Node } from 'libpg-query';
import type { NodeOf } from '../sql/parse.ts';

/** The search path of every migration session begins with it. */
const DEFAULT_SCHEMA = 'public';

type RangeVar = NodeOf<'RangeVar'>;

/** What a table is known by: its name, with the schema where that is not public. */
export function tableKey(range: RangeVar | undefined): string {
  return keyOf([range?.schemaname ?? '', range?.relname ?? '']);
}

/** The same for the name lists of DROP and the like. */
export function listKey(node: Node | undefined): string {
  if (node === undefined) return '';
  if ('List' in node) return keyOf(strings(node.List.items));
  if ('TypeName' in node) return keyOf(strings(node.TypeName.names));
  if ('ObjectWithArgs' in node) return keyOf(strings(node.ObjectWithArgs.objname));
  return 'String' in node ? (node.String.sval ?? '') : '';
}

/** The key of a name in parts. */
export function keyOf(parts: string[]): string {
  const [schema = '', name = ''] = parts.length === 1 ? ['', parts[0]] : parts.slice(-2);
  return schema === '' || schema === DEFAULT_SCHEMA ? name : `${schema}.${name}`;
}

export function strings(nodes: Node[] | undefined): string[] {
  return (nodes ?? []).flatMap((node) => ('String' in node ? [node.String.sval ?? ''] : []));
}

/** A name as SQL: quoted where PostgreSQL's grammar wants it. `schema.name` keeps its dot. */
export function sqlName(key: string): string {
  return key.split('.').map(quoteWhereNeeded).join('.');
}

/** From here on a keyword is no name without quotes: 3 = function or type names only, 4 = reserved. */
const KEYWORD_NEEDS_QUOTES = 3;

function quoteWhereNeeded(name: string): string {
  const plain = /^[a-z_][a-z0-9_]*$/.test(name);
  if (plain && (scanSync(name).tokens[0]?.keywordKind ?? 0) < KEYWORD_NEEDS_QUOTES) return name;
  return `"${name.replaceAll('"', '""')}"`;
}

/** Every node below `value` with this tag, outermost first. */
export function* nodesOf<K extends string>(value: unknown, tag: K): Generator<NodeOf<K>> {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, child] of Object.entries(value)) {
    if (key === tag) yield child as NodeOf<K>;
    yield* nodesOf(child, tag);
  }
}

export function hasNode(value: unknown, tag: string): boolean {
  return !nodesOf(value, tag).next().done;
}

/** `varchar(20)`, `int4`, `text[]`: without pg_catalog, as the parser names types. */
export function typeText(type: NodeOf<'TypeName'> | undefined): string {
  const names = strings(type?.names).filter((name) => name !== 'pg_catalog');
  const mods = (type?.typmods ?? []).map((mod) =>
    'A_Const' in mod ? String(mod.A_Const.ival?.ival ?? 0) : '?',
  );
  const array = (type?.arrayBounds ?? []).map(() => '[]').join('');
  return `${names.join('.')}${mods.length === 0 ? '' : `(${mods.join(',')})`}${array}`;
}

/** The column that an action of ALTER TABLE adds or gives a type. */
export function columnOf(command: NodeOf<'AlterTableCmd'>): NodeOf<'ColumnDef'> | undefined {
  return command.def !== undefined && 'ColumnDef' in command.def ? command.def.ColumnDef : undefined;
}

/** The constraint that an action of ALTER TABLE adds. */
export function constraintOf(command: NodeOf<'AlterTableCmd'>): NodeOf<'Constraint'> | undefined {
  return command.def !== undefined && 'Constraint' in command.def ? command.def.Constraint : undefined;
}

/** The constraints that stand behind a column. */
export function constraintsOf(column: NodeOf<'ColumnDef'>): NodeOf<'Constraint'>[] {
  return (column.constraints ?? []).flatMap((node) => ('Constraint' in node ? [node.Constraint] : []));
}

/** The columns that a constraint's key or an index names; an expression is `''`. */
export function indexColumns(index: NodeOf<'IndexStmt'>): string[] {
  return (index.indexParams ?? []).map((param) => ('IndexElem' in param ? (param.IndexElem.name ?? '') : ''));
}

/** The parts of a condition that all have to hold. */
export function conjuncts(condition: Node | undefined): Node[] {
  if (condition === undefined) return [];
  if (!('BoolExpr' in condition) || condition.BoolExpr.boolop !== 'AND_EXPR') return [condition];
  return (condition.BoolExpr.args ?? []).flatMap(conjuncts);
}

/** The last name of a column reference: `a` in `t.a`. */
export function columnName(node: Node | undefined): string | undefined {
  if (node === undefined || !('ColumnRef' in node)) return undefined;
  return strings(node.ColumnRef.fields).at(-1);
}

/** Columns that the condition, when it holds, proves not to be null. */
export function notNullColumns(condition: Node | undefined): string[] {
  return conjuncts(condition).flatMap((part) => {
    if (!('NullTest' in part) || part.NullTest.nulltesttype !== 'IS_NOT_NULL') return [];
    return columnName(part.NullTest.arg) ?? [];
  });
}

/** The last part of a function's name. */
export function functionName(call: NodeOf<'FuncCall'>): string {
  return strings(call.funcname).at(-1)?.toLowerCase() ?? '';
}
