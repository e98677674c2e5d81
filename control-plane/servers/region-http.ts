import { z } from 'zod';
import { pageOf, PageQuery } from '../../contract/page.ts';
import { CreateRegion, Region } from '../../contract/server.ts';
import { FleetError, SQLSTATE, sqlState } from '../../platform/errors.ts';
import { requireRegion, visibleRegions } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import { decodeCursor, pageOfRows } from '../http/cursor.ts';
import { route, type Route } from '../http/route.ts';
import { findRegionUsage, insertRegion, listRegions, type RegionUsage } from './region-store.ts';
import { regionNotFound } from './region.ts';

const Cursor = z.object({ name: z.string() });

/** Regions: listed, shown and made. */
export function regionRoutes(): Route[] {
  return [listRoute, getRoute, createRoute];
}

const listRoute = route({
  method: 'get',
  path: '/api/v1/regions',
  id: 'listRegions',
  summary: 'Regions by name',
  tag: 'regions',
  permission: 'fleet:read',
  query: PageQuery,
  status: 200,
  response: pageOf(Region),
  handle: async ({ query, caller, tx }) => {
    const rows = await listRegions(tx, {
      regions: visibleRegions(caller),
      after: decodeCursor(query.cursor, Cursor)?.name,
      limit: query.limit + 1,
    });
    return { body: pageOfRows(rows, query.limit, ({ name }) => ({ name }), regionView) };
  },
});

const getRoute = route({
  method: 'get',
  path: '/api/v1/regions/{name}',
  id: 'getRegion',
  summary: 'One region',
  tag: 'regions',
  permission: 'fleet:read',
  params: z.object({ name: z.string() }),
  status: 200,
  response: Region,
  handle: async ({ params, caller, tx }) => {
    const region = await findRegionUsage(tx, params.name);
    if (region === undefined) throw regionNotFound(params.name);
    requireRegion(caller, region.name);
    return { body: regionView(region) };
  },
});

const createRoute = route({
  method: 'post',
  path: '/api/v1/regions',
  id: 'createRegion',
  summary: 'Add a region to the fleet',
  tag: 'regions',
  permission: 'region:write',
  body: CreateRegion,
  status: 201,
  response: Region,
  handle: async (call) => {
    const { body, caller, tx } = call;
    requireRegion(caller, body.name);
    try {
      await insertRegion(tx, { ...body, appUrl: body.appUrl ?? null });
    } catch (error) {
      if (sqlState(error) === SQLSTATE.uniqueViolation) throw taken(body);
      throw error;
    }
    auditAsked(tx, call, {
      action: 'region.create',
      resource: `region:${body.name}`,
      region: body.name,
      after: body,
    });
    const region = await findRegionUsage(tx, body.name);
    if (region === undefined) throw regionNotFound(body.name);
    return { body: regionView(region) };
  },
});

function taken(region: CreateRegion): FleetError {
  return new FleetError({
    code: 'region_exists',
    status: 409,
    message: `there is a region named ${region.name}, or one with the domain ${region.domain}, already`,
    fix: 'fleet region list',
  });
}

function regionView(region: RegionUsage): Region {
  return { ...region, createdAt: region.createdAt.toISOString() };
}
