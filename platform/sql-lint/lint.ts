import { SqlSyntaxError } from '../sql/parse.ts';
import { changes, lockedTables } from './data.ts';
import { actionTexts, cutPieces, type Piece, type Pieces } from './pieces.ts';
import { list } from './remedy.ts';
import {
  isNew,
  type Action,
  type Finding,
  type Hit,
  type Hold,
  type LintMigration,
  type Lock,
  type Rule,
  type ServerRange,
  type Subject,
  type Trace,
} from './rule.ts';
import { RULES, TEXT_RULES } from './rules.ts';
import { emptySchema, learn, type Schema } from './schema.ts';
import { keyOf, strings, tableKey } from './tree.ts';

export interface LintOptions {
  /** Major versions of the servers that it has to run on. */
  servers: ServerRange;
  /** Migrations before these, in order: they are not linted, but what they made is known. */
  history?: { name: string; upSql: string }[] | undefined;
  /** Migrations up to and with this one are taken as they are, for this reason; undefined = none. */
  baseline?: { migration: string; reason: string } | undefined;
}

/**
 * Looks for what a migration must not do to a database that is in use, without asking one: reads the SQL with
 * PostgreSQL's own parser. Only up parts are looked at. Findings come in the order of the files and lines;
 * those that a migration allows are among them.
 */
export async function lintMigrations(migrations: LintMigration[], options: LintOptions): Promise<Finding[]> {
  const schema = emptySchema();
  for (const { name, upSql } of options.history ?? []) await remember(schema, name, upSql);
  const findings: Finding[] = [];
  const last = migrations.findIndex(({ name }) => name === options.baseline?.migration);
  for (const [index, migration] of migrations.entries()) {
    const excuse = index <= last ? options.baseline?.reason : undefined;
    findings.push(...(await lintOne(schema, migration, options.servers, excuse)));
  }
  return findings;
}

/** Whether the finding stands in the way of publishing. */
export function isRefusal({ severity, allowed }: Finding): boolean {
  return severity === 'error' && allowed === null;
}

async function remember(schema: Schema, name: string, sql: string): Promise<void> {
  for (const { node } of (await cutOrNothing(sql)).pieces) learn(schema, node, name);
}

/** What was published before cannot be mended here, even where it cannot be read. */
async function cutOrNothing(sql: string): Promise<Pieces> {
  try {
    return await cutPieces(sql);
  } catch (error) {
    if (error instanceof SqlSyntaxError) return { pieces: [], opaque: [], commits: [] };
    throw error;
  }
}

async function lintOne(
  schema: Schema,
  migration: LintMigration,
  servers: ServerRange,
  excuse: string | undefined,
): Promise<Finding[]> {
  const report = reporter(migration, excuse);
  try {
    const cut = await cutPieces(migration.upSql);
    walk(schema, migration, servers, cut, report);
  } catch (error) {
    if (!(error instanceof SqlSyntaxError)) throw error;
    report.add(TEXT_RULES.syntax, { message: error.message }, error.line);
  }
  return report.done();
}

type Add = (rule: Rule, hit: Hit, line: number) => void;

function walk(
  schema: Schema,
  migration: LintMigration,
  servers: ServerRange,
  { pieces, opaque, commits }: Pieces,
  { add }: { add: Add },
): void {
  const before: Trace = { locked: new Map(), changed: new Map(), mixed: false, enumValues: new Map() };
  const count = pieces.filter(({ nested }) => !nested).length;
  for (const [index, piece] of pieces.entries()) {
    const rest = pieces.slice(index + 1).map(({ node }) => node);
    const { node, text, start } = piece;
    const fields = { node, text, start, migration, servers, schema, rest, count, before };
    const subject: Subject = { ...fields, actions: actionsOf(piece, fields) };
    for (const rule of RULES) {
      for (const hit of rule.check(subject)) {
        add(rule, hit, piece.lineOf(hit.at));
        before.mixed ||= rule.id === 'dml-beside-ddl';
      }
    }
    trace(subject, piece.lineOf());
    learn(schema, node, migration.name);
  }
  for (const line of opaque)
    add(TEXT_RULES.dynamic, { message: 'runs SQL that cannot be read before' }, line);
  const nesting = RULES.find(({ id }) => id === 'transaction-nesting');
  for (const line of commits) {
    if (nesting !== undefined) add(nesting, { message: 'ends the transaction inside a DO block' }, line);
  }
}

