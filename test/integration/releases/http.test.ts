import assert from 'node:assert/strict';
import { PublishedRelease, Release, ReleaseDetail } from '../../../contract/release.ts';
import { SYSTEM_CALLER } from '../../../control-plane/access/caller.ts';
import type { Answer } from '../../../control-plane/http/route.ts';
import { releaseRoutes } from '../../../control-plane/releases/http.ts';
import { FleetError } from '../../../platform/errors.ts';
import { freshRegistry, type TestRegistry } from '../../support/registry.ts';
import { rendered } from './tenant-database.ts';

describe('routes of releases', () => {
  let test: TestRegistry;

  before(async () => {
    test = await freshRegistry();
  });
  after(() => test.drop());

  /** Calls a route as http/ does: parsed input, in a transaction. */
  async function call(
    id: string,
    input: { params?: object; query?: object; body?: unknown },
  ): Promise<Answer> {
    const route = releaseRoutes().routes.find((candidate) => candidate.id === id);
    assert(route !== undefined);
    return test.registry.transaction((tx) =>
      route.handle({
        params: route.params?.parse(input.params ?? {}),
        query: route.query?.parse(input.query ?? {}),
        body: route.body?.parse(input.body),
        caller: SYSTEM_CALLER,
        requestId: 'r',
        ifMatch: undefined,
        tx,
      }),
    );
  }

  it('publish, list page by page, newest first, and get with the SQL of each step', async () => {
    const sql = ['SELECT 1', 'SELECT 2', 'SELECT 3'];
    for (let count = 1; count <= sql.length; count += 1) {
      const body = { name: `r${count}`, migrations: rendered(...sql.slice(0, count)) };
      const answer = await call('publishRelease', { body });
      assert.equal(answer.headers?.Location, `/api/v1/releases/r${count}`);
      const published = PublishedRelease.parse(answer.body);
      assert.deepEqual([published.current, published.alreadyPublished], [count === 1, false]);
      const again = await call('publishRelease', { body });
      assert.equal(PublishedRelease.parse(again.body).alreadyPublished, true);
    }
    const seen: string[] = [];
    let cursor: string | undefined;
    do {
      const { body } = await call('listReleases', {
        query: { limit: 2, ...(cursor === undefined ? {} : { cursor }) },
      });
      const page = body as { items: Release[]; nextCursor: string | null };
      seen.push(...page.items.map((item) => Release.parse(item).name));
      cursor = page.nextCursor ?? undefined;
    } while (cursor !== undefined);
    assert.deepEqual(seen, ['r3', 'r2', 'r1']);

    const { body } = await call('getRelease', { params: { name: 'r2' } });
    const detail = ReleaseDetail.parse(body);
    assert.deepEqual(
      detail.steps.map(({ upSql, reversible }) => [upSql, reversible]),
      [
        ['SELECT 1', false],
        ['SELECT 2', false],
      ],
    );
    assert.equal(detail.migrations, 2);
  });

  it('answers 404 for a release that is not there', async () => {
    await assert.rejects(
      call('getRelease', { params: { name: 'nope' } }),
      (error: unknown) =>
        error instanceof FleetError && error.code === 'release_not_found' && error.status === 404,
    );
  });
});
