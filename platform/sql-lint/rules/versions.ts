import type { Node } from 'libpg-query';
import type { NodeOf } from '../../sql/parse.ts';
import type { Hit, Rule } from '../rule.ts';
import { functionName, hasNode, nodesOf } from '../tree.ts';

/** What some of the servers are too old for. */
export const VERSION_RULES: Rule[] = [
  {
    id: 'newer-syntax',
    severity: 'error',
    lock: 'none',
    hold: 'moment',
    finds: 'syntax and functions that the oldest of the servers does not have',
    danger: 'fails on every tenant of that server',
    remedy: 'write it in what the oldest server understands, or upgrade that server first',
    allowable: true,
    check: ({ node, servers }) => {
      const needs = [...NEWER.filter(({ in: found }) => found(node)), ...newerFunctions(node)];
      return needs
        .filter(({ since }) => since > servers.min)
        .map(({ since, what, at }): Hit => ({
          at,
          message: `${what} needs PostgreSQL ${since}, and the migration has to run on ${servers.min}`,
        }));
    },
  },
];

interface Newer {
  since: number;
  what: string;
  at?: number | undefined;
}

const NEWER: (Newer & { in: (node: Node) => boolean })[] = [
  {
    since: 16,
    what: 'an SQL/JSON constructor',
    in: (node) =>
      hasAny(node, [
        'JsonObjectConstructor',
        'JsonArrayConstructor',
        'JsonObjectAgg',
        'JsonArrayAgg',
        'JsonIsPredicate',
      ]),
  },
  {
    since: 16,
    what: 'a subquery in FROM without an alias',
    in: (node) => [...nodesOf(node, 'RangeSubselect')].some(({ alias }) => alias === undefined),
  },
  { since: 17, what: 'JSON_TABLE', in: (node) => hasNode(node, 'JsonTable') },
  { since: 17, what: 'JSON_EXISTS, JSON_QUERY and JSON_VALUE', in: (node) => hasNode(node, 'JsonFuncExpr') },
  {
    since: 17,
    what: 'JSON(), JSON_SCALAR and JSON_SERIALIZE',
    in: (node) => hasAny(node, ['JsonParseExpr', 'JsonScalarExpr', 'JsonSerializeExpr']),
  },
  {
    since: 17,
    what: 'MERGE … RETURNING',
    in: (node) =>
      [...nodesOf(node, 'MergeStmt')].some(({ returningClause }) => returningClause !== undefined),
  },
  {
    since: 17,
    what: 'WHEN NOT MATCHED BY SOURCE',
    in: (node) =>
      [...nodesOf(node, 'MergeWhenClause')].some(
        ({ matchKind }) => matchKind === 'MERGE_WHEN_NOT_MATCHED_BY_SOURCE',
      ),
  },
  {
    since: 17,
    what: 'SET EXPRESSION',
    in: (node) => [...nodesOf(node, 'AlterTableCmd')].some(({ subtype }) => subtype === 'AT_SetExpression'),
  },
  {
    since: 18,
    what: 'a virtual generated column',
    in: (node) => anyConstraint(node, ({ generated_kind }) => generated_kind === 'v'),
  },
  {
    since: 18,
    what: 'NOT NULL as a constraint of the table',
    in: (node) =>
      anyConstraint(node, ({ contype, keys }) => contype === 'CONSTR_NOTNULL' && keys !== undefined),
  },
  { since: 18, what: 'NOT ENFORCED', in: isNotEnforced },
  {
    since: 18,
    what: 'WITHOUT OVERLAPS and PERIOD',
    in: (node) =>
      anyConstraint(
        node,
        ({ without_overlaps, fk_with_period }) => without_overlaps === true || fk_with_period === true,
      ),
  },
  { since: 18, what: 'RETURNING WITH (OLD, NEW)', in: (node) => hasNode(node, 'ReturningOption') },
];

/** Functions by the server that brought them; they are built in, so only their bare names count. */
const FUNCTIONS: Record<string, number> = {
  any_value: 16,
  array_sample: 16,
  array_shuffle: 16,
  random_normal: 16,
  pg_input_is_valid: 16,
  uuid_extract_timestamp: 17,
  uuid_extract_version: 17,
  unicode_version: 17,
  uuidv4: 18,
  uuidv7: 18,
  array_sort: 18,
  array_reverse: 18,
  casefold: 18,
  crc32: 18,
  crc32c: 18,
};

function newerFunctions(node: Node): Newer[] {
  return [...nodesOf(node, 'FuncCall')].flatMap((call) => {
    const name = functionName(call);
    const since = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
    return since === undefined ? [] : [{ since, what: `${name}()`, at: call.location }];
  });
}

function hasAny(node: Node, tags: string[]): boolean {
  return tags.some((tag) => hasNode(node, tag));
}

function anyConstraint(node: Node, test: (constraint: NodeOf<'Constraint'>) => boolean): boolean {
  return [...nodesOf(node, 'Constraint')].some(test);
}

/** The parser marks what is enforced, and only for these two. */
function isNotEnforced(node: Node): boolean {
  return (
    anyConstraint(
      node,
      ({ contype, is_enforced }) =>
        (contype === 'CONSTR_CHECK' || contype === 'CONSTR_FOREIGN') && is_enforced !== true,
    ) || anyConstraint(node, ({ contype }) => contype === 'CONSTR_ATTR_NOT_ENFORCED')
  );
}
