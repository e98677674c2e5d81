import { stripVTControlCharacters } from 'node:util';
import Table from 'cli-table3';
import { cleaned, cleanLine } from './clean.ts';
import type { Paint } from './style.ts';
import type { Column } from './view.ts';

const NO_BORDERS = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

/** Narrower than this a column says nothing; the line may then be longer than the terminal. */
const MIN_COLUMN_WIDTH = 8;
const GAP = 2;

/** What stands for nothing in a table. */
export const ABSENT = '-';

/** A list as aligned columns; what the items say is cleaned before it is painted. `width` is the terminal's; undefined (a pipe) never cuts. */
export function renderTable<T>(
  items: readonly T[],
  columns: Column<T>[],
  paint: Paint,
  width: number | undefined,
): string {
  const head = columns.map((column) => column.title.toUpperCase());
  const rows = cleaned(items, cleanLine).map((item) =>
    columns.map((column) => cellText(column.value(item, paint))),
  );
  const table = new Table({
    chars: NO_BORDERS,
    style: { 'padding-left': 0, 'padding-right': 0, head: [], border: [] },
    head: head.map((title) => paint('dim', title)),
    colAligns: columns.map((column) => (column.right === true ? 'right' : 'left')),
    ...(width === undefined
      ? {}
      : {
          colWidths: fitWidths(
            naturalWidths(head, rows),
            width,
            columns.map((column) => column.whole === true),
          ),
        }),
  });
  table.push(...rows);
  return trimLines(table.toString());
}

/** A single resource as `title  value` lines; what it says is cleaned before it is painted. */
export function renderFields<T>(item: T, columns: Column<T>[], paint: Paint): string {
  const said = cleaned(item, cleanLine);
  const lines = columns.map((column) => ({ title: column.title, text: cellText(column.value(said, paint)) }));
  const width = Math.max(...lines.map((line) => line.title.length));
  return lines
    .map(({ title, text }) => {
      const indented = text.replaceAll('\n', `\n${' '.repeat(width + GAP)}`);
      return `${paint('dim', title.padEnd(width))}${' '.repeat(GAP)}${indented}`;
    })
    .join('\n');
}

/** Takes from the widest columns until the line fits; those that are `whole` are left alone. */
export function fitWidths(natural: number[], width: number, whole: boolean[] = []): number[] {
  const widths = [...natural];
  let excess = widths.reduce((sum, each) => sum + each, 0) + GAP * (widths.length - 1) - width;
  while (excess > 0) {
    const widest = widestOf(widths, whole);
    if (whole[widest] === true || (widths[widest] ?? 0) <= MIN_COLUMN_WIDTH) break;
    widths[widest] = (widths[widest] ?? 0) - 1;
    excess -= 1;
  }
  return widths;
}

function widestOf(widths: number[], whole: boolean[]): number {
  const cuttable = widths.map((width, at) => (whole[at] === true ? 0 : width));
  return cuttable.indexOf(Math.max(...cuttable));
}

function naturalWidths(head: string[], rows: string[][]): number[] {
  return head.map((title, at) => Math.max(title.length, ...rows.map((row) => visibleLength(row[at] ?? ''))));
}

function visibleLength(text: string): number {
  return stripVTControlCharacters(text).length;
}

function cellText(value: string | number | null | undefined): string {
  return value === null || value === undefined || value === '' ? ABSENT : String(value);
}

function trimLines(text: string): string {
  return text.replace(/[ \t]+$/gm, '');
}
