import { z } from 'zod';
import { WithdrawnRelease, WithdrawRelease } from '../../../contract/release.ts';
import { requireFleetWide } from '../../access/caller.ts';
import { route } from '../../http/route.ts';
import { withdrawRelease } from './withdraw.ts';

/** Here and not with the releases: what stands in the way is what rollouts have done. */
export const withdraw = route({
  method: 'post',
  path: '/api/v1/releases/{name}/withdraw',
  id: 'withdrawRelease',
  summary: 'Take the newest release back, as long as no database has, or may have, any of its own migrations',
  tag: 'releases',
  permission: 'release:publish',
  params: z.object({ name: z.string() }),
  body: WithdrawRelease,
  status: 200,
  response: WithdrawnRelease,
  handle: async ({ params, body, caller, requestId, tx }) => {
    requireFleetWide(caller, 'a release');
    const { withdrawnAt, ...rest } = await withdrawRelease(tx, params.name, { ...body, caller, requestId });
    return { body: { ...rest, withdrawnAt: withdrawnAt.toISOString() } satisfies WithdrawnRelease };
  },
});
