import { z } from 'zod';
import { PageQuery, pageOf } from '../../contract/page.ts';
import { PublishedRelease, PublishRelease, Release, ReleaseDetail } from '../../contract/release.ts';
import type { Queryable } from '../../platform/pg.ts';
import { requireFleetWide, visibleRegions, type Caller } from '../access/caller.ts';
import { decodeCursor, pageOfRows } from '../http/cursor.ts';
import { route, type SliceRoutes } from '../http/route.ts';
import { publishRelease } from './publish.ts';
import {
  findReleaseAt,
  listFindings,
  listMigrations,
  listReleases,
  lockPublishing,
  previousHead,
  type ReleaseStanding,
} from './store.ts';
import { missingRelease } from './withdrawn.ts';

const ReleaseName = z.object({ name: z.string() });
const Position = z.object({ ordinal: z.number().int() });

/** Publishing and reading releases. */
export function releaseRoutes(): SliceRoutes {
  return { routes: [publish, list, get] };
}

const publish = route({
  method: 'post',
  path: '/api/v1/releases',
  id: 'publishRelease',
  summary:
    'Publish the whole list of migrations as an immutable release; published before, it is only answered',
  tag: 'releases',
  permission: 'release:publish',
  body: PublishRelease,
  status: 201,
  response: PublishedRelease,
  handle: async ({ body, caller, requestId, tx }) => {
    requireFleetWide(caller, 'a release');
    await lockPublishing(tx);
    // A release is a point on one list: what ends there already can only be published again, or be refused.
    const ordinal = body.migrations.length;
    const known = await findReleaseAt(tx, ordinal);
    const name = await publishRelease(tx, body, caller, requestId);
    return {
      body: {
        ...toRelease(await requireStanding(tx, name, caller)),
        alreadyPublished: known !== undefined,
        findings: await listFindings(tx, await previousHead(tx, ordinal), ordinal),
      } satisfies PublishedRelease,
      headers: { Location: `/api/v1/releases/${encodeURIComponent(name)}` },
    };
  },
});

const list = route({
  method: 'get',
  path: '/api/v1/releases',
  id: 'listReleases',
  summary: 'List releases, newest first',
  tag: 'releases',
  permission: 'fleet:read',
  query: PageQuery,
  status: 200,
  response: pageOf(Release),
  handle: async ({ query, caller, tx }) => {
    const rows = await listReleases(tx, {
      // One more than asked for tells whether there is a next page.
      limit: query.limit + 1,
      beforeOrdinal: decodeCursor(query.cursor, Position)?.ordinal,
      regions: visibleRegions(caller),
    });
    return {
      body: pageOfRows(rows, query.limit, ({ headOrdinal }) => ({ ordinal: headOrdinal }), toRelease),
    };
  },
});

const get = route({
  method: 'get',
  path: '/api/v1/releases/{name}',
  id: 'getRelease',
  summary: 'Get a release with its migrations',
  tag: 'releases',
  permission: 'fleet:read',
  params: ReleaseName,
  status: 200,
  response: ReleaseDetail,
  handle: async ({ params, caller, tx }) => {
    const release = await requireStanding(tx, params.name, caller);
    const migrations = await listMigrations(tx, release.headOrdinal);
    const findings = await listFindings(tx, 0, release.headOrdinal);
    const steps = migrations.map((migration) => ({
      name: migration.name,
      checksum: migration.checksum,
      phase: migration.phase,
      transactional: migration.transactional,
      reversible: migration.downSql !== null,
      outOfOrder: migration.outOfOrder ?? false,
      upSql: migration.upSql,
      downSql: migration.downSql,
      backfill: migration.backfill ?? null,
      requiresApp: migration.requiresApp ?? null,
      findings: findings.filter((finding) => finding.migration === migration.name),
    }));
    return { body: { ...toRelease(release), steps } };
  },
});

async function requireStanding(db: Queryable, name: string, caller: Caller): Promise<ReleaseStanding> {
  const [release] = await listReleases(db, { name, limit: 1, regions: visibleRegions(caller) });
  if (release !== undefined) return release;
  throw await missingRelease(db, name);
}

function toRelease(release: ReleaseStanding): Release {
  return {
    name: release.name,
    head: release.head,
    checksum: release.checksum,
    migrations: release.headOrdinal,
    current: release.current,
    applied: release.applied,
    behind: release.behind,
    publishedBy: release.publishedBy,
    publishedAt: release.publishedAt.toISOString(),
  };
}
