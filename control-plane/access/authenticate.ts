import { LRUCache } from 'lru-cache';
import { equalInConstantTime } from '../../platform/crypto.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import type { Caller } from './caller.ts';
import { tokenHash, tokenPrefix } from './keys.ts';
import { findKeyByPrefix, touchKey, type KeyProof } from './store.ts';

/** Finds who makes a request from its Authorization header. */
export type Authenticate = (header: string | undefined) => Promise<Caller>;

/**
 * 3 s: a busy client costs one look-up in that time instead of one per request, and a revoked key is dead in
 * every process at the latest 3 s later; 5 s is what is promised.
 */
const CACHE_MS = 3_000;
/** Far more keys than a fleet has in use at once; an entry is below 1 kB. */
const CACHE_ENTRIES = 10_000;

interface Proven {
  caller: Caller;
  /** Milliseconds since the epoch; Infinity where the key does not expire. */
  expiresAt: number;
}

/** Like `authenticate`, with a cache by the token's hash; only keys that were found good are in it. */
export function createAuthenticator(db: Queryable): Authenticate {
  const cache = new LRUCache<string, Proven, string>({
    max: CACHE_ENTRIES,
    ttl: CACHE_MS,
    fetchMethod: (_hash, _stale, { context: token }) => prove(db, token),
  });
  return async (header) => {
    const token = bearerToken(header);
    const proven = await cache.fetch(tokenHash(token), { context: token });
    if (proven === undefined) throw unauthenticated('the key is not known');
    if (proven.expiresAt <= Date.now()) throw unauthenticated('the key has expired');
    return proven.caller;
  };
}

/**
 * @throws FleetError 401 `unauthenticated` when the header is missing or malformed, or the key is unknown,
 * expired or revoked.
 */
export async function authenticate(db: Queryable, header: string | undefined): Promise<Caller> {
  return (await prove(db, bearerToken(header))).caller;
}

function bearerToken(header: string | undefined): string {
  if (header === undefined) throw unauthenticated('the request has no Authorization header');
  const token = /^Bearer +([^ ]+) *$/i.exec(header)?.[1];
  if (token === undefined || tokenPrefix(token) === undefined) {
    throw unauthenticated('the Authorization header is not `Bearer flt_…`');
  }
  return token;
}

async function prove(db: Queryable, token: string): Promise<Proven> {
  const key = await findKeyByPrefix(db, tokenPrefix(token) ?? '');
  // One answer for an unknown prefix and a wrong secret: nobody learns which prefixes exist.
  if (key === undefined || !equalInConstantTime(key.hash, tokenHash(token))) {
    throw unauthenticated('the key is not known');
  }
  if (key.revoked) throw unauthenticated('the key was revoked');
  if (key.expired) throw unauthenticated('the key has expired');
  if (key.useIsOld) await touchKey(db, key.id);
  return { caller: callerOf(key), expiresAt: key.expiresAt?.getTime() ?? Infinity };
}

function callerOf(key: KeyProof): Caller {
  return { principalId: key.principalId, name: key.name, role: key.role, regions: key.regions };
}

function unauthenticated(message: string): FleetError {
  return new FleetError({
    code: 'unauthenticated',
    status: 401,
    message,
    fix: 'send `Authorization: Bearer <key>`; an admin makes keys with `fleet key create`',
  });
}
