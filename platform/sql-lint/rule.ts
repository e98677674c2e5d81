import type { Node } from 'libpg-query';
import type { NodeOf } from '../sql/parse.ts';
import type { Schema } from './schema.ts';

/** An error refuses to publish, unless the migration allows the rule and says why. */
export type Severity = 'error' | 'warning';

/** PostgreSQL's table locks, as far as they keep anybody waiting; `none` for what is wrong without a lock. */
export type Lock =
  'ACCESS EXCLUSIVE' | 'SHARE ROW EXCLUSIVE' | 'SHARE' | 'SHARE UPDATE EXCLUSIVE' | 'ROW EXCLUSIVE' | 'none';

/** What the time under the lock goes by. */
export type Hold = 'rewrite' | 'scan' | 'build' | 'commit' | 'moment';

/** Major versions of PostgreSQL that the migration has to run on; both ends included. */
export interface ServerRange {
  min: number;
  max: number;
}

/** What Flotilla runs on. */
export const SUPPORTED_SERVERS: ServerRange = { min: 15, max: 18 };

/** A rule that a migration may break, and why: `-- fleet: allow=RULE reason="…"`. */
export interface Allowance {
  rule: string;
  reason: string;
}

/** One migration as it is linted: its up part, with what its head comment says. */
export interface LintMigration {
  name: string;
  /** The file it came from. */
  file: string;
  upSql: string;
  /** Line of `file` on which `upSql` begins; undefined when the SQL was generated from a script. */
  upLine?: number | undefined;
  phase?: 'expand' | 'migrate' | 'contract' | undefined;
  transactional?: boolean | undefined;
  allow?: Allowance[] | undefined;
  /** Given where the migration runs over ranges of a key, each in a transaction of its own. */
  backfill?: object | null | undefined;
}

export interface Finding {
  rule: string;
  severity: Severity;
  migration: string;
  /** `file:line`, or `file (up):line` where the SQL was generated from a script. */
  location: string;
  file: string;
  line: number;
  lock: Lock;
  /** What waits and for how long, in words. */
  blocks: string;
  message: string;
  /** What to do instead, in words. */
  remedy: string;
  /** The SQL to write instead, one entry for each migration file it takes; empty where words must do. */
  migrations: string[];
  /** The reason that the migration gives for breaking the rule; null where it does not allow it. */
  allowed: string | null;
}

/** A place where a rule is broken. What it does not say, the rule says. */
export interface Hit {
  message: string;
  /** The tables under the lock. */
  on?: string[];
  /** Byte offset in the migration's SQL; default: the statement. */
  at?: number | undefined;
  lock?: Lock;
  hold?: Hold;
  remedy?: string;
  migrations?: string[];
}

export interface Rule {
  /** squawk's name where it has the rule too. */
  id: string;
  severity: Severity;
  lock: Lock;
  hold: Hold;
  /** What it finds, for the reference. */
  finds: string;
  /** What goes wrong. */
  danger: string;
  remedy: string;
  /** False where PostgreSQL or the fleet refuses the statement anyway. */
  allowable: boolean;
  check: (subject: Subject) => Hit[];
}

/** An action of ALTER TABLE on a table. */
export interface Action {
  /** Key of the table: see `tableKey`. */
  table: string;
  /** Whether the table was made by the same migration, so that nobody waits for it. */
  isNew: boolean;
  command: NodeOf<'AlterTableCmd'>;
  /** As written: `ADD COLUMN a int`. */
  text: string;
  /** Byte offset, as the tree's locations. */
  at: number;
}

/** A statement with all that rules look at. */
export interface Subject {
  node: Node;
  text: string;
  /** Byte offset of `text` in what the tree's locations count in. */
  start: number;
  /** Of ALTER TABLE; empty for other statements. */
  actions: Action[];
  migration: LintMigration;
  servers: ServerRange;
  /** What the migrations, and the statements before this one, have made. */
  schema: Schema;
  /** The statements of the migration after this one. */
  rest: Node[];
  /** How many statements the migration has. */
  count: number;
  /** What the statements before this one did, of the same migration. */
  before: Trace;
}

/** What matters about the statements of a migration to those after them. */
export interface Trace {
  /** Existing tables that DDL has locked, with the first line. */
  locked: Map<string, number>;
  /** Existing tables whose rows were changed, with the first line. */
  changed: Map<string, number>;
  /** Whether DML beside DDL was reported. */
  mixed: boolean;
  /** Values that ALTER TYPE … ADD VALUE made. */
  enumValues: Map<string, string>;
}

/** Whether a table was made by the migration that the statement is in. */
export function isNew({ schema, migration }: Pick<Subject, 'schema' | 'migration'>, table: string): boolean {
  const known = schema.tables.get(table);
  return known !== undefined && (known.madeBy === migration.name || known.temporary);
}
