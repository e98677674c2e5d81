import assert from 'node:assert/strict';
import { ROLES, type Role } from '../../../contract/access.ts';
import type { Route, SliceRoutes, StreamRoute } from '../../../control-plane/http/route.ts';
import { describedRoutes } from '../../../scripts/openapi.ts';
import { eachAtOnce } from '../../support/concurrency.ts';
import { startTestApp, type TestApp } from './http-app.ts';

const READERS: Role[] = ['viewer', 'onboarder', 'operator', 'auditor', 'admin'];
const OPERATORS: Role[] = ['operator', 'admin'];

/** Who may call what, by route id. Written by hand: a new route fails this test until it is decided on. */
const MAY: Record<string, Role[]> = {
  listTenants: READERS,
  getTenant: READERS,
  createTenant: ['onboarder', ...OPERATORS],
  updateTenant: OPERATORS,
  suspendTenant: OPERATORS,
  resumeTenant: OPERATORS,
  deleteTenant: OPERATORS,
  connectTenant: OPERATORS,
  getConnection: OPERATORS,
  disconnectTenant: OPERATORS,
  keepTenantKey: OPERATORS,
  destroyTenantKey: OPERATORS,
  listRegions: READERS,
  getRegion: READERS,
  createRegion: ['admin'],
  listServers: READERS,
  getServer: READERS,
  addServer: OPERATORS,
  cordonServer: OPERATORS,
  uncordonServer: OPERATORS,
  snapshotServer: OPERATORS,
  modifyServer: OPERATORS,
  checkServers: OPERATORS,
  removeServer: OPERATORS,
  listSecrets: ['operator', 'auditor', 'admin'],
  getSecret: ['operator', 'auditor', 'admin'],
  rotateSecret: OPERATORS,
  rotateMasterKey: OPERATORS,
  rotateServer: OPERATORS,
  listRotations: ['operator', 'auditor', 'admin'],
  getRotation: ['operator', 'auditor', 'admin'],
  listRotationTargets: ['operator', 'auditor', 'admin'],
  planRotation: OPERATORS,
  startRotation: OPERATORS,
  cancelRotation: OPERATORS,
  listReleases: READERS,
  getRelease: READERS,
  diffRelease: READERS,
  publishRelease: OPERATORS,
  withdrawRelease: OPERATORS,
  listRollouts: READERS,
  getRollout: READERS,
  getRolloutSchemaDiff: READERS,
  listRolloutTargets: READERS,
  getRolloutTarget: READERS,
  getRolloutProgress: READERS,
  listRolloutMeasurements: READERS,
  streamRollout: READERS,
  planRollout: OPERATORS,
  createRollout: OPERATORS,
  startRollout: OPERATORS,
  approveRollout: OPERATORS,
  pauseRollout: OPERATORS,
  resumeRollout: OPERATORS,
  promoteRollout: OPERATORS,
  abortRollout: OPERATORS,
  retryRollout: OPERATORS,
  skipRollout: OPERATORS,
  undoRollout: OPERATORS,
  listRehearsals: READERS,
  getRehearsal: READERS,
  rehearseRollout: OPERATORS,
  listBackfillSwitches: READERS,
  switchBackfills: OPERATORS,
  listDrift: READERS,
  getDriftCheck: READERS,
  checkDrift: OPERATORS,
  acceptDrift: OPERATORS,
  listOperations: READERS,
  getOperation: READERS,
  watchOperation: READERS,
  retryOperation: OPERATORS,
  cancelOperation: OPERATORS,
  listAudit: ['auditor', 'admin'],
  verifyAudit: ['auditor', 'admin'],
  listKeys: ['admin'],
  createKey: ['admin'],
  rotateKey: ['admin'],
  revokeKey: ['admin'],
  getRoutes: ['app'],
  streamRoutes: ['app'],
  getRouteCredential: ['app'],
  reportApp: ['app'],
};

/** The product's routes with handlers that do nothing: what is tested here comes before them. */
function inert(slices: SliceRoutes[]): SliceRoutes[] {
  const open = (route: Route): Route => {
    const { params: _params, query: _query, body: _body, response: _response, ...rest } = route;
    return { ...rest, handle: async () => ({}) };
  };
  const openStream = (stream: StreamRoute): StreamRoute => {
    const { params: _params, query: _query, ...rest } = stream;
    return {
      ...rest,
      stream: async ({ response }) => {
        response.status(200).end();
      },
    };
  };
  return slices.map((slice) => ({
    routes: slice.routes.map(open),
    streams: (slice.streams ?? []).map(openStream),
  }));
}

interface Target {
  id: string;
  method: string;
  path: string;
  accept: string;
}

describe('roles', () => {
  let app: TestApp;
  const slices = describedRoutes();
  const targets: Target[] = [
    ...slices.flatMap((slice) => slice.routes).map((route) => ({ ...route, accept: 'application/json' })),
    ...slices
      .flatMap((slice) => slice.streams ?? [])
      .map((stream) => ({ ...stream, method: 'get', accept: 'text/event-stream' })),
  ];

  before(async () => {
    app = await startTestApp(() => inert(slices));
  });
  after(() => app.stop());

  async function status(target: Target, authorization?: string): Promise<number> {
    const response = await fetch(`${app.url}${target.path.replaceAll(/\{\w+\}/g, 'x')}`, {
      method: target.method.toUpperCase(),
      headers: { accept: target.accept, ...(authorization === undefined ? {} : { authorization }) },
    });
    await response.arrayBuffer();
    return response.status;
  }

  it('are decided on for every route, and for none that is gone', () => {
    assert.deepEqual(targets.map((target) => target.id).sort(), Object.keys(MAY).sort());
  });

  it('reach their routes and no other', async () => {
    const cells = targets.flatMap((target) => ROLES.map((role) => ({ target, role })));
    const found = await eachAtOnce(cells, 8, async ({ target, role }) => {
      const answered = await status(target, `Bearer ${app.keys[role]}`);
      return `${target.id} as ${role}: ${answered === 403 ? 'refused' : answered < 300 ? 'let in' : answered}`;
    });
    const wanted = cells.map(
      ({ target, role }) =>
        `${target.id} as ${role}: ${MAY[target.id]?.includes(role) === true ? 'let in' : 'refused'}`,
    );
    assert.deepEqual(found, wanted);
  });

  it('count for nothing without a valid key', async () => {
    const unknown = `Bearer flt_000000000000_${'A'.repeat(43)}`;
    for (const authorization of [undefined, 'Bearer nonsense', `Basic ${btoa('a:b')}`, unknown]) {
      const answers = await eachAtOnce(targets, 8, (target) => status(target, authorization));
      assert.deepEqual(new Set(answers), new Set([401]));
    }
  });
});
