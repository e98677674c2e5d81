import { z } from 'zod';
import { ReleaseDiff, ReleaseDiffQuery } from '../../contract/schema-diff.ts';
import type { Queryable } from '../../platform/pg.ts';
import { route, type SliceRoutes } from '../http/route.ts';
import {
  findRelease,
  findReleaseAt,
  listFindings,
  previousHead,
  type ReleaseRecord,
} from '../releases/store.ts';
import { missingRelease } from '../releases/withdrawn.ts';
import type { ReferenceDeps } from './reference.ts';
import { diffVersions } from './version-diff.ts';

/** What differs between two releases. Here and not with the releases, as making schemas takes a tenant's roles. */
export function releaseDiffRoutes(deps: ReferenceDeps): SliceRoutes {
  return { routes: [diff(deps)] };
}

function diff(deps: ReferenceDeps) {
  return route({
    method: 'get',
    path: '/api/v1/releases/{name}/diff',
    id: 'diffRelease',
    summary:
      'Compare the schema of a release with that of another; made on a scratch database when first asked',
    tag: 'releases',
    permission: 'fleet:read',
    params: z.object({ name: z.string() }),
    query: ReleaseDiffQuery,
    status: 200,
    response: ReleaseDiff,
    handle: async ({ params, query, tx }) => {
      const release = await requireRelease(tx, params.name);
      const from = await startOf(tx, release, query.from);
      return { body: await compareReleases(deps, from, release) };
    },
  });
}

async function compareReleases(
  deps: ReferenceDeps,
  from: ReleaseRecord | undefined,
  to: ReleaseRecord,
): Promise<ReleaseDiff> {
  const versions = { from: from?.headOrdinal ?? 0, to: to.headOrdinal };
  const [low, high] = [Math.min(versions.from, versions.to), Math.max(versions.from, versions.to)];
  return {
    ...(await diffVersions(deps, versions, null)),
    release: to.name,
    fromRelease: from?.name ?? null,
    backwards: versions.from > versions.to,
    findings: await listFindings(deps.registry, low, high),
  };
}

/** The release that is named, or the one before; undefined: the empty database. */
async function startOf(
  db: Queryable,
  release: ReleaseRecord,
  name: string | undefined,
): Promise<ReleaseRecord | undefined> {
  if (name !== undefined) return requireRelease(db, name);
  return findReleaseAt(db, await previousHead(db, release.headOrdinal));
}

/** @throws FleetError 404 `release_not_found` */
async function requireRelease(db: Queryable, name: string): Promise<ReleaseRecord> {
  const release = await findRelease(db, name);
  if (release === undefined) throw await missingRelease(db, name);
  return release;
}
