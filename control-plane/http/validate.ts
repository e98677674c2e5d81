import { z } from 'zod';
import { FleetError, type FieldError } from '../../platform/errors.ts';

/** Deeper than any document of ours; bounds whatever walks it by recursion. */
const MAX_DEPTH = 64;

/** 422 `invalid_request` with every finding; the first stands in the message. */
export function invalidRequest(errors: FieldError[]): FleetError {
  const [first] = errors;
  return new FleetError({
    code: 'invalid_request',
    status: 422,
    message:
      errors.length === 1 && first !== undefined
        ? `${first.path}: ${first.message}`
        : `${errors.length} things in the request are not valid`,
    errors,
  });
}

/** A query that names something the route does not know is refused: a misspelt filter must not match all. */
export function strictQuery(schema: z.ZodType | undefined): z.ZodType {
  if (schema === undefined) return z.strictObject({});
  return schema instanceof z.ZodObject ? schema.strict() : schema;
}

export interface Part {
  /** First word of the error paths: `path`, `query` or `body`. */
  name: string;
  schema: z.ZodType | undefined;
  value: unknown;
}

/**
 * Checks all parts and returns them in the same order, as their schemas made them.
 * @throws FleetError 422 `invalid_request` with every finding, e.g. `body.waves.0.name`.
 */
export function validate(parts: Part[]): unknown[] {
  const errors: FieldError[] = [];
  const values = parts.map(({ name, schema, value }) => {
    const findings = unsafe(value, name);
    errors.push(...findings);
    if (schema === undefined || findings.length > 0) return undefined;
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    errors.push(...parsed.error.issues.flatMap((issue) => fieldErrors(issue, name)));
    return undefined;
  });
  if (errors.length > 0) throw invalidRequest(errors);
  return values;
}

function fieldErrors(issue: z.core.$ZodIssue, part: string): FieldError[] {
  const path = [part, ...issue.path.map(String)].join('.');
  if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }];
  return issue.keys.map((key) => ({ path: `${path}.${key}`, message: 'is not known here' }));
}

/**
 * What no schema of ours wants and what would fail late: keys that reach an object's prototype, texts that
 * PostgreSQL cannot hold (NUL, half a surrogate pair), and endless nesting. A loop, since the nesting is not
 * bounded yet.
 */
function unsafe(root: unknown, name: string): FieldError[] {
  const waiting = [{ value: root, path: name, depth: 0 }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    const { value, path, depth } = next;
    if (typeof value === 'string' && !isStorable(value)) {
      return [{ path, message: 'holds a character that cannot be stored' }];
    }
    if (typeof value !== 'object' || value === null) continue;
    if (depth === MAX_DEPTH) return [{ path: name, message: `is nested deeper than ${MAX_DEPTH} levels` }];
    for (const [key, item] of Object.entries(value)) {
      if (key === '__proto__' || !isStorable(key))
        return [{ path, message: 'holds a key that is not allowed' }];
      waiting.push({ value: item, path: `${path}.${key}`, depth: depth + 1 });
    }
  }
  return [];
}

/** `isWellFormed` is in every Node that we support; TypeScript's ES2023 library does not know it yet. */
const LONE_SURROGATE = /\p{Surrogate}/u;

function isStorable(text: string): boolean {
  return !text.includes('\0') && !LONE_SURROGATE.test(text);
}

/** The version that `If-Match` demands: `"5"`; a proxy that compresses makes it `W/"5"`. `*` demands nothing. */
export function parseIfMatch(header: string | undefined): number | undefined {
  if (header === undefined || header.trim() === '*') return undefined;
  const version = /^(?:W\/)?"?(\d{1,9})"?$/.exec(header.trim())?.[1];
  if (version === undefined) {
    throw invalidRequest([
      { path: 'header.if-match', message: 'send one ETag as it was received, for example "5"' },
    ]);
  }
  return Number(version);
}
