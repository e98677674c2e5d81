import { z } from 'zod';
import { durationSeconds } from '../../contract/duration.ts';
import { pageOf, PageQuery } from '../../contract/page.ts';
import { RotateMasterKey, SecretFilter, SecretVersion } from '../../contract/secret.ts';
import { FleetError } from '../../platform/errors.ts';
import { requireRegion, visibleRegions } from '../access/caller.ts';
import { decodeCursor, pageOfRows } from '../http/cursor.ts';
import { accepted, route, type SliceRoutes } from '../http/route.ts';
import { startRotateMasterKey } from './rotate-master-key.ts';
import type { Secrets } from './secret.ts';
import { listVersions } from './store.ts';

/** More versions than this of one credential would mean a rotation every few minutes for years. */
const MAX_VERSIONS = 500;

/** Reads metadata only, and rotates the master key: no route of this slice can answer with a value. */
export function secretRoutes(deps: SecretRouteDeps): SliceRoutes {
  return { routes: [listSecrets(deps), getSecret(deps), rotateKey(deps)] };
}

export interface SecretRouteDeps {
  secrets: Pick<Secrets, 'isRemote'>;
  /** As apps count their silence. */
  silentMinutesMax: number;
}

const Cursor = z.object({ at: z.string().regex(/^[0-9: .+-]{1,40}$/), id: z.uuid() });

function listSecrets({ silentMinutesMax }: SecretRouteDeps) {
  return route({
    method: 'get',
    path: '/api/v1/secrets',
    id: 'listSecrets',
    summary: 'Versions of credentials with their stages; never values',
    tag: 'secrets',
    permission: 'secret:read',
    query: PageQuery.extend(SecretFilter.shape),
    status: 200,
    response: pageOf(SecretVersion),
    handle: async ({ query, caller, tx }) => {
      if (query.region !== undefined) requireRegion(caller, query.region);
      const rows = await listVersions(tx, {
        region: query.region,
        name: query.name,
        olderThanSeconds: query.olderThan === undefined ? undefined : durationSeconds(query.olderThan),
        regions: visibleRegions(caller),
        after: decodeCursor(query.cursor, Cursor),
        limit: query.limit + 1,
        silentMinutesMax,
      });
      return {
        body: pageOfRows(
          rows,
          query.limit,
          (row) => row.key,
          (row) => row.version,
        ),
      };
    },
  });
}

function getSecret({ silentMinutesMax }: SecretRouteDeps) {
  return route({
    method: 'get',
    path: '/api/v1/secrets/{name}',
    id: 'getSecret',
    summary: "Versions of a tenant's or server's credential, oldest first; never values",
    tag: 'secrets',
    permission: 'secret:read',
    params: z.object({ name: z.string() }),
    status: 200,
    response: pageOf(SecretVersion),
    handle: async ({ params, caller, tx }) => {
      const found = await listVersions(tx, {
        region: undefined,
        name: params.name,
        olderThanSeconds: undefined,
        regions: null,
        after: undefined,
        limit: MAX_VERSIONS,
        silentMinutesMax,
      });
      const regions = visibleRegions(caller);
      const versions = found.map((row) => row.version);
      const items = versions.filter((version) => regions === null || regions.includes(version.region));
      if (items.length === 0 && versions[0] !== undefined) requireRegion(caller, versions[0].region);
      if (items.length === 0) throw notFound(params.name);
      return { body: { items, nextCursor: null } };
    },
  });
}

function rotateKey({ secrets }: SecretRouteDeps) {
  return route({
    method: 'post',
    path: '/api/v1/master-key/rotate',
    id: 'rotateMasterKey',
    summary: 'Wrap all data keys under a new master key; nothing that is sealed under them is touched',
    tag: 'secrets',
    permission: 'secret:rotate',
    body: RotateMasterKey.optional(),
    status: 202,
    handle: async (call) => {
      const wanted = call.body ?? RotateMasterKey.parse({});
      return accepted(await startRotateMasterKey(call.tx, secrets, wanted, call), undefined);
    },
  });
}

function notFound(name: string): FleetError {
  return new FleetError({
    code: 'secret_not_found',
    status: 404,
    message: `no tenant or server named ${name} has a credential`,
    fix: 'fleet secret list',
  });
}
