import { InvalidArgumentError } from 'commander';
import type { LintReport } from '../../contract/lint.ts';
import type { RenderedMigration } from '../../contract/release.ts';
import { CliError, usageError } from '../errors.ts';
import { EXIT } from '../exit.ts';
import { renderFindings, summaryText } from '../output/lint-view.ts';
import { renderFolder } from '../release/folder.ts';
import type { Session } from '../session.ts';

export interface LintFlags {
  serverVersion?: LintReport['servers'];
  baseline?: string;
  detailedExitcode?: boolean;
}

/** Reads `15..18` or `18`. Which versions are supported is known to the linter, and checked by `lintFolder`. */
export function parseServers(text: string): LintReport['servers'] {
  const [, min, max = min] = /^(\d{2})(?:\.\.(\d{2}))?$/.exec(text) ?? [];
  if (min === undefined || Number(max) < Number(min)) {
    throw new InvalidArgumentError('Give a version such as 18, or a range such as 15..18.');
  }
  return { min: Number(min), max: Number(max) };
}

/**
 * Lints a folder without asking a server, with the rules that publishing applies.
 * @throws CliError exit 6 with --detailed-exitcode when something is found, else exit 1 on errors.
 */
export async function lintFolder(session: Session, folder: string, flags: LintFlags): Promise<void> {
  const migrations = await renderFolder(session.io.cwd, folder);
  const report = await lint(migrations, flags);
  const { out } = session;
  const shown =
    out.format === 'wide' ? report.findings : report.findings.filter(({ allowed }) => allowed === null);
  out.text(
    renderFindings(shown, out.paint),
    report,
    report.findings.map(({ location }) => location).join('\n'),
  );
  const found = report.errors + report.warnings;
  const exitCode = flags.detailedExitcode === true && found > 0 ? EXIT.changes : EXIT.failed;
  if (exitCode === EXIT.failed && report.errors === 0) {
    out.note(summaryText(report));
    return;
  }
  throw new CliError({
    code: report.errors > 0 ? 'lint_failed' : 'lint_warnings',
    exitCode,
    message: summaryText(report),
    fix: 'write it as shown, or say why not in the head comment of the file: -- fleet: allow=RULE reason="…"',
  });
}

async function lint(migrations: RenderedMigration[], flags: LintFlags): Promise<LintReport> {
  // Loaded here only: it brings PostgreSQL's parser.
  const { lintMigrations } = await import('../../platform/sql-lint/lint.ts');
  const { SUPPORTED_SERVERS } = await import('../../platform/sql-lint/rule.ts');
  const servers = flags.serverVersion ?? SUPPORTED_SERVERS;
  if (servers.min < SUPPORTED_SERVERS.min || servers.max > SUPPORTED_SERVERS.max) {
    const range = `${SUPPORTED_SERVERS.min}..${SUPPORTED_SERVERS.max}`;
    throw usageError(`--server-version: PostgreSQL ${range} is supported`, `--server-version ${range}`);
  }
  const { baseline: migration } = flags;
  if (migration !== undefined && !migrations.some(({ name }) => name === migration)) {
    throw usageError(`there is no migration ${migration}`, 'name a file of the folder without its ending');
  }
  const baseline = migration === undefined ? undefined : { migration, reason: 'before the baseline' };
  const findings = await lintMigrations(migrations, { servers, baseline });
  const open = findings.filter(({ allowed }) => allowed === null);
  const errors = open.filter(({ severity }) => severity === 'error').length;
  return {
    servers,
    migrations: migrations.length,
    errors,
    warnings: open.length - errors,
    allowed: findings.length - open.length,
    findings,
  };
}
