import { stripVTControlCharacters } from 'node:util';
import sliceAnsi from 'slice-ansi';

/** Lines that belong together; a frame is made of them. */
export interface Section {
  /** Above the lines; without one they stand as they are. */
  title?: string;
  lines: Line[];
  /** Those of a lower number get room first. */
  priority: number;
  /** With fewer lines than this it says nothing and is left out. */
  least: number;
}

export interface Line {
  text: string;
  /** Where there is not room for all, those of a lower number stay. */
  rank: number;
}

/** Columns and rows that there are; undefined: as many as wanted. */
export interface Size {
  columns: number | undefined;
  rows: number | undefined;
}

/** Lines of the same rank. */
export function plainLines(texts: readonly string[]): Line[] {
  return texts.map((text) => ({ text, rank: 0 }));
}

/**
 * What of the sections there is room for, in their order, a blank line between them: first what is least of each, then
 * more, by priority. No line is longer than the columns. Pure.
 */
export function fitSections(sections: readonly Section[], { columns, rows = Infinity }: Size): string[] {
  const given = sections.filter(({ lines }) => lines.length > 0);
  const byPriority = [...given].sort((a, b) => a.priority - b.priority);
  const shown = new Map<Section, number>();
  const used = (): number =>
    [...shown].reduce((sum, [section, count]) => sum + costOf(section, count), 0) + shown.size - 1;
  for (const section of byPriority) {
    shown.set(section, Math.min(section.least, section.lines.length));
    if (used() > rows) shown.delete(section);
  }
  for (const section of byPriority.filter((each) => shown.has(each)))
    grow(section, shown, () => used() <= rows);
  const blocks = given.flatMap((section) => {
    const count = shown.get(section);
    return count === undefined ? [] : [blockOf(section, count)];
  });
  const lines = blocks.flatMap((block, index) => (index === 0 ? block : ['', ...block]));
  return lines.map((line) => cutLine(line, columns));
}

function grow(section: Section, shown: Map<Section, number>, fits: () => boolean): void {
  const least = shown.get(section) ?? 0;
  // All of them may fit where one less does not: the last takes the place of the line that says what is missing.
  for (let count = section.lines.length; count > least; count -= 1) {
    shown.set(section, count);
    if (fits()) return;
  }
  shown.set(section, least);
}

/** Rows of blockOf, without making it. */
function costOf({ title, lines }: Section, count: number): number {
  return (title === undefined ? 0 : 1) + count + (count < lines.length ? 1 : 0);
}

function blockOf({ title, lines }: Section, count: number): string[] {
  const ranked = [...lines].sort((a, b) => a.rank - b.rank);
  const kept = new Set(ranked.slice(0, count));
  const hidden = lines.length - kept.size;
  return [
    ...(title === undefined ? [] : [title]),
    ...lines.filter((line) => kept.has(line)).map(({ text }) => text),
    ...(hidden === 0 ? [] : [`  … ${hidden} more`]),
  ];
}

/** From Chinese to emoji: characters that may take two columns. */
const WIDE = /[\u1100-\u115f\u2e80-\uffff]/;

/** The line as far as it fits; colours end where it is cut. */
export function cutLine(line: string, columns: number | undefined): string {
  if (columns === undefined) return line;
  const bare = stripVTControlCharacters(line);
  // Nearly every line: cutting takes a hundred times as long as finding out that there is nothing to cut.
  if (bare.length <= columns && !WIDE.test(bare)) return line;
  if (sliceAnsi(line, 0, columns) === line) return line;
  return `${sliceAnsi(line, 0, Math.max(0, columns - 1))}…`;
}

/** Words in lines of at most so many columns; a longer word stands alone. */
export function wrapWords(text: string, columns: number | undefined): string[] {
  if (columns === undefined) return [text];
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const last = lines.at(-1);
    if (last !== undefined && last.length + word.length < columns)
      lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/**
 * What comes from a database, on one line: line breaks would tear the frame, and control characters would command the
 * terminal.
 */
export function onOneLine(text: string): string {
  return text.replaceAll(/[\p{Cc}\u202a-\u202e\u2066-\u2069\s]+/gu, ' ').trim();
}
