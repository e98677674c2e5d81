import type { Node } from 'libpg-query';
import { SqlSyntaxError } from '../sql/parse.ts';
import { cutPieces } from './pieces.ts';
import { listKey, nodesOf, sqlName, tableKey } from './tree.ts';

/**
 * What data goes when the SQL runs, in words: dropped tables, columns and schemas, emptied tables, deleted rows, and
 * whatever CASCADE or SQL that cannot be read before may take with it. Empty where nothing does.
 */
export async function lossesOf(sql: string): Promise<string[]> {
  try {
    const { pieces, opaque } = await cutPieces(sql);
    const found = pieces.flatMap(({ node }) => lossesIn(node));
    return [...new Set(opaque.length === 0 ? found : [...found, UNREADABLE])];
  } catch (error) {
    if (error instanceof SqlSyntaxError) return [UNREADABLE];
    throw error;
  }
}

const UNREADABLE = 'runs SQL that cannot be read before';

function lossesIn(node: Node): string[] {
  if ('DropStmt' in node) return dropped(node.DropStmt);
  if ('AlterTableStmt' in node) {
    const table = sqlName(tableKey(node.AlterTableStmt.relation));
    return [...nodesOf(node, 'AlterTableCmd')]
      .filter(({ subtype }) => subtype === 'AT_DropColumn')
      .map(({ name = '' }) => `drops the column ${sqlName(name)} of ${table}`);
  }
  if ('TruncateStmt' in node) {
    return [...nodesOf(node, 'RangeVar')].map((table) => `empties ${sqlName(tableKey(table))}`);
  }
  return [...nodesOf(node, 'DeleteStmt')].map(
    ({ relation }) => `deletes rows of ${sqlName(tableKey(relation))}`,
  );
}

interface Drop {
  removeType?: string;
  objects?: Node[];
  behavior?: string;
}

/** What holds data by itself. */
const HOLDERS: Record<string, string> = {
  OBJECT_TABLE: 'table',
  OBJECT_SCHEMA: 'schema',
  OBJECT_SEQUENCE: 'sequence',
};

function dropped({ removeType = '', objects = [], behavior }: Drop): string[] {
  const kind = HOLDERS[removeType];
  const named =
    kind === undefined ? [] : objects.map((each) => `drops the ${kind} ${sqlName(listKey(each))}`);
  return behavior === 'DROP_CASCADE' ? [...named, 'drops what it does not name (CASCADE)'] : named;
}
