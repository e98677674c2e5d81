import { request as httpRequest } from 'node:http';
import { keepEvidence } from './secret-scan.ts';

/** An answer of an HTTP API, body read and parsed where it is JSON. */
export interface HttpAnswer<T = unknown> {
  status: number;
  headers: Record<string, string>;
  body: T;
}

export interface Api {
  call<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    headers?: Record<string, string>,
  ): Promise<HttpAnswer<T>>;
  /** As `call`, but throws on anything but a 2xx answer. */
  ok<T = unknown>(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<T>;
}

/** A plain client of the control plane's API, as a program of somebody else's would write it. */
export function apiClient(url: string, token: string): Api {
  const call: Api['call'] = async <T>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    keepErrors(response.status, text);
    return {
      status: response.status,
      headers: Object.fromEntries(response.headers),
      body: (isJson(response.headers.get('content-type')) ? JSON.parse(text) : text) as T,
    };
  };
  return {
    call,
    ok: async <T>(method: string, path: string, body?: unknown, headers?: Record<string, string>) => {
      const answer = await call<T>(method, path, body, headers);
      if (answer.status >= 300)
        throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
      return answer.body;
    },
  };
}

function keepErrors(status: number, body: string): void {
  if (status >= 400) keepEvidence('error', body);
}

function isJson(type: string | null): boolean {
  return type !== null && /[/+]json/.test(type);
}

/** Calls a tenant app with the tenant's own Host header, which `fetch` does not allow to set. */
export function callTenant<T = unknown>(
  appUrl: string,
  host: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<HttpAnswer<T>> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      `${appUrl}${path}`,
      {
        method,
        headers: {
          host,
          ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
      },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on('data', (chunk: Buffer) => chunks.push(chunk));
        incoming.on('error', reject);
        incoming.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          keepErrors(incoming.statusCode ?? 0, text);
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers as Record<string, string>,
            body: (isJson(incoming.headers['content-type'] ?? null) ? JSON.parse(text) : text) as T,
          });
        });
      },
    );
    outgoing.on('error', reject);
    outgoing.end(payload);
  });
}
