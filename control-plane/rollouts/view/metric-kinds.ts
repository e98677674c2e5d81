import { Counter, Gauge, Histogram, type MetricValueWithName, type Registry } from 'prom-client';
import type { Counted, Distribution } from './metrics-store.ts';

/** Metrics whose values are not counted in the process but read each time that they are asked for. */

export interface Named {
  name: string;
  help: string;
  labels?: string[];
}

export type Tell = (labels: Record<string, string>, value: number) => void;

/** What is not told any more is not shown any more. */
export function storedGauge(
  metrics: Registry,
  { name, help, labels = [] }: Named,
  read: (tell: Tell) => Promise<void>,
): void {
  new Gauge({
    name,
    help,
    labelNames: labels,
    registers: [metrics],
    async collect() {
      const values: [Record<string, string>, number][] = [];
      await read((of, value) => values.push([of, value]));
      this.reset();
      // Without labels a gauge that was reset says 0: of what is not known nothing is to be said.
      if (values.length === 0) this.remove({});
      for (const [of, value] of values) this.set(of, value);
    },
  });
}

/** Totals by the values of one label. */
export function storedCounter(
  metrics: Registry,
  { name, help, label }: { name: string; help: string; label: string },
  read: () => Promise<Counted>,
): void {
  new Counter({
    name,
    help,
    labelNames: [label],
    registers: [metrics],
    async collect() {
      const counts = await read();
      this.reset();
      for (const [value, count] of Object.entries(counts)) this.inc({ [label]: value }, count);
    },
  });
}

export interface StoredHistogram extends Distribution {
  labels: Record<string, string>;
  boundsMs: readonly number[];
}

/**
 * In seconds, of what the database has counted in milliseconds. prom-client's own histogram would have to see every
 * value: it only describes this one, which is registered as a metric whose values are given as they are.
 */
export function storedHistogram(
  metrics: Registry,
  { name, help }: Named,
  read: () => Promise<StoredHistogram | undefined>,
): void {
  const described = new Histogram({ name, help, registers: [] });
  const shown = new Gauge({ name, help, registers: [metrics] });
  shown.get = async () => {
    const stored = await read();
    return { ...(await described.get()), values: stored === undefined ? [] : valuesOf(name, stored) };
  };
}

function valuesOf(
  name: string,
  { labels, boundsMs, counts, sum }: StoredHistogram,
): MetricValueWithName<string>[] {
  let below = 0;
  const buckets = counts.map((count, at) => {
    below += count;
    const bound = boundsMs[at];
    const le = bound === undefined ? '+Inf' : bound / 1_000;
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: below };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sum / 1_000 },
    { metricName: `${name}_count`, labels, value: below },
  ];
}
