import { z } from 'zod';

/** PostgreSQL's table locks, as far as they keep anybody waiting; `none` for what is wrong without a lock. */
const Lock = z.enum([
  'ACCESS EXCLUSIVE',
  'SHARE ROW EXCLUSIVE',
  'SHARE',
  'SHARE UPDATE EXCLUSIVE',
  'ROW EXCLUSIVE',
  'none',
]);

/** A rule that a migration may break, and why: `-- fleet: allow=RULE reason="…"`. */
export const Allowance = z.strictObject({
  rule: z.string().min(1).max(100),
  reason: z.string().trim().min(1).max(500),
});
export type Allowance = z.infer<typeof Allowance>;

/** Migrations up to and with this one are taken as they stand, with their findings, for the reason given. */
export const Baseline = z.strictObject({
  migration: z.string().min(1).max(255),
  reason: z.string().trim().min(1).max(500),
});
export type Baseline = z.infer<typeof Baseline>;

/** Something that a migration must not, or had better not, do to a database in use. docs/lint.md lists the rules. */
export const Finding = z.object({
  rule: z.string(),
  /** An error refuses to publish, unless it is allowed. */
  severity: z.enum(['error', 'warning']),
  migration: z.string(),
  /** `file:line`; `file (up):line` of the rendered SQL for a script. */
  location: z.string(),
  file: z.string(),
  line: z.number().int(),
  lock: Lock,
  /** What waits and for how long, in words. */
  blocks: z.string(),
  message: z.string(),
  /** What to do instead, in words. */
  remedy: z.string(),
  /** The SQL to write instead, one entry for each migration file that it takes. */
  migrations: z.array(z.string()),
  /** The reason that the migration gives for breaking the rule; null where it does not allow it. */
  allowed: z.string().nullable(),
});
export type Finding = z.infer<typeof Finding>;

/** What `fleet release lint -o json` prints. */
export const LintReport = z.object({
  /** Major versions of PostgreSQL that were linted for. */
  servers: z.object({ min: z.number().int(), max: z.number().int() }),
  migrations: z.number().int(),
  /** Findings that are not allowed, by severity, and those that are. */
  errors: z.number().int(),
  warnings: z.number().int(),
  allowed: z.number().int(),
  findings: z.array(Finding),
});
export type LintReport = z.infer<typeof LintReport>;
