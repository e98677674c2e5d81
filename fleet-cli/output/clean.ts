/**
 * What comes from a database or a file may command a terminal: move its cursor, recolour it, turn the order of letters
 * around. It is cleaned before it is painted, as nobody can tell afterwards whose escape sequences they are.
 */

/** Control characters, but for line break and tab. */
// eslint-disable-next-line no-control-regex -- these are what is looked for
const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
/** They turn around how the text beside them is read. */
const BIDI = /[\u202a-\u202e\u2066-\u2069]/g;
const LINE_ENDS = /\r\n|[\r\u2028\u2029]/g;

/** Text that says something and does nothing; it may have several lines. */
export function cleanText(text: string): string {
  return text.replaceAll(LINE_ENDS, '\n').replaceAll(CONTROLS, ' ').replaceAll(BIDI, '');
}

/** The same for a cell: a line break would tear the table, a tab would shift it. */
export function cleanLine(text: string): string {
  return cleanText(text).replaceAll(/[\n\t]+/g, ' ');
}

/** Data with each text in it cleaned, keys too. What is no text, list or plain object is left as it is. */
export function cleaned<T>(data: T, clean: (text: string) => string = cleanText): T {
  return cleanValue(data, clean) as T;
}

function cleanValue(data: unknown, clean: (text: string) => string): unknown {
  if (typeof data === 'string') return clean(data);
  if (Array.isArray(data)) return data.map((each: unknown) => cleanValue(each, clean));
  if (typeof data !== 'object' || data === null || Object.getPrototypeOf(data) !== Object.prototype)
    return data;
  return Object.fromEntries(
    Object.entries(data).map(([key, value]) => [clean(key), cleanValue(value, clean)]),
  );
}

/** What JSON leaves as it is although terminals obey it, as JSON may write it: nothing is lost. */
export function escapeInJson(json: string): string {
  return json.replaceAll(
    /[\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
