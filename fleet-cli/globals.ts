import { InvalidArgumentError, Option, type Command } from 'commander';

export const FORMATS = ['table', 'wide', 'json', 'yaml', 'name'] as const;
export type Format = (typeof FORMATS)[number];

/** What the global flags say; the same for every command. */
export interface Globals {
  output: Format;
  context?: string;
  /** Answers moderate questions (y/N) with yes; severe ones want `confirm`. */
  yes?: boolean;
  confirm?: string;
  dryRun?: boolean;
  /** Absent: the command's own default. */
  wait?: boolean;
  /** Milliseconds. */
  timeout?: number;
  input: boolean;
  color: boolean;
  quiet?: boolean;
  debug?: boolean;
}

/** Declares the global flags; they may stand anywhere on the command line. */
export function addGlobalOptions(program: Command): void {
  program
    .addOption(new Option('-o, --output <format>', 'how data is printed').choices(FORMATS).default('table'))
    .option('--context <name>', 'use this context instead of the current one')
    .option('--yes', 'answer yes to questions')
    .option('--confirm <name>', "confirm a severe action by the resource's own name")
    .option('--dry-run', 'print what would be sent and change nothing')
    .option('--wait', 'wait until the work that was started is over')
    .option('--no-wait', 'return as soon as the work is accepted')
    .option('--timeout <duration>', 'stop waiting after this time, e.g. 30s or 5m', parseDuration)
    .option('--no-input', 'never ask a question')
    .option('--no-color', 'no colour, as with NO_COLOR=1')
    .option('-q, --quiet', 'no messages, only data and errors')
    .option('--debug', 'print every request and the stack of errors');
}

/** `get -w` of every noun ends alike. */
export const WATCH_HELP = 'follow it to its end: exit 0 when it succeeded, 5 when it ended otherwise';

export interface WatchFlags {
  watch?: boolean;
}

/** Whether a `get` shall wait: `-w`, or the global `--wait`. */
export function isWatching({ globals }: { globals: Globals }, flags: WatchFlags): boolean {
  return flags.watch === true || globals.wait === true;
}

const UNIT_MS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** Reads `500ms`, `30s`, `5m` or `2h` as milliseconds. */
export function parseDuration(text: string): number {
  const match = /^(\d+)(ms|s|m|h)$/.exec(text);
  const unit = UNIT_MS[match?.[2] ?? ''];
  if (match === null || unit === undefined)
    throw new InvalidArgumentError('Give a duration such as 30s or 5m.');
  return Number(match[1]) * unit;
}

/** Reads a whole number of at least 1. */
export function parseCount(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Give a whole number of at least 1.');
  return Number(text);
}

/** Collects the values of a flag that may be given several times. */
export function collect(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}

/** Collects `key=value` pairs. */
export function collectPair(
  text: string,
  earlier: Record<string, string> | undefined,
): Record<string, string> {
  const at = text.indexOf('=');
  if (at < 1) throw new InvalidArgumentError('Give it as key=value.');
  return { ...earlier, [text.slice(0, at)]: text.slice(at + 1) };
}
