import { AppVersion } from '../../contract/app.ts';
import { Phase, type RenderedMigration } from '../../contract/release.ts';
import type { Allowance } from '../../contract/lint.ts';
import { allowanceComplaint } from '../../platform/sql-lint/rules.ts';
import { backfillDirectives, isBackfill, refuseBeside } from './backfill.ts';
import { invalid } from './invalid.ts';

/** What a head comment may say about its migration. */
export type Directives = Pick<
  RenderedMigration,
  'phase' | 'requiresApp' | 'transactional' | 'lockTimeoutMs' | 'statementTimeoutMs' | 'allow' | 'backfill'
>;

const DIRECTIVE_LINE = /^\s*(?:--|\/\/)\s*fleet:(.*)$/i;
const HEAD_LINE = /^\s*(?:(?:--|\/\/).*)?$/;

/**
 * Reads the `-- fleet: key=value …` lines of the head comment (`//` in scripts): the lines before the first that
 * is neither empty nor a comment.
 * @throws FleetError `migration_invalid` with file:line for a directive that is unknown, malformed, or stands
 *   below the head, where nobody would look for it.
 */
export function readDirectives(file: string, text: string): Directives {
  const lines = text.split('\n').map((line) => line.replace(/\r$/, ''));
  const end = lines.findIndex((line) => !HEAD_LINE.test(line));
  const head = end < 0 ? lines : lines.slice(0, end);
  refuseDirectives(file, lines.slice(head.length).join('\n'), head.length + 1);

  const said: Partial<Directives> = {};
  for (const [index, line] of head.entries()) {
    const text = DIRECTIVE_LINE.exec(line)?.[1];
    if (text === undefined) continue;
    const place = `${file}:${index + 1}`;
    const words = wordsOf(place, text);
    if (isBackfill(words)) {
      said.backfill = backfillDirectives(place, words);
      continue;
    }
    const allow = readAllowances(place, words);
    if (allow.length > 0) said.allow = [...(said.allow ?? []), ...allow];
    for (const word of words.filter((each) => !ALLOWANCE.test(each))) {
      Object.assign(said, readOne(place, word));
    }
  }
  if (said.backfill !== undefined) refuseBeside(file, said);
  if (said.requiresApp !== undefined && said.phase !== 'contract') throw needsPhase(file);
  return { ...(said.backfill === undefined ? DEFAULTS : BACKFILL_DEFAULTS), ...said };
}

const DEFAULTS = {
  phase: 'expand',
  transactional: true,
  lockTimeoutMs: null,
  statementTimeoutMs: null,
} as const;
const BACKFILL_DEFAULTS = { ...DEFAULTS, phase: 'migrate', transactional: false } as const;

/** `key`, `key=value`, or `key="a value with blanks"`. */
const WORD = /[^\s,="]+(?:=(?:"[^"]*"|[^\s,"]*))?/g;

function wordsOf(place: string, said: string): string[] {
  const words = said.match(WORD) ?? [];
  if (words.length === 0) throw invalid(place, 'has an empty fleet directive');
  const rest = said.replace(WORD, '').trim();
  if (/[^\s,]/.test(rest)) throw invalid(place, 'has a quotation mark that does not belong to a key="value"');
  return words;
}

const ALLOWANCE = /^(?:allow|reason)(?:=|$)/;

/** `allow=RULE reason="…"`: the reason is that of every rule on its line. */
function readAllowances(place: string, words: string[]): Allowance[] {
  const [rules, reasons] = [valuesOf(words, 'allow'), valuesOf(words, 'reason')];
  const [reason = ''] = reasons;
  if (rules.length === 0 && reasons.length === 0) return [];
  if (rules.length === 0 || reasons.length !== 1 || reason === '') {
    throw invalid(place, 'has to say allow=RULE reason="…", on one line and with the reason in words');
  }
  for (const rule of rules) {
    const complaint = allowanceComplaint(rule);
    if (complaint !== undefined) throw invalid(place, `${complaint}; docs/lint.md has them all`);
  }
  return rules.map((rule) => ({ rule, reason }));
}

function valuesOf(words: string[], key: string): string[] {
  return words
    .filter((word) => word === key || word.startsWith(`${key}=`))
    .map((word) =>
      word
        .slice(key.length + 1)
        .replace(/^"(.*)"$/s, '$1')
        .trim(),
    );
}

/** @throws FleetError when `text`, which begins at `firstLine` of the file, holds a directive. */
export function refuseDirectives(file: string, text: string, firstLine: number): void {
  const index = text.split('\n').findIndex((line) => DIRECTIVE_LINE.test(line.replace(/\r$/, '')));
  if (index < 0) return;
  throw invalid(
    `${file}:${firstLine + index}`,
    'has a fleet directive below its head: directives stand in the comment on top of the up file',
  );
}

function readOne(place: string, word: string): Partial<Directives> {
  const [key = '', value = ''] = word.split(/=(.*)/s);
  switch (key) {
    case 'phase': {
      const phase = Phase.safeParse(value);
      if (phase.success) return { phase: phase.data };
      throw invalid(place, `has phase=${value}; phases are ${Phase.options.join(', ')}`);
    }
    // `requires-app>=2.4.0`
    case 'requires-app>': {
      const version = AppVersion.safeParse(value);
      if (version.success) return { requiresApp: version.data };
      throw invalid(place, `has ${word}; an app version is written requires-app>=2.4.0`);
    }
    case 'requires-app':
      throw invalid(place, `has ${word}; it is the lowest version that counts: requires-app>=2.4.0`);
    case 'transaction':
      if (value === 'on' || value === 'off') return { transactional: value === 'on' };
      throw invalid(place, `has transaction=${value}; it is on or off`);
    case 'lock-timeout':
      return { lockTimeoutMs: duration(place, word, value, MAX_LOCK_TIMEOUT_MS) };
    case 'statement-timeout':
      return { statementTimeoutMs: duration(place, word, value, MAX_STATEMENT_TIMEOUT_MS) };
    default:
      throw invalid(place, `has the unknown directive ${word}; known: ${KNOWN}`);
  }
}

const KNOWN =
  'phase=…, requires-app>=…, transaction=on|off, lock-timeout=…, statement-timeout=…, allow=RULE reason="…", backfill table=… key=…';

function needsPhase(file: string): Error {
  return invalid(file, 'has requires-app, which only a contract step waits for: add phase=contract');
}

/** As the contract bounds them: ten minutes, a day. */
const MAX_LOCK_TIMEOUT_MS = 600_000;
const MAX_STATEMENT_TIMEOUT_MS = 86_400_000;

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, min: 60_000, h: 3_600_000 };

function duration(place: string, word: string, value: string, max: number): number {
  const [, digits, unit = ''] = /^(\d{1,9})(ms|s|m|min|h)$/.exec(value) ?? [];
  const milliseconds = Number(digits) * (UNIT_MS[unit] ?? Number.NaN);
  if (milliseconds >= 1 && milliseconds <= max) return milliseconds;
  throw invalid(place, `has ${word}; a time is written 500ms, 2s, 5m or 1h, and is at most ${max / 1_000} s`);
}
