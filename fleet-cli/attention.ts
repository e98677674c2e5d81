import { Operation, type OperationState } from '../contract/operation.ts';
import { RolloutSummary, type RolloutState } from '../contract/rollout.ts';
import type { Server } from '../contract/server.ts';
import type { Client } from './client.ts';

/** What goes on in a fleet and what wants a person: the same for every command that tells of it. */

/** States of a rollout that was started and is not settled: the one that somebody means in an incident. */
const OPEN_ROLLOUT: readonly RolloutState[] = ['running', 'paused', 'halted', 'awaiting_approval', 'undoing'];

const OPEN_OPERATION: readonly OperationState[] = ['queued', 'running'];

/** A day: a failure of last night is news in the morning; older ones are history that the list tells. */
const FAILED_LATELY_MS = 24 * 3_600_000;

/** Rollouts that were started and are not settled, newest first. */
export async function openRollouts(client: Client): Promise<RolloutSummary[]> {
  return await inStates(OPEN_ROLLOUT, (state) => client.list('/api/v1/rollouts', RolloutSummary, { state }));
}

/** Stored plans that nobody started, newest first. */
export async function plannedRollouts(client: Client): Promise<RolloutSummary[]> {
  return await client.list('/api/v1/rollouts', RolloutSummary, { state: 'planned' });
}

/** Operations that are queued or running, newest first: all, or those of one subject, of which there is at most one. */
export async function openOperations(client: Client, subject?: string): Promise<Operation[]> {
  return await inStates(OPEN_OPERATION, (state) =>
    client.list('/api/v1/operations', Operation, { state, subject }),
  );
}

/** Operations that failed within the last 24 hours, newest first. */
export async function failedLately(client: Client): Promise<Operation[]> {
  const finishedAfter = new Date(Date.now() - FAILED_LATELY_MS).toISOString();
  return await client.list('/api/v1/operations', Operation, { state: 'failed', finishedAfter });
}

/** Servers that should answer and did not when they were last asked. */
export function unreachableServers(servers: Server[]): Server[] {
  return servers.filter(
    ({ reachable, state, instance }) =>
      !reachable && state !== 'retired' && state !== 'provisioning' && instance?.stopped !== true,
  );
}

async function inStates<S, T extends { createdAt: string }>(
  states: readonly S[],
  list: (state: S) => Promise<T[]>,
): Promise<T[]> {
  const lists = await Promise.all(states.map(list));
  return lists.flat().sort((one, other) => other.createdAt.localeCompare(one.createdAt));
}
