import type { Baseline, Finding } from '../../contract/lint.ts';
import type { RenderedMigration } from '../../contract/release.ts';
import { FleetError } from '../../platform/errors.ts';
import { isRefusal, lintMigrations } from '../../platform/sql-lint/lint.ts';
import type { ServerRange } from '../../platform/sql-lint/rule.ts';
import { allowanceComplaint } from '../../platform/sql-lint/rules.ts';
import type { Migration } from './release.ts';

/** Findings beyond this many say nothing new; the answer stays readable. */
const MAX_ERRORS = 50;

export interface LintRequest {
  /** What is published already: not linted, but what it made is known. */
  published: Migration[];
  /** What is to be published, in order. */
  added: RenderedMigration[];
  servers: ServerRange;
  baseline?: Baseline | undefined;
}

/**
 * Lints what is to be published. A client may have linted it too, for other servers or with other rules: it is
 * this verdict that counts. Returns what stands in the way of nobody: warnings, and what is allowed.
 * @throws FleetError 422 `lint_failed` with `errors[].path` = file:line and `code` = the rule, 422 `migration_invalid`
 *   for an `allow` of a rule that does not exist.
 */
export async function lintRelease({ published, added, servers, baseline }: LintRequest): Promise<Finding[]> {
  for (const migration of added) refuseAllowances(migration);
  const findings = await lintMigrations(added, { servers, history: published, baseline });
  const refusals = findings.filter(isRefusal);
  const [first] = refusals;
  if (first === undefined) return findings;
  throw new FleetError({
    code: 'lint_failed',
    status: 422,
    message: `${first.location}: ${first.message} (${first.rule})${refusals.length > 1 ? `, and ${refusals.length - 1} more` : ''}`,
    errors: refusals.slice(0, MAX_ERRORS).map(asError),
    fix: 'write it as `fleet release lint` shows, or say why not in the head comment: -- fleet: allow=RULE reason="…"; nothing was published',
  });
}

function asError({ rule, location, message, lock, blocks, remedy }: Finding) {
  const locked = lock === 'none' ? '' : `; ${lock} blocks ${blocks}`;
  return { path: location, code: rule, message: `${rule}: ${message}${locked}; instead: ${remedy}` };
}

function refuseAllowances({ file, allow = [] }: RenderedMigration): void {
  for (const { rule } of allow) {
    const complaint = allowanceComplaint(rule);
    if (complaint === undefined) continue;
    throw new FleetError({
      code: 'migration_invalid',
      status: 422,
      message: `${file}: ${complaint}`,
      errors: [{ path: file, message: complaint }],
      fix: 'name a rule of docs/lint.md; nothing was published',
    });
  }
}
