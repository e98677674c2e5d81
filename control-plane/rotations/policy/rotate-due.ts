import { SYSTEM_CALLER } from '../../access/caller.ts';
import type { Registry } from '../../registry/registry.ts';
import { startScheduledRun } from '../runs/start.ts';
import { planDue, type RotationPolicy } from './plan.ts';
import { countByTier, servingFor } from './serving-store.ts';

/** Five minutes: a fleet of 5,000 that rotates each month has less than one tenant due in that time. */
const EVERY_MINUTES = 5;
export const ROTATE_DUE_CRON = `*/${EVERY_MINUTES} * * * *`;

/**
 * Starts a run for those whose credentials are due by the policy of their tier. Safe to run twice and to miss: what is
 * due stays due.
 */
export async function rotateDue({ registry }: { registry: Registry }, policy: RotationPolicy): Promise<void> {
  await registry.transaction(async (tx) => {
    const serving = await servingFor(tx, policy);
    if (serving.length === 0) return;
    const at = { now: Date.now(), everyMs: EVERY_MINUTES * 60_000, tenants: await countByTier(tx) };
    const due = planDue(serving, policy, at);
    if (due.length === 0) return;
    const asker = { caller: SYSTEM_CALLER, requestId: null, reason: 'due by the policy of its tier' };
    await startScheduledRun(tx, due, asker);
  });
}
