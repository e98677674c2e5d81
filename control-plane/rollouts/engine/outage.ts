import type { Transaction } from '../../registry/registry.ts';
import { recordEngineAction } from './halt.ts';
import { endOutages, noteOutage, recallTargets } from './outage-store.ts';
import type { Run } from './run.ts';

/**
 * A server that does not answer is one event, however many targets wait for it. They stay where they are while
 * other servers go on; one of them tries again at a stored instant, and when it gets through, all may run.
 */
export async function openOutage(tx: Transaction, run: Run, serverId: string): Promise<void> {
  if (!(await noteOutage(tx, run.rolloutId, serverId, run.outage))) return;
  run.logger.warn('a server does not answer; its targets wait', { server: serverId });
  recordEngineAction(tx, { id: run.rolloutId, state: 'running' }, 'rollout.server_lost', {
    server: serverId,
  });
}

export async function closeOutage(tx: Transaction, run: Run, serverId: string): Promise<void> {
  const ended = await endOutages(tx, run.rolloutId, serverId);
  if (ended.length === 0) return;
  await recallTargets(tx, run.rolloutId, serverId);
  run.logger.info('a server answers again', { server: serverId });
  recordEngineAction(tx, { id: run.rolloutId, state: 'running' }, 'rollout.server_back', {
    server: serverId,
  });
}
