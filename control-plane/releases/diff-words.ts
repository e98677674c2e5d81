import {
  columnCount,
  differingObjects,
  firstLine,
  shortName,
  subjectOf,
  type ObjectDiff,
} from './schema-diff.ts';

/**
 * What is another in the second description, in sentences for a person who has to decide on it: `table tasks: column
 * done added (boolean, not null, default false)`. By object; within it what goes, then what comes, then what changes.
 */
export function differenceInWords(before: string, after: string): string[] {
  return before === after ? [] : differingObjects(before, after).flatMap(sentencesOf);
}

function sentencesOf({ object, before, after, removed, added }: ObjectDiff): string[] {
  const name = shortName(object);
  if (before === undefined) return [`${name} added${columnCount(after)}`];
  if (after === undefined) return [`${name} removed${columnCount(before)}`];
  const next = new Map(added.map((part) => [subjectOf(part), part]));
  const last = new Set(removed.map(subjectOf));
  const gone = removed.filter((part) => !next.has(subjectOf(part)));
  const come = added.filter((part) => !last.has(subjectOf(part)));
  const changed = removed.flatMap((part) => {
    const now = next.get(subjectOf(part));
    return now === undefined ? [] : [changeOf(part, now)];
  });
  return [
    ...gone.map((part) => `${subjectLine(part)} removed`),
    ...come.map((part) => `${subjectLine(part)} added${inBrackets(factsOf(part))}`),
    ...changed,
  ].map((sentence) => `${name}: ${sentence}`);
}

/** A part without a name of its own is told whole. */
function subjectLine(part: string): string {
  return firstLine(subjectOf(part));
}

function changeOf(before: string, after: string): string {
  const subject = subjectLine(before);
  if (before.includes('\n') || after.includes('\n')) return `${subject} changed`;
  return `${subject} changed from ${factsOf(before) || 'nothing'} to ${factsOf(after) || 'nothing'}`;
}

/** What follows the subject; a column's type and its other properties, told apart. */
function factsOf(part: string): string {
  const subject = subjectOf(part);
  const rest = firstLine(part.slice(subject.length)).trim();
  return subject.startsWith('column ') ? columnFacts(rest) : rest;
}

/** In the order in which schema-sql.ts writes them. */
const COLUMN_FACTS = /^(.*?)( collate \S+)?( not null(?: not valid)?)?( (?:default|generated) .*)?$/;

function columnFacts(text: string): string {
  const [, ...facts] = COLUMN_FACTS.exec(text) ?? [];
  // A group that took part in no match is undefined, whatever its type says.
  return facts
    .map((fact: string | undefined) => fact?.trim() ?? '')
    .filter((fact) => fact !== '')
    .join(', ');
}

function inBrackets(text: string): string {
  return text === '' ? '' : ` (${text})`;
}
