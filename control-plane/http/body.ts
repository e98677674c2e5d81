import express, { type Request, type Response } from 'express';
import { FleetError } from '../../platform/errors.ts';

/** 10 MiB: a release with a thousand migrations stays below 2 MB. */
const MAX_BODY_BYTES = 10 * 1024 * 1024;
const JSON_TYPES = ['application/json', 'application/*+json'];

const readText = express.text({ type: () => true, limit: MAX_BODY_BYTES, defaultCharset: 'utf-8' });

/**
 * The request's JSON. Nothing at all counts as `{}`, so that a verb without arguments needs no body.
 * @throws FleetError 415 for another content type, 400 `malformed_json`, 413 `body_too_large`.
 */
export async function readJson(request: Request, response: Response): Promise<unknown> {
  const type = request.is(JSON_TYPES);
  // null: there is no body; false: there is one of another type.
  if (type === null || request.get('content-length') === '0') return {};
  if (type === false) throw unsupportedType();
  const text = await readBodyText(request, response);
  if (text.trim() === '') return {};
  try {
    return JSON.parse(text) as unknown;
  } catch {
    // The parser's own message quotes the text, which may hold a password.
    throw new FleetError({
      code: 'malformed_json',
      status: 400,
      message: 'the body is not valid JSON',
      fix: 'send JSON in UTF-8',
    });
  }
}

function readBodyText(request: Request, response: Response): Promise<string> {
  return new Promise((resolve, reject) => {
    readText(request, response, (error: unknown) => {
      if (error === undefined || error === null)
        resolve(typeof request.body === 'string' ? request.body : '');
      else reject(bodyError(error));
    });
  });
}

/** body-parser's errors carry their kind in `type`. */
function bodyError(error: unknown): FleetError {
  const type = typeof error === 'object' && error !== null && 'type' in error ? error.type : undefined;
  if (type === 'entity.too.large') {
    return new FleetError({
      code: 'body_too_large',
      status: 413,
      message: `the body is larger than ${MAX_BODY_BYTES / 1024 / 1024} MiB`,
    });
  }
  if (type === 'charset.unsupported' || type === 'encoding.unsupported') return unsupportedType();
  return new FleetError({
    code: 'unreadable_body',
    status: 400,
    message: 'the body could not be read to its end, or not decompressed',
    cause: error,
  });
}

function unsupportedType(): FleetError {
  return new FleetError({
    code: 'unsupported_media_type',
    status: 415,
    message: 'the body must be JSON',
    fix: 'send `Content-Type: application/json`',
  });
}
