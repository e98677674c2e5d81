import { resolve } from 'node:path';
import {
  contextStores,
  contextTokenFile,
  readTokenFile,
  type Context,
  type ContextStore,
} from './contexts.ts';
import { CliError, usageError } from './errors.ts';
import { EXIT } from './exit.ts';
import type { Globals } from './globals.ts';
import type { Io } from './io.ts';

/** Which control plane a command talks to, as whom, and where that was said. */
export interface Connection {
  url: string;
  token: string | undefined;
  /** Absolute path of the file that the token is from; undefined when it is from FLEET_TOKEN, or there is none. */
  tokenFile: string | undefined;
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
 * @throws CliError exit 2 when no control plane is named, exit 3 when a context is unknown.
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
      ...readToken(environmentToken(io)),
      context: null,
      source: 'FLEET_URL',
    };
  }
  const found = findContext(globals.context ?? env['FLEET_CONTEXT'], contextStores(io));
  return {
    url: checkUrl(found.context.url, `context ${found.name}`),
    ...readToken(environmentToken(io) ?? { tokenFile: contextTokenFile(found.store, found.context) }),
    context: found.name,
    source: found.store.file,
  };
}

type TokenPlace = { token: string } | { tokenFile: string | undefined };

/** What the environment says of the token, if anything. */
function environmentToken({ env, cwd }: Pick<Io, 'env' | 'cwd'>): TokenPlace | undefined {
  const token = env['FLEET_TOKEN'];
  if (token !== undefined && token !== '') return { token: token.trim() };
  const file = env['FLEET_TOKEN_FILE'];
  return file === undefined || file === '' ? undefined : { tokenFile: resolve(cwd, file) };
}

function readToken(place: TokenPlace | undefined): Pick<Connection, 'token' | 'tokenFile'> {
  if (place === undefined) return { token: undefined, tokenFile: undefined };
  if ('token' in place) return { token: place.token, tokenFile: undefined };
  const { tokenFile } = place;
  return { token: tokenFile === undefined ? undefined : readTokenFile(tokenFile), tokenFile };
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
  throw unknownContext(wanted, stores);
}

/** Not found, as with any other name: exit 3, and which names there are. */
export function unknownContext(name: string, stores: ContextStore[]): CliError {
  const known = stores.flatMap((store) => Object.keys(store.content.contexts));
  return new CliError({
    code: 'context_not_found',
    exitCode: EXIT.conflict,
    message: `there is no context "${name}"`,
    fix:
      known.length === 0
        ? 'there is none yet; add one: `fleet context add NAME --url URL`'
        : `there are: ${[...new Set(known)].join(', ')}`,
  });
}

function checkUrl(text: string, where: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return text.replace(/\/+$/, '');
  throw usageError(`${where} does not hold an http or https URL`, 'give it as http://HOST:PORT');
}
