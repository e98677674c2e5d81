import type { RolloutPlan } from '../../../contract/rollout-plan.ts';
import type { CalendarRule } from '../../../contract/rollout.ts';
import { matches, type Matched } from './match.ts';
import type { WaitingMember } from './plan-store.ts';

type Waiting = RolloutPlan['waiting'][number];

/**
 * Targets that do not run at once, by wave, reason and time zone, in the order of the plan: how many they are, and
 * between which instants they run. Pure.
 */
export function groupWaiting(
  members: readonly WaitingMember[],
  calendar: readonly CalendarRule[],
): Waiting[] {
  const groups = new Map<string, Waiting>();
  for (const member of members) {
    const { wave, state, reason } = member;
    const at = member.notBefore?.toISOString() ?? null;
    const timeZone = at === null ? UTC : timeZoneOf(member, calendar);
    const key = JSON.stringify([wave, state, reason, timeZone, at === null]);
    const group = groups.get(key) ?? {
      ...{ wave, state, reason, timeZone },
      ...{ targets: 0, first: at, last: at },
    };
    groups.set(key, {
      ...group,
      targets: group.targets + 1,
      first: earlier(group.first, at),
      last: later(group.last, at),
    });
  }
  return [...groups.values()];
}

const UTC = 'UTC';

/** That of the windows which hold for the target, where it is one. A freeze has instants, and no zone. */
function timeZoneOf(member: Matched, calendar: readonly CalendarRule[]): string {
  const zones = calendar.flatMap((rule) =>
    'open' in rule && matches(rule.match, member) ? [rule.timeZone] : [],
  );
  const [zone, ...others] = new Set(zones);
  return zone === undefined || others.length > 0 ? UTC : zone;
}

/** Instants in ISO form sort as text. */
function earlier(a: string | null, b: string | null): string | null {
  return a === null || b === null ? null : a < b ? a : b;
}

function later(a: string | null, b: string | null): string | null {
  return a === null || b === null ? null : a > b ? a : b;
}
