import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import { ApiKey, CreatedKey, CreateKey, RotateKey } from '../../contract/access.ts';
import { durationSeconds } from '../../contract/duration.ts';
import { PageQuery, pageOf } from '../../contract/page.ts';
import { FleetError } from '../../platform/errors.ts';
import type { Queryable } from '../../platform/pg.ts';
import { auditAsked } from '../audit/audit.ts';
import { CreatedCursor, decodeCursor, pageByCreation } from '../http/cursor.ts';
import { route, type Answer, type Call, type SliceRoutes } from '../http/route.ts';
import { mayUseRegion, requireRegion, visibleRegions, type Caller } from './caller.ts';
import { createKey } from './keys.ts';
import { rotateKey } from './rotate-key.ts';
import { findKey, insertPrincipal, listKeys, revokeKey } from './store.ts';

export interface AccessRoutesDeps {
  /** Throws where there is no such region: a key bound to a misspelt one would be a puzzle for its user. */
  requireKnownRegion: (db: Queryable, name: string) => Promise<unknown>;
}

const KeyId = z.object({ id: z.uuid() });

/** API keys: made, listed and revoked. */
export function accessRoutes(deps: AccessRoutesDeps): SliceRoutes {
  return {
    routes: [
      route({
        method: 'post',
        path: '/api/v1/keys',
        id: 'createKey',
        summary: 'Make an API key; its token is in this answer only',
        tag: 'keys',
        permission: 'key:write',
        body: CreateKey,
        status: 201,
        response: CreatedKey,
        sensitive: true,
        handle: (call) => create(call, deps),
      }),
      route({
        method: 'get',
        path: '/api/v1/keys',
        id: 'listKeys',
        summary: 'List API keys, newest first, revoked ones included',
        tag: 'keys',
        permission: 'key:write',
        query: PageQuery,
        status: 200,
        response: pageOf(ApiKey),
        handle: list,
      }),
      route({
        method: 'post',
        path: '/api/v1/keys/{name}/rotate',
        id: 'rotateKey',
        summary: 'Make another key for the same use, and let those before end a while later',
        tag: 'keys',
        permission: 'key:write',
        params: z.object({ name: z.string().min(1).max(100) }),
        body: RotateKey.optional(),
        status: 201,
        response: CreatedKey,
        sensitive: true,
        handle: rotate,
      }),
      route({
        method: 'delete',
        path: '/api/v1/keys/{id}',
        id: 'revokeKey',
        summary: 'Revoke an API key; it is refused everywhere within 5 seconds',
        tag: 'keys',
        permission: 'key:write',
        params: KeyId,
        status: 204,
        handle: revoke,
      }),
    ],
  };
}

async function create(call: Call<unknown, unknown, CreateKey>, deps: AccessRoutesDeps): Promise<Answer> {
  const { body, caller, tx } = call;
  requireWithin(caller, body.regions);
  for (const region of body.regions) await deps.requireKnownRegion(tx, region);
  const { name, role, regions } = body;
  const kind = role === 'app' ? 'app' : 'user';
  if ((await insertPrincipal(tx, { id: randomUUID(), name, kind })) === undefined) throw nameTaken(name);
  const expiresAt = body.expiresInDays === undefined ? null : daysFromNow(body.expiresInDays);
  const { id, token } = await createKey(tx, { name, kind, role, regions, expiresAt });
  auditAsked(tx, call, {
    action: 'key.create',
    resource: `key:${id}`,
    region: onlyRegion(regions),
    after: { name, role, regions, expiresAt: expiresAt?.toISOString() ?? null },
  });
  return { body: { ...(await findKey(tx, id)), token } };
}

async function list(call: Call<unknown, PageQuery, unknown>): Promise<Answer> {
  const { limit, cursor } = call.query;
  const keys = await listKeys(call.tx, {
    regions: visibleRegions(call.caller),
    limit: limit + 1,
    cursor: decodeCursor(cursor, CreatedCursor),
  });
  return { body: pageByCreation(keys, limit) };
}

async function revoke(call: Call<{ id: string }, unknown, unknown>): Promise<Answer> {
  const { caller, tx } = call;
  const key = await findKey(tx, call.params.id);
  if (key === undefined) {
    throw new FleetError({
      code: 'key_not_found',
      status: 404,
      message: `there is no key ${call.params.id}`,
      fix: 'fleet key list',
    });
  }
  requireWithin(caller, key.regions);
  if (await revokeKey(tx, key.id)) {
    auditAsked(tx, call, {
      action: 'key.revoke',
      resource: `key:${key.id}`,
      region: onlyRegion(key.regions),
      before: { name: key.name, role: key.role, regions: key.regions },
    });
  }
  return {};
}

async function rotate(call: Call<{ name: string }, unknown, RotateKey | undefined>): Promise<Answer> {
  const { caller, tx, params } = call;
  const { overlap } = call.body ?? RotateKey.parse({});
  const key = await rotateKey(tx, params.name, durationSeconds(overlap), (regions) =>
    requireWithin(caller, regions),
  );
  auditAsked(tx, call, {
    action: 'key.rotate',
    resource: `key:${key.id}`,
    region: onlyRegion(key.regions),
    before: { ids: key.before, end: key.end.toISOString() },
    after: { name: params.name, role: key.role, regions: key.regions },
  });
  return { body: { ...(await findKey(tx, key.id)), token: key.token } };
}

/** Nobody handles a key that reaches further than their own. */
function requireWithin(caller: Caller, regions: string[]): void {
  if (caller.regions.length > 0 && regions.length === 0) {
    throw new FleetError({
      code: 'region_forbidden',
      status: 403,
      message: `your key is bound to ${caller.regions.join(', ')}; a key for every region reaches further`,
      fix: `name the key's regions: ${caller.regions.join(', ')}`,
    });
  }
  const foreign = regions.find((region) => !mayUseRegion(caller, region));
  if (foreign !== undefined) requireRegion(caller, foreign);
}

/** A name is given once and for ever: else a new key could act under the name of another in the audit log. */
function nameTaken(name: string): FleetError {
  return new FleetError({
    code: 'key_name_taken',
    status: 409,
    message: `the name ${name} belongs to another key, live or revoked`,
    fix: 'choose another name, for example with a number or the year in it',
  });
}

const DAY_MS = 24 * 60 * 60 * 1000;

function daysFromNow(days: number): Date {
  return new Date(Date.now() + days * DAY_MS);
}

function onlyRegion(regions: string[]): string | null {
  return regions.length === 1 ? (regions[0] ?? null) : null;
}
