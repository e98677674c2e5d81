import { stringify } from 'yaml';
import type { CliError } from '../errors.ts';
import type { Format, Globals } from '../globals.ts';
import type { Io } from '../io.ts';
import { cleaned, cleanLine, escapeInJson } from './clean.ts';
import { renderError } from './problem.ts';
import { paintFor, type Paint } from './style.ts';
import { renderFields, renderTable } from './table.ts';
import type { View } from './view.ts';

/** The one way out: data to stdout in the wanted format, messages to stderr. */
export interface Output {
  format: Format;
  /** Whether stdout is for programs; then messages are kept back, so that stderr holds only an error object. */
  structured: boolean;
  /** Colours for stdout. */
  paint: Paint;
  /** Colours for stderr. */
  notePaint: Paint;
  list: <T>(items: T[], view: View<T>) => void;
  one: <T>(item: T, view: View<T>) => void;
  /** Text of the command's own making in `table` and `wide`; `data` in the other formats. */
  text: (text: string, data: unknown, name?: string) => void;
  /** A message for people, on stderr. */
  note: (message: string) => void;
  debug: (message: string) => void;
  /** `help` is the command that tells how the line should have been written. */
  error: (error: CliError, help?: string) => void;
}

export function createOutput(globals: Globals, io: Io): Output {
  const format = globals.output;
  const structured = format === 'json' || format === 'yaml';
  const paint = paintFor(io.stdout, io, globals.color);
  const notePaint = paintFor(io.stderr, io, globals.color);
  const print = (text: string) =>
    void io.stdout.write(text === '' || text.endsWith('\n') ? text : `${text}\n`);
  const note = (message: string) => {
    if (globals.quiet !== true && !structured) io.stderr.write(`${message}\n`);
  };
  return {
    format,
    structured,
    paint,
    notePaint,
    list: (items, view) => {
      if (structured) print(serialize(items, format));
      else if (items.length === 0) note(`no ${view.noun}`);
      else if (format === 'name') print(items.map((item) => cleanLine(view.name(item))).join('\n'));
      else
        print(listText(items, view, format, paint, io.stdout.isTTY === true ? io.stdout.columns : undefined));
    },
    one: (item, view) => {
      if (structured) print(serialize(item, format));
      else if (format === 'name') print(cleanLine(view.name(item)));
      else print(oneText(item, view, paint));
    },
    text: (text, data, name) => {
      if (structured) print(serialize(data, format));
      else print(format === 'name' ? (name ?? text) : text);
    },
    note,
    debug: (message) => void io.stderr.write(`debug: ${message}\n`),
    error: (error, help) => void io.stderr.write(renderError(error, format, notePaint, help)),
  };
}

/** JSON or YAML text of any value. */
export function serialize(data: unknown, format: Format): string {
  return format === 'yaml' ? stringify(data) : escapeInJson(JSON.stringify(data, null, 2));
}

function listText<T>(
  items: T[],
  view: View<T>,
  format: Format,
  paint: Paint,
  width: number | undefined,
): string {
  const columns = view.columns.filter(
    (column) => column.detail !== true && (format === 'wide' || column.wide !== true),
  );
  // `wide` asks for everything: it is never cut to the terminal.
  return renderTable(items, columns, paint, format === 'wide' ? undefined : width);
}

function oneText<T>(item: T, view: View<T>, paint: Paint): string {
  const below = view.below?.(cleaned(item), paint);
  return renderFields(item, view.columns, paint) + (below === undefined ? '' : `\n\n${below}`);
}
