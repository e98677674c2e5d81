import { structuredPatch, type StructuredPatchHunk } from 'diff';
import { sha256 } from '../../platform/crypto.ts';

/** What differs between two descriptions of schemas (see schema.ts). */
export interface SchemaDiff {
  /** Unified diff, with the object that a hunk begins in after its `@@`; empty where nothing differs. */
  diff: string;
  /** The same in words, a line for each change: `+ table invoices (7 columns)`, `~ tasks: + column due_on date`. */
  changes: string[];
  /** SHA-256 of what was added and taken away, by object: the same difference from another schema has the same. */
  digest: string | null;
}

/** Compares two descriptions; `names` are those of the two sides in the unified diff. */
export function schemaDiff(
  before: string,
  after: string,
  names: { before: string; after: string } = { before: 'before', after: 'after' },
): SchemaDiff {
  if (before === after) return { diff: '', changes: [], digest: null };
  const objects = differingObjects(before, after);
  return {
    diff: unifiedDiff(before, after, names),
    changes: objects.flatMap(wordsOf),
    digest: sha256(objects.flatMap(changedLines).sort().join('\n\0')),
  };
}

/** What changes of one object. `before` or `after` is undefined where it is not there at all. */
export interface ObjectDiff {
  object: string;
  before: readonly string[] | undefined;
  after: readonly string[] | undefined;
  removed: string[];
  added: string[];
}

/** The objects of two descriptions that are not the same, by name. */
export function differingObjects(before: string, after: string): ObjectDiff[] {
  const [earlier, later] = [parse(before), parse(after)];
  const names = [...new Set([...earlier.keys(), ...later.keys()])].sort();
  return names
    .map((object) => {
      const [old, now] = [earlier.get(object), later.get(object)];
      return {
        object,
        before: old,
        after: now,
        removed: (old ?? []).filter((part) => now?.includes(part) !== true),
        added: (now ?? []).filter((part) => old?.includes(part) !== true),
      };
    })
    .filter(
      ({ before: old, after: now, removed, added }) =>
        old === undefined || now === undefined || removed.length + added.length > 0,
    );
}

function changedLines({ object, before, after, removed, added }: ObjectDiff): string[] {
  const whole = before === undefined ? [`+ ${object}`] : after === undefined ? [`- ${object}`] : [];
  return [
    ...whole,
    ...removed.map((part) => `- ${object}\n${part}`),
    ...added.map((part) => `+ ${object}\n${part}`),
  ];
}

/** The parts of each object. */
type ParsedSchema = Map<string, string[]>;

function parse(description: string): ParsedSchema {
  const schema: ParsedSchema = new Map();
  let parts: string[] = [];
  for (const line of description.split('\n').slice(0, -1)) {
    if (line.startsWith(CONTINUED) && parts.length > 0) parts.push(`${parts.pop() ?? ''}\n${line.slice(4)}`);
    else if (line.startsWith(PART)) parts.push(line.slice(PART.length));
    else schema.set(line, (parts = []));
  }
  return schema;
}

const PART = '  ';
const CONTINUED = '    ';

function wordsOf({ object, before, after, removed, added }: ObjectDiff): string[] {
  if (before === undefined) return [`+ ${shortName(object)}${columnCount(after)}`];
  if (after === undefined) return [`- ${shortName(object)}${columnCount(before)}`];
  const subject = shortName(object).replace(/^table /, '');
  const changed = new Map(added.map((part) => [subjectOf(part), part]));
  const gone = removed.filter((part) => !changed.has(subjectOf(part)));
  const now = added.filter((part) => !removed.some((old) => subjectOf(old) === subjectOf(part)));
  const altered = removed.flatMap((part) => {
    const next = changed.get(subjectOf(part));
    return next === undefined ? [] : [`~ ${alteration(part, next)}`];
  });
  return [
    ...gone.map((part) => `- ${firstLine(part)}`),
    ...now.map((part) => `+ ${firstLine(part)}`),
    ...altered,
  ].map((change) => `~ ${subject}: ${change}`);
}

/** Objects outside of schema public are called by their whole name. */
export function shortName(object: string): string {
  return object.replace(/^([a-z ]+ )public\./, '$1');
}

/** ` (7 columns)`; nothing for what has none. */
export function columnCount(parts: readonly string[] | undefined): string {
  const count = parts?.filter((part) => part.startsWith('column ')).length ?? 0;
  return count === 0 ? '' : ` (${count} column${count === 1 ? '' : 's'})`;
}

/** Kind and name of a part that has a name, which is plain or in double quotes; else the whole part. */
const NAMED_PART =
  /^(column|constraint trigger|constraint|index|trigger|rule|policy|statistics|sequence) ("(?:[^"]|"")*"|\S+)/;

/** What a part is about, whatever it says of it: `column title`. */
export function subjectOf(part: string): string {
  return NAMED_PART.exec(part)?.[0] ?? (part.startsWith('definition\n') ? 'definition' : part);
}

function alteration(before: string, after: string): string {
  const subject = subjectOf(before);
  if (before.includes('\n') || after.includes('\n')) return `${subject} changed`;
  return `${subject}: ${before.slice(subject.length).trim()} → ${after.slice(subject.length).trim()}`;
}

export function firstLine(part: string): string {
  return part.split('\n', 1)[0] ?? '';
}

/** Lines around a change: enough to see where it stands. */
const CONTEXT_LINES = 3;

function unifiedDiff(before: string, after: string, names: { before: string; after: string }): string {
  const { hunks } = structuredPatch(names.before, names.after, before, after, undefined, undefined, {
    context: CONTEXT_LINES,
  });
  const lines = before.split('\n');
  const text = hunks.flatMap((hunk) => [hunkHead(hunk, lines), ...hunk.lines]);
  return [`--- ${names.before}`, `+++ ${names.after}`, ...text].map((line) => `${line}\n`).join('');
}

/** As git does for functions: what the first line of the hunk belongs to. */
function hunkHead(hunk: StructuredPatchHunk, before: readonly string[]): string {
  const range = (start: number, lines: number): string => (lines === 1 ? `${start}` : `${start},${lines}`);
  const above = before.slice(0, hunk.oldStart - 1).findLast((line) => line !== '' && !line.startsWith(PART));
  const ranges = `@@ -${range(hunk.oldStart, hunk.oldLines)} +${range(hunk.newStart, hunk.newLines)} @@`;
  return above === undefined ? ranges : `${ranges} ${above}`;
}