function actionsOf({ node, text, start }: Piece, at: Pick<Subject, 'schema' | 'migration'>): Action[] {
  if (!('AlterTableStmt' in node)) return [];
  const { relation, cmds = [] } = node.AlterTableStmt;
  const table = tableKey(relation);
  const written = actionTexts(text, (relation?.location ?? 0) - start);
  const fresh = isNew(at, table);
  return cmds.flatMap((cmd, index) => {
    if (!('AlterTableCmd' in cmd)) return [];
    const source = written[index] ?? { text: '', at: 0 };
    return [{ table, isNew: fresh, command: cmd.AlterTableCmd, text: source.text, at: start + source.at }];
  });
}

function trace(subject: Subject, line: number): void {
  const { node, before } = subject;
  for (const table of lockedTables(subject)) if (!before.locked.has(table)) before.locked.set(table, line);
  for (const { table } of changes(node)) {
    if (!isNew(subject, table) && !before.changed.has(table)) before.changed.set(table, line);
  }
  if (!('AlterEnumStmt' in node)) return;
  const type = keyOf(strings(node.AlterEnumStmt.typeName));
  const { newVal, oldVal } = node.AlterEnumStmt;
  if (newVal === undefined || oldVal !== undefined) return;
  const own = subject.schema.enums.get(type) === subject.migration.name;
  if (!own || subject.servers.min < OWN_ENUM_VALUES) before.enumValues.set(newVal, type);
}

/** From here on a value added to a type of the same transaction may be used at once. */
const OWN_ENUM_VALUES = 17;

const WAITING: Record<Lock, string> = {
  'ACCESS EXCLUSIVE': 'reads and writes',
  'SHARE ROW EXCLUSIVE': 'writes',
  SHARE: 'writes',
  'SHARE UPDATE EXCLUSIVE': 'other schema changes',
  'ROW EXCLUSIVE': 'changes of the same rows',
  none: 'nothing',
};

const WHILE: Record<Hold, string> = {
  rewrite: 'while all rows are written anew',
  scan: 'while all rows are read',
  build: 'while it is built',
  commit: 'until the migration commits',
  moment: 'for a moment, after waiting for the queries in progress',
};

/** What waits, as the reference and a finding say it. */
export function blocksText(lock: Lock, hold: Hold, on: string[]): string {
  if (lock === 'none') return WAITING.none;
  return `${WAITING[lock]}${on.length === 0 ? '' : ` of ${list(on)}`} ${WHILE[hold]}`;
}

/** Collects the findings of one migration; `excuse` allows everything that can be allowed. */
function reporter(migration: LintMigration, excuse: string | undefined): { add: Add; done: () => Finding[] } {
  const { name, file, upLine, allow = [] } = migration;
  const findings: Finding[] = [];
  const used = new Set<string>();
  const add: Add = (rule, hit, line) => {
    const allowance = rule.allowable ? allow.find((each) => each.rule === rule.id) : undefined;
    if (allowance !== undefined) used.add(rule.id);
    const lock = hit.lock ?? rule.lock;
    const inFile = upLine === undefined ? line : upLine + line - 1;
    findings.push({
      rule: rule.id,
      severity: rule.severity,
      migration: name,
      location: upLine === undefined ? `${file} (up):${line}` : `${file}:${inFile}`,
      file,
      line: inFile,
      lock,
      blocks: blocksText(lock, hit.hold ?? rule.hold, hit.on ?? []),
      message: hit.message,
      remedy: hit.remedy ?? rule.remedy,
      migrations: hit.migrations ?? [],
      allowed: allowance?.reason ?? (rule.allowable ? (excuse ?? null) : null),
    });
  };
  const done = () => {
    for (const { rule } of allow) {
      if (!used.has(rule))
        add(TEXT_RULES.unusedAllow, { message: `allows ${rule}, which finds nothing here` }, 1);
    }
    return findings.toSorted((a, b) => a.line - b.line);
  };
  return { add, done };
}
