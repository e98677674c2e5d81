/** Age of an instant in one unit, as `42s`, `7m`, `3h` or `12d`. */
export function age(instant: string | null, now = Date.now()): string | undefined {
  if (instant === null) return undefined;
  const seconds = Math.max(0, Math.round((now - Date.parse(instant)) / 1_000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** The time between two instants in seconds with one decimal, up to now when the second is absent. */
export function lasted(from: string | null, to: string | null, now = Date.now()): string | undefined {
  if (from === null) return undefined;
  const ms = (to === null ? now : Date.parse(to)) - Date.parse(from);
  return `${(Math.max(0, ms) / 1_000).toFixed(1)}s`;
}

/** Seconds in two units at most, as `42s`, `3m 8s` or `2h 1m`: an estimate is no better. */
export function spell(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole}s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)}m ${whole % 60}s`;
  if (whole < 86_400) return `${Math.floor(whole / 3_600)}h ${Math.floor((whole % 3_600) / 60)}m`;
  return `${Math.floor(whole / 86_400)}d ${Math.floor((whole % 86_400) / 3_600)}h`;
}

/** The time between two instants, up to now when the second is absent: `3.2s`, from a minute on `4m 3s`. */
export function spent(from: string | null, to: string | null, now = Date.now()): string | undefined {
  if (from === null) return undefined;
  const seconds = Math.max(0, (to === null ? now : Date.parse(to)) - Date.parse(from)) / 1_000;
  return seconds < 60 ? `${seconds.toFixed(1)}s` : spell(seconds);
}

/** The time from an instant to `now` (or the other way round), in words; undefined where there is none. */
export function between(instant: string | null, now: number): string | undefined {
  return instant === null ? undefined : spell(Math.abs(now - Date.parse(instant)) / 1_000);
}
