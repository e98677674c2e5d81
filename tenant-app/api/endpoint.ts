import express, { type Request, type RequestHandler, type Response } from 'express';
import { FleetError } from '../../platform/errors.ts';

type Method = 'get' | 'post' | 'patch' | 'delete';
type Handler = (request: Request, response: Response) => void | Promise<void>;

/** A thousand tasks of the longest title take half of it. */
const MAX_BODY = '1mb';

const parseJson = express.json({ limit: MAX_BODY, strict: true });

/**
 * Mounts the handlers of one path. Bodies are read where a method takes one, so that what is refused anyway is not
 * parsed; every other method is answered with 405 and the ones there are.
 */
export function endpoint(
  router: express.Router,
  path: string,
  handlers: Partial<Record<Method, Handler>>,
): void {
  const route = router.route(path);
  for (const [method, handler] of Object.entries(handlers) as [Method, Handler][]) {
    const takesBody = method === 'post' || method === 'patch';
    route[method](...(takesBody ? [requireJson, parseJson] : []), handler);
  }
  route.all(refuseMethod(Object.keys(handlers)));
}

/** @throws FleetError 415 `unsupported_media_type`: a form, for one, would otherwise look like an empty body. */
function requireJson(request: Request, _response: Response, next: () => void): void {
  if (request.is('application/json') === false) {
    const given = request.get('content-type');
    throw new FleetError({
      code: 'unsupported_media_type',
      status: 415,
      message: `the body is ${given === undefined ? 'of no named type' : `of type ${given}`}; only JSON is read here`,
      fix: 'send JSON with `Content-Type: application/json`',
    });
  }
  next();
}

function refuseMethod(methods: string[]): RequestHandler {
  const allowed = [...methods, ...(methods.includes('get') ? ['head'] : []), 'options']
    .map((method) => method.toUpperCase())
    .sort()
    .join(', ');
  return (request, response) => {
    response.setHeader('Allow', allowed);
    if (request.method === 'OPTIONS') {
      response.status(204).end();
      return;
    }
    throw new FleetError({
      code: 'method_not_allowed',
      status: 405,
      message: `${request.method} is not possible on this path`,
      fix: `use one of ${allowed}`,
    });
  };
}
