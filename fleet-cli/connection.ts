import { resolve } from 'node:path';
import {
  contextStores,
  readContextToken,
  readTokenFile,
  type Context,
  type ContextStore,
} from './contexts.ts';
import { usageError } from './errors.ts';
import type { Globals } from './globals.ts';
import type { Io } from './io.ts';

/** Which control plane a command talks to, as whom, and where that was said. */
export interface Connection {
  url: string;
  token: string | undefined;
  /** Name of the context; null when FLEET_URL decides. */
  context: string | null;
  source: string;
}

interface Found {
  name: string;
  store: ContextStore;
  context: Context;
}

/**
 * --context, then FLEET_URL, then FLEET_CONTEXT, then the project's current context, then the user's. A token in
 * the environment goes before a context's own, but a context's token is never sent to the URL of FLEET_URL.
 * @throws CliError when no control plane is named, or a context is unknown.
 */
export function resolveConnection(
  globals: Pick<Globals, 'context'>,
  io: Pick<Io, 'env' | 'cwd'>,
): Connection {
  const { env } = io;
  const url = env['FLEET_URL'];
  if (globals.context === undefined && url !== undefined && url !== '') {
    return {
      url: checkUrl(url, 'FLEET_URL'),
      token: environmentToken(io),
      context: null,
      source: 'FLEET_URL',
    };
  }
  const found = findContext(globals.context ?? env['FLEET_CONTEXT'], contextStores(io));
  return {
    url: checkUrl(found.context.url, `context ${found.name}`),
    token: environmentToken(io) ?? readContextToken(found.store, found.context),
    context: found.name,
    source: found.store.file,
  };
}

function environmentToken(io: Pick<Io, 'env' | 'cwd'>): string | undefined {
  const token = io.env['FLEET_TOKEN'];
  if (token !== undefined && token !== '') return token.trim();
  const file = io.env['FLEET_TOKEN_FILE'];
  return file === undefined || file === '' ? undefined : readTokenFile(resolve(io.cwd, file));
}

/** The named context, or the current one of the first store that has one. */
export function findContext(wanted: string | undefined, stores: ContextStore[]): Found {
  for (const store of stores) {
    const name = wanted ?? store.content.current;
    const context = name === undefined ? undefined : store.content.contexts[name];
    if (name !== undefined && context !== undefined) return { name, store, context };
  }
  if (wanted === undefined) {
    throw usageError(
      'no control plane is chosen',
      "run `npm start` and stay in the project's folder, or `fleet context add NAME --url URL`, or set FLEET_URL",
    );
  }
  const known = stores.flatMap((store) => Object.keys(store.content.contexts));
  throw usageError(
    `there is no context "${wanted}"`,
    known.length === 0 ? 'add it: `fleet context add NAME --url URL`' : `known contexts: ${known.join(', ')}`,
  );
}

function checkUrl(text: string, where: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return text.replace(/\/+$/, '');
  throw usageError(`${where} does not hold an http or https URL`, 'give it as http://HOST:PORT');
}
