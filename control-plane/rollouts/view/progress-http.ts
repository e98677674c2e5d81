import { z } from 'zod';
import { RolloutProgress } from '../../../contract/progress.ts';
import { RolloutTarget } from '../../../contract/rollout.ts';
import { FleetError } from '../../../platform/errors.ts';
import { visibleRegions } from '../../access/caller.ts';
import { sharedChannel } from '../../http/channel.ts';
import { follow } from '../../http/follow.ts';
import { route, streamRoute, type SliceRoutes } from '../../http/route.ts';
import type { Registry } from '../../registry/registry.ts';
import { ROLLOUT_CHANNEL } from '../announce.ts';
import { changesAfter } from './change-store.ts';
import { changeView } from './events.ts';
import { readProgress } from './progress.ts';
import { RESTING_STATES, rolloutNotFound } from '../rollout.ts';
import { findRollout } from '../store.ts';
import { findTarget } from './view-store.ts';
import { readOverview, targetView } from './view.ts';

const TAG = 'rollouts';

/** What watchers ask for again and again. */
export function progressRoutes(): SliceRoutes['routes'] {
  return [progress, target];
}

const progress = route({
  method: 'get',
  path: '/api/v1/rollouts/{id}/progress',
  id: 'getRolloutProgress',
  summary:
    'How a rollout goes: waves, what is in flight, failures by kind, outages, estimated end, last events',
  tag: TAG,
  permission: 'fleet:read',
  params: z.object({ id: z.uuid() }),
  status: 200,
  response: RolloutProgress,
  handle: async ({ params, caller, tx }) => {
    const body = await readProgress(tx, params.id, visibleRegions(caller));
    return { body, version: body.version };
  },
});

const target = route({
  method: 'get',
  path: '/api/v1/rollouts/{id}/targets/{tenant}',
  id: 'getRolloutTarget',
  summary:
    "Get one tenant's target: its migrations with times, lock wait, rows and statements; tries; its error",
  tag: TAG,
  permission: 'fleet:read',
  params: z.object({ id: z.uuid(), tenant: z.string().max(100) }),
  status: 200,
  response: RolloutTarget,
  handle: async ({ params, caller, tx }) => {
    const { id, tenant } = params;
    if ((await findRollout(tx, id)) === undefined) throw rolloutNotFound(id);
    const row = await findTarget(tx, id, { tenant, regions: visibleRegions(caller) });
    if (row === undefined) throw targetNotFound(id, tenant);
    return { body: targetView(row) };
  },
});

/**
 * The rollout and its waves after each change; and, as events `change` with ids, every single change of state since
 * its plan, or behind `Last-Event-ID`, so that none is lost between two readings or two connections.
 */
export function events(registry: Registry) {
  const channel = sharedChannel(registry, ROLLOUT_CHANNEL);
  return streamRoute({
    path: '/api/v1/rollouts/{id}/events',
    id: 'streamRollout',
    summary:
      "A rollout's progress as server-sent events, until nothing more happens by itself; `change` events resume behind Last-Event-ID",
    tag: TAG,
    permission: 'fleet:read',
    params: z.object({ id: z.uuid() }),
    stream: (call) => {
      const { id } = call.params;
      const regions = visibleRegions(call.caller);
      return follow(call, {
        id,
        channel,
        event: 'rollout',
        read: () => readOverview(registry, id, regions),
        // A halted one waits for a person.
        isOver: (overview) => RESTING_STATES.includes(overview.state),
        changes: {
          event: 'change',
          after: LastEventId.safeParse(call.request.get('last-event-id')).data,
          read: async (after = '0') => {
            const rows = await changesAfter(registry, id, after);
            return rows.map((row) => changeView(row, regions));
          },
        },
      });
    },
  });
}

/** What we give as ids; anything else is as none. */
const LastEventId = z.string().regex(/^\d{1,18}$/);

function targetNotFound(id: string, tenant: string): FleetError {
  return new FleetError({
    code: 'target_not_found',
    status: 404,
    message: `rollout ${id} has no target ${tenant}`,
    fix: `fleet rollout get ${id} -o wide lists its targets`,
  });
}
