import type { Node } from 'libpg-query';
import type { NodeOf } from '../sql/parse.ts';
import { isNew, type Subject } from './rule.ts';
import { columnName, conjuncts, hasNode, listKey, nodesOf, strings, tableKey } from './tree.ts';

/** A change of rows by a statement, or inside its WITH. */
export interface Change {
  kind: 'UPDATE' | 'DELETE' | 'MERGE' | 'INSERT';
  table: string;
  where: Node | undefined;
  /** Of INSERT: what is inserted. */
  source?: NodeOf<'SelectStmt'> | undefined;
}

/** Statements whose tree runs: a function's body or a rule's action does not. */
const RUNNING = [
  'SelectStmt',
  'InsertStmt',
  'UpdateStmt',
  'DeleteStmt',
  'MergeStmt',
  'CreateTableAsStmt',
  'ExplainStmt',
];

/** What a statement changes. INSERT only where it reads its rows from a table: plain values are few. */
export function changes(node: Node): Change[] {
  if (!RUNNING.some((tag) => tag in node)) return [];
  if ('ExplainStmt' in node && !(node.ExplainStmt.options ?? []).some(isAnalyze)) return [];
  const updates = [...nodesOf(node, 'UpdateStmt')].map((each): Change => ({
    kind: 'UPDATE',
    table: tableKey(each.relation),
    where: each.whereClause,
  }));
  const deletes = [...nodesOf(node, 'DeleteStmt')].map((each): Change => ({
    kind: 'DELETE',
    table: tableKey(each.relation),
    where: each.whereClause,
  }));
  const merges = [...nodesOf(node, 'MergeStmt')].map((each): Change => ({
    kind: 'MERGE',
    table: tableKey(each.relation),
    where: undefined,
  }));
  return [...updates, ...deletes, ...merges, ...[...nodesOf(node, 'InsertStmt')].flatMap(insertOf)];
}

function isAnalyze(option: Node): boolean {
  return 'DefElem' in option && option.DefElem.defname === 'analyze';
}

function insertOf(node: NodeOf<'InsertStmt'>): Change[] {
  const select = node.selectStmt;
  const source = select !== undefined && 'SelectStmt' in select ? select.SelectStmt : undefined;
  if (source === undefined || !hasNode(source, 'RangeVar')) return [];
  return [{ kind: 'INSERT', table: tableKey(node.relation), where: source.whereClause, source }];
}

/** Whether a key, a range, a list or a LIMIT bounds the rows; as far as the text tells. */
export function isBounded({ kind, where, source }: Change): boolean {
  if (kind === 'MERGE') return false;
  if (source?.limitCount !== undefined) return true;
  const parts = conjuncts(where);
  return parts.some(isBound) || hasRange(parts);
}

function isBound(part: Node): boolean {
  if ('BoolExpr' in part) {
    return part.BoolExpr.boolop === 'OR_EXPR' && (part.BoolExpr.args ?? []).every(isBound);
  }
  if ('SubLink' in part) {
    return part.SubLink.subLinkType === 'ANY_SUBLINK' && hasNode(part, 'limitCount');
  }
  if (!('A_Expr' in part)) return false;
  const { kind, lexpr, rexpr } = part.A_Expr;
  const [operator] = strings(part.A_Expr.name);
  if (kind === 'AEXPR_OP')
    return operator === '=' && (isKeyAndValue(lexpr, rexpr) || isKeyAndValue(rexpr, lexpr));
  if (kind === 'AEXPR_IN' || kind === 'AEXPR_BETWEEN') return operator !== '<>' && isFixed(rexpr);
  return kind === 'AEXPR_OP_ANY' && (isFixed(rexpr) || hasNode({ rexpr }, 'limitCount'));
}

/** A column against a value that is no truth value: `archived = true` picks no few rows. */
function isKeyAndValue(left: Node | undefined, right: Node | undefined): boolean {
  if (columnName(left) === undefined || right === undefined) return false;
  if ('A_Const' in right) return right.A_Const.boolval === undefined && right.A_Const.isnull !== true;
  return isFixed(right) || ('SubLink' in right && right.SubLink.subLinkType === 'EXPR_SUBLINK');
}

function isFixed(value: Node | undefined): boolean {
  return value !== undefined && !hasNode({ value }, 'ColumnRef') && !hasNode({ value }, 'SelectStmt');
}

/** `id > 10 AND id <= 20`. */
function hasRange(parts: Node[]): boolean {
  const [lower, upper] = [new Set<string>(), new Set<string>()];
  for (const part of parts) {
    if (!('A_Expr' in part) || part.A_Expr.kind !== 'AEXPR_OP' || !isFixed(part.A_Expr.rexpr)) continue;
    const column = columnName(part.A_Expr.lexpr);
    const [operator = ''] = strings(part.A_Expr.name);
    if (column === undefined) continue;
    if (operator.startsWith('>')) lower.add(column);
    if (operator.startsWith('<') && operator !== '<>') upper.add(column);
  }
  return [...lower].some((column) => upper.has(column));
}

/** Actions of ALTER TABLE that keep neither readers nor writers waiting. */
const LIGHT_ACTIONS = new Set([
  'AT_ValidateConstraint',
  'AT_SetStatistics',
  'AT_SetOptions',
  'AT_ResetOptions',
  'AT_SetRelOptions',
  'AT_ResetRelOptions',
  'AT_ClusterOn',
  'AT_DropCluster',
  'AT_AttachPartition',
]);

/** Existing tables that a statement locks against writers, or readers too, until the commit. */
export function lockedTables(subject: Subject): string[] {
  return ddlTables(subject).filter((table) => table !== '' && !isNew(subject, table));
}

function ddlTables({ node, actions }: Subject): string[] {
  if ('AlterTableStmt' in node) {
    return actions
      .filter(({ command }) => !LIGHT_ACTIONS.has(command.subtype ?? ''))
      .slice(0, 1)
      .map(({ table }) => table);
  }
  if ('IndexStmt' in node)
    return node.IndexStmt.concurrent === true ? [] : [tableKey(node.IndexStmt.relation)];
  if ('CreateTrigStmt' in node) return [tableKey(node.CreateTrigStmt.relation)];
  if ('RuleStmt' in node) return [tableKey(node.RuleStmt.relation)];
  if ('RenameStmt' in node && /TABLE|COLUMN|CONSTRAINT/.test(node.RenameStmt.renameType ?? '')) {
    return [tableKey(node.RenameStmt.relation)];
  }
  if ('TruncateStmt' in node) return [...nodesOf(node, 'RangeVar')].map(tableKey);
  if ('DropStmt' in node && node.DropStmt.removeType === 'OBJECT_TABLE') {
    return (node.DropStmt.objects ?? []).map(listKey);
  }
  return [];
}
