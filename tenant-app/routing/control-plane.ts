import { AppReportAnswer, type AppReport } from '../../contract/app.ts';
import { RouteCredential } from '../../contract/route.ts';

/** What the routing asks of the control plane, with the region's own key. */
export interface ControlPlane {
  getJson(path: string, signal?: AbortSignal): Promise<unknown>;
  /** The body of a server-sent event stream. */
  openStream(path: string, signal: AbortSignal): Promise<ReadableStream<Uint8Array>>;
  /** What now opens a database of the region. Kept in memory only. */
  credential(databaseId: string): Promise<RouteCredential>;
  report(report: AppReport, signal: AbortSignal): Promise<AppReportAnswer>;
}

type Ask = RequestInit & { headers: Record<string, string> };

/** The control plane answered with an error. */
export class ControlPlaneError extends Error {
  readonly status: number;
  constructor(path: string, status: number) {
    super(`the control plane answered ${status} to ${path}`);
    this.name = 'ControlPlaneError';
    this.status = status;
  }
}

/** 30 s: a snapshot of 100,000 routes takes 2 s, ten times that on a busy machine; more means that it hangs. */
const REQUEST_TIMEOUT_MS = 30_000;

/** HTTP's 401: the key is not known, or not any more. */
const UNAUTHENTICATED = 401;

/** The region's app key; asked anew for each request, as keys are rotated. */
export type Token = () => string;

/** Does not connect by itself. */
export function createControlPlane(options: { url: string; token: Token; region: string }): ControlPlane {
  const base = options.url.replace(/\/+$/, '');
  const send = (path: string, request: Ask, token: string): Promise<Response> =>
    fetch(base + path, { ...request, headers: { ...request.headers, Authorization: `Bearer ${token}` } });
  const ask = async (path: string, request: Ask): Promise<Response> => {
    const token = options.token();
    let response = await send(path, request, token);
    const next = options.token();
    // Replaced while the request was under way.
    if (response.status === UNAUTHENTICATED && next !== token) {
      await response.body?.cancel();
      response = await send(path, request, next);
    }
    if (response.ok) return response;
    await response.body?.cancel();
    throw new ControlPlaneError(path, response.status);
  };
  const get = (path: string, accept: string, signal: AbortSignal): Promise<Response> =>
    ask(path, { headers: { Accept: accept }, signal });
  const getJson = async (path: string, signal?: AbortSignal): Promise<unknown> => {
    const timeout = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const response = await get(
      path,
      'application/json',
      signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    );
    return response.json();
  };
  return {
    getJson,
    openStream: async (path, signal) => {
      const { body } = await get(path, 'text/event-stream', signal);
      if (body === null) throw new ControlPlaneError(path, 204);
      return body;
    },
    credential: async (databaseId) =>
      RouteCredential.parse(
        await getJson(`/api/v1/regions/${options.region}/credentials/${encodeURIComponent(databaseId)}`),
      ),
    report: async (report, signal) => {
      const response = await ask(`/api/v1/regions/${options.region}/reports`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(report),
        signal,
      });
      return AppReportAnswer.parse(await response.json());
    },
  };
}
