import { TIERS, type Tier } from '../../../contract/tenant.ts';
import { sha256 } from '../../../platform/crypto.ts';

/** How long a credential may serve, by tier, in milliseconds; tiers that are missing are never rotated by themselves. */
export type RotationPolicy = Partial<Record<Tier, number | undefined>>;

/** A tenant's present credential. */
export interface Serving {
  tenantId: string;
  tier: Tier;
  /** Milliseconds since the epoch. */
  since: number;
}

/**
 * A credential is due at an instant between these parts of its period. Those of a fleet that was rotated in one night
 * come up again over a fifth of the period, and wider apart each time; the last twentieth is there for catching up.
 */
const DUE_FROM = 0.75;
const DUE_TO = 0.95;

/** Before this share of the period none is due. */
export const DUE_FROM_SHARE = DUE_FROM;

/**
 * Of what a tier would do in a look if its rotations were spread evenly over the period. Due instants lie five times as
 * close; what is beyond eight, as after days without a control plane, waits for the next look.
 */
const CATCH_UP = 8;

/** When the credential is due: the same answer each time for the same credential, another for its successor. */
export function dueAt({ tenantId, since }: Serving, periodMs: number): number {
  return since + periodMs * (DUE_FROM + (DUE_TO - DUE_FROM) * chance(`${tenantId} ${since}`));
}

/** From 0 to 1, evenly, and always the same for the same text. */
function chance(text: string): number {
  return parseInt(sha256(text).slice(0, 8), 16) / 2 ** 32;
}

/**
 * The tenants to rotate now, the longest due first. Pure.
 * @param everyMs between two looks
 * @param tenants live tenants of each tier, due or not
 */
export function planDue(
  serving: readonly Serving[],
  policy: RotationPolicy,
  { now, everyMs, tenants }: { now: number; everyMs: number; tenants: Record<Tier, number> },
): string[] {
  return TIERS.flatMap((tier) => {
    const periodMs = policy[tier];
    if (periodMs === undefined) return [];
    const most = Math.max(1, Math.ceil((CATCH_UP * tenants[tier] * everyMs) / periodMs));
    return serving
      .filter((one) => one.tier === tier)
      .map((one) => ({ tenantId: one.tenantId, due: dueAt(one, periodMs) }))
      .filter(({ due }) => due <= now)
      .sort((a, b) => a.due - b.due)
      .slice(0, most)
      .map(({ tenantId }) => tenantId);
  });
}
