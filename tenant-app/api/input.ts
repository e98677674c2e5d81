import type { Request, Response } from 'express';
import { z } from 'zod';
import { FleetError } from '../../platform/errors.ts';

/** @throws FleetError 400 `invalid_request` with one finding per field. */
export function parseInput<T extends z.ZodType>(schema: T, value: unknown): z.infer<T> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new FleetError({
    code: 'invalid_request',
    status: 400,
    message: 'the request holds values that cannot be used',
    fix: 'correct the fields that `errors` names',
    errors: parsed.error.issues.map((issue) => ({ path: issue.path.join('.'), message: issue.message })),
  });
}

const Id = z.uuid();

/** An id of a path. One that is none names nothing, as far as the client can tell. */
export function readId(request: Request, name: string, noun: string): string {
  const parsed = Id.safeParse(request.params[name]);
  if (parsed.success) return parsed.data;
  throw notFound(noun);
}

/** @returns 404 `project_not_found` or `task_not_found`, by the noun */
export function notFound(noun: string): FleetError {
  return new FleetError({
    code: `${noun}_not_found`,
    status: 404,
    message: `there is no such ${noun}`,
    fix: `list the ${noun}s there are, and take an id from there`,
  });
}

/** The version that If-Match demands. @throws FleetError 400 `bad_if_match` */
export function readIfMatch(request: Request): number | undefined {
  const header = request.headers['if-match'];
  if (header === undefined || header === '*') return undefined;
  const version = /^"(\d{1,9})"$/.exec(header)?.[1];
  if (version !== undefined) return Number(version);
  throw new FleetError({
    code: 'bad_if_match',
    status: 400,
    message: 'If-Match holds no ETag of ours',
    fix: 'send the ETag as it came, e.g. "3"',
  });
}

/** Tells apart why a change found no row: it is gone, or it has another version than demanded. */
export function changeMissed(noun: string, exists: boolean): FleetError {
  if (!exists) return notFound(noun);
  return new FleetError({
    code: 'version_conflict',
    status: 412,
    message: `the ${noun} was changed meanwhile`,
    fix: `read the ${noun} again and repeat the change with its new ETag`,
  });
}

/** Sends one resource with its version as ETag. */
export function sendVersioned(response: Response, body: { version: number }): void {
  response.setHeader('ETag', `"${body.version}"`);
  response.json(body);
}
