import { z } from 'zod';

/** `30s`, `10m`, `2h`, `1d`: a whole number and a unit. */
export const Duration = z.string().regex(/^[0-9]{1,6}(s|m|h|d)$/, 'a duration such as 30s, 10m, 2h or 1d');
export type Duration = z.infer<typeof Duration>;

const SECONDS: Record<string, number> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** Seconds of a Duration; 0 when absent. */
export function durationSeconds(duration: string | undefined): number {
  if (duration === undefined) return 0;
  return Number(duration.slice(0, -1)) * (SECONDS[duration.slice(-1)] ?? 1);
}

/** `1%`, `2.5%`. */
export const Percent = z.string().regex(/^(100|[0-9]{1,2})(\.[0-9]+)?%$/, 'a percentage such as 1% or 2.5%');
