import { randomUUID } from 'node:crypto';
import type { ErrorRequestHandler, RequestHandler, Response } from 'express';
import { FleetError } from '../../platform/errors.ts';
import { withLogContext, type Logger } from '../../platform/logging.ts';
import type { HttpMetrics } from './metrics.ts';
import { problemHeaders, problemOf, toFleetError } from './problem.ts';

/** What is known of a request while it is served; kept in `response.locals`. */
export interface RequestFacts {
  requestId: string;
  /** The route's id, or what stands for it where no route matched. */
  route: string;
  stream: boolean;
  caller?: string;
  errorCode?: string;
}

/** What is known of the request that this response answers; the log line is made of it. */
export function factsOf(response: Response): RequestFacts {
  return response.locals as RequestFacts;
}

/** Ids that cannot break a log line or an audit entry. */
const REQUEST_ID = /^[A-Za-z0-9._:-]{1,100}$/;
/** Routes that are asked every few seconds by machines. */
const QUIET_ROUTES = new Set(['healthz', 'readyz', 'metrics', 'reportApp']);
/** From here on an answer is a refusal or a failure, which is told of each route. */
const REFUSED = 400;

/** Gives the request its id, logs one line about it when it is over, and counts it. */
export function observeRequests(logger: Logger, metrics: HttpMetrics): RequestHandler {
  return (request, response, next) => {
    const given = request.get('x-request-id');
    const requestId = given !== undefined && REQUEST_ID.test(given) ? given : randomUUID();
    const facts: RequestFacts = Object.assign(response.locals, { requestId, route: 'none', stream: false });
    response.setHeader('X-Request-Id', requestId);
    const start = performance.now();
    const { method, path } = request;
    response.once('close', () => {
      const milliseconds = performance.now() - start;
      const status = response.statusCode;
      metrics.observe({ route: facts.route, method, status }, facts.stream ? undefined : milliseconds / 1000);
      logger.log(QUIET_ROUTES.has(facts.route) && status < REFUSED ? 'debug' : 'info', 'request', {
        requestId,
        method,
        path,
        route: facts.route,
        status,
        durationMs: Math.round(milliseconds * 10) / 10,
        ...(facts.caller === undefined ? {} : { caller: facts.caller }),
        ...(facts.errorCode === undefined ? {} : { code: facts.errorCode }),
        ...(response.writableFinished ? {} : { aborted: true }),
      });
    });
    withLogContext({ requestId }, next);
  };
}

/** Answers every thrown value with problem+json. Only what is our fault is logged, with its cause. */
export function answerProblems(logger: Logger): ErrorRequestHandler {
  return (thrown: unknown, _request, response, _next) => {
    const facts = factsOf(response);
    const error = toFleetError(thrown);
    facts.errorCode = error.code;
    if (error.status >= 500) {
      logger.error('request failed', { requestId: facts.requestId, code: error.code, error: thrown });
    }
    if (response.headersSent) {
      // Too late for a status; a cut connection tells the client that the answer is not whole.
      response.destroy();
      return;
    }
    response
      .status(error.status)
      .set(problemHeaders(error.status))
      .set('Cache-Control', 'no-store')
      .type('application/problem+json')
      .send(JSON.stringify(problemOf(error, facts.requestId)));
  };
}

export const answerNotFound: RequestHandler = (request) => {
  throw new FleetError({
    code: 'not_found',
    status: 404,
    message: `there is nothing at ${request.path}`,
    fix: 'GET /api/openapi.json lists every path',
  });
};
