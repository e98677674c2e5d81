import type { Finding, LintReport } from '../../contract/lint.ts';
import { cleaned, cleanLine } from './clean.ts';
import type { Paint } from './style.ts';

/** Findings as `file:line: severity: what` with lock and remedy below; compilers print so, editors read it. */
export function renderFindings(findings: Finding[], paint: Paint): string {
  return cleaned(findings)
    .map((finding) => renderFinding(finding, paint))
    .join('\n\n');
}

function renderFinding(finding: Finding, paint: Paint): string {
  const { location, severity, rule, message, lock, blocks, remedy, migrations, allowed } = finding;
  const tone = allowed !== null ? 'dim' : severity === 'error' ? 'bad' : 'warn';
  const word = allowed === null ? severity : `allowed ${severity}`;
  const lines = [
    `${paint('bold', location)}: ${paint(tone, word)}: ${message} ${paint('dim', `[${rule}]`)}`,
    ...(lock === 'none' ? [] : [field(paint, 'lock', `${lock}, blocks ${blocks}`)]),
    ...(allowed === null ? [field(paint, 'instead', remedy)] : [field(paint, 'reason', allowed)]),
  ];
  if (allowed !== null) return lines.join('\n');
  return [
    ...lines,
    ...migrations.flatMap((sql, index) => sqlLines(sql, index, migrations.length, paint)),
  ].join('\n');
}

/** As wide as the longest title. */
const TITLE_WIDTH = 'instead'.length;

function field(paint: Paint, title: string, text: string): string {
  return `  ${paint('dim', title.padEnd(TITLE_WIDTH))}  ${text}`;
}

function sqlLines(sql: string, index: number, count: number, paint: Paint): string[] {
  const indent = ' '.repeat(TITLE_WIDTH + 4);
  const title = count === 1 ? [] : [paint('dim', `${indent}migration ${index + 1} of ${count}:`)];
  return [...title, ...sql.split('\n').map((line) => `${indent}${line}`)];
}

/** `2 errors, 1 warning and 1 allowed in 12 migrations, for PostgreSQL 15 to 18`. */
export function summaryText({ errors, warnings, allowed, migrations, servers }: LintReport): string {
  const found = `${plural(errors, 'error')}, ${plural(warnings, 'warning')} and ${allowed} allowed`;
  const range = servers.min === servers.max ? String(servers.min) : `${servers.min} to ${servers.max}`;
  return `${found} in ${plural(migrations, 'migration')}, for PostgreSQL ${range}`;
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** What publishing tells about findings that did not stand in its way. */
export function findingNotes(findings: Finding[]): string[] {
  return cleaned(findings, cleanLine).map(({ location, severity, rule, message, allowed }) =>
    allowed === null
      ? `${location}: ${severity}: ${message} [${rule}]`
      : `${location}: allowed: ${message} [${rule}], because: ${allowed}`,
  );
}

/** `1 warning, 2 allowed`; nothing for a clean migration. */
export function lintCell(findings: Finding[]): string {
  const allowed = findings.filter((finding) => finding.allowed !== null).length;
  const open = findings.length - allowed;
  return [open === 0 ? '' : plural(open, 'warning'), allowed === 0 ? '' : `${allowed} allowed`]
    .filter((part) => part !== '')
    .join(', ');
}

/** The rules that were broken on purpose, below a release; empty when there are none. */
export function allowedText(findings: Finding[]): string {
  const notes = findingNotes(findings.filter(({ allowed }) => allowed !== null));
  return notes.length === 0 ? '' : `\n\n${notes.join('\n')}`;
}
