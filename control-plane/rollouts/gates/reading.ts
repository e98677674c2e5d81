import type { Reading } from './gate.ts';

/** The limits that a value is compared with. */
export interface Thresholds {
  max?: number | undefined;
  min?: number | undefined;
  equals?: number | undefined;
}

/** Why the value is out of its limits; undefined where it is within them. */
export function outOf(value: number, { max, min, equals }: Thresholds): string | undefined {
  if (max !== undefined && value > max) return `above the maximum of ${max}`;
  if (min !== undefined && value < min) return `below the minimum of ${min}`;
  if (equals !== undefined && value !== equals) return `not ${equals}`;
  return undefined;
}

/** One value, or what came in its place. Whatever is no finite number is no data. */
export function readValue(value: number | null, thresholds: Thresholds): Reading {
  if (value === null) return noData('no value');
  if (!Number.isFinite(value)) return noData(`the value is ${String(value)}, which is no number to go by`);
  const reason = outOf(value, thresholds);
  const outcome = reason === undefined ? 'success' : 'failure';
  return { outcome, value, samples: 1, message: reason ?? 'within the limits' };
}

/** A number of things that there should be none of, or at most `max`. */
export function readCount(count: number | null, { max = 0 }: Thresholds, what: string): Reading {
  const reading = readValue(count, { max });
  if (reading.outcome === 'inconclusive') return reading;
  const message = reading.outcome === 'success' ? `no more than ${max} ${what}` : `more than ${max} ${what}`;
  return { ...reading, message };
}

export function noData(message: string): Reading {
  return { outcome: 'inconclusive', value: null, samples: 0, message };
}

export function noAnswer(message: string): Reading {
  return { outcome: 'error', value: null, samples: 0, message };
}

/** The worse decides: one failure among many errors is a failure all the same. */
const ORDER = ['failure', 'error', 'inconclusive'] as const;

/**
 * The reading of many (databases or servers) from those of each, in the order of the plan: all must succeed. The tenant and the value are
 * those of the first that did not, or of the largest value; values are not in the message, which all may read.
 */
export function combine(
  parts: readonly Reading[],
  { one, minSamples }: { one: 'database' | 'server'; minSamples: number },
): Reading {
  const answered = parts.filter(({ outcome }) => outcome === 'success' || outcome === 'failure').length;
  for (const outcome of ORDER) {
    const found = parts.filter((part) => part.outcome === outcome);
    const [first] = found;
    if (first === undefined) continue;
    const message = parts.length === 1 ? first.message : `${countOf(found, parts, one)}: ${first.message}`;
    return { ...first, samples: answered, message };
  }
  if (answered < minSamples) {
    return {
      ...noData(`${plural(answered, one)} to look at, at least ${minSamples} needed`),
      samples: answered,
    };
  }
  const largest = parts.reduce((a, b) => ((b.value ?? -Infinity) > (a.value ?? -Infinity) ? b : a));
  const message = parts.length === 1 ? largest.message : `${plural(answered, one)}: ${largest.message}`;
  return { ...largest, samples: answered, message };
}

function countOf(found: readonly unknown[], all: readonly unknown[], one: string): string {
  return `${found.length} of ${plural(all.length, one)}`;
}

function plural(count: number, one: string): string {
  return count === 1 ? `1 ${one}` : `${count} ${one}s`;
}
