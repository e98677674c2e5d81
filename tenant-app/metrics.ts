import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { RequestRecord } from './routing/middleware.ts';
import type { RoutingStats } from './routing/tenant-routing.ts';

export interface Metrics {
  observe(record: RequestRecord): void;
  contentType: string;
  /**
   * The Prometheus text. What names tenants is for the region's operators only: anyone who reaches a tenant's
   * host reaches this path as well.
   */
  render(audience: 'anyone' | 'operator'): Promise<string>;
}

/** Seconds. A warm request takes 1 to 5 ms, a cold one 10 to 50 ms; 15 s is where requests are cut off. */
const DURATION_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15];

/** Numbers of tenants are counted where they arise and collected when asked for; a request adds to one histogram. */
export function createMetrics(region: string, stats: () => RoutingStats): Metrics {
  const registry = new Registry();
  registry.setDefaultLabels({ region });
  collectDefaultMetrics({ register: registry });
  const byTenant = new Registry();
  byTenant.setDefaultLabels({ region });
  const durations = new Histogram({
    name: 'flotilla_app_request_duration_seconds',
    help: 'Time from the arrival of a request to the end of its answer',
    buckets: DURATION_BUCKETS_S,
    registers: [registry],
  });
  const duration = durations.labels();
  let refused = 0;
  collectRequests(byTenant, stats);
  collectOutOfRange(byTenant, stats);
  collectRefused(registry, () => refused);
  collectGauges(registry, stats);
  return {
    observe: (record) => {
      duration.observe(record.durationMs / 1_000);
      if (record.tenant === undefined) refused += 1;
    },
    contentType: registry.contentType,
    render: async (audience) => {
      const own = await registry.metrics();
      return audience === 'anyone'
        ? own
        : `${own}
${await byTenant.metrics()}`;
    },
  };
}

function collectRequests(registry: Registry, stats: () => RoutingStats): void {
  new Counter({
    name: 'flotilla_app_requests_total',
    help: 'Requests by tenant and outcome: ok, client_error, server_error',
    labelNames: ['tenant', 'outcome'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { slug, answers } of stats().tenants) {
        this.inc({ tenant: slug, outcome: 'ok' }, answers.ok);
        this.inc({ tenant: slug, outcome: 'client_error' }, answers.clientError);
        this.inc({ tenant: slug, outcome: 'server_error' }, answers.serverError);
      }
    },
  });
}

function collectOutOfRange(registry: Registry, stats: () => RoutingStats): void {
  new Counter({
    name: 'flotilla_app_schema_out_of_range_total',
    help: 'Requests refused because the schema of their tenant is none that this version of the app works with',
    labelNames: ['tenant'],
    registers: [registry],
    collect() {
      this.reset();
      for (const { slug, outOfRange } of stats().tenants) {
        if (outOfRange > 0) this.inc({ tenant: slug }, outOfRange);
      }
    },
  });
}

function collectRefused(registry: Registry, refused: () => number): void {
  new Counter({
    name: 'flotilla_app_requests_refused_total',
    help: 'Requests that no tenant of this region was found for',
    registers: [registry],
    collect() {
      this.reset();
      this.inc(refused());
    },
  });
}

function collectGauges(registry: Registry, stats: () => RoutingStats): void {
  const gauge = (name: string, help: string, read: (now: RoutingStats) => number): void => {
    new Gauge({
      name: `flotilla_app_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read(stats()));
      },
    });
  };
  gauge('pools', 'Tenants with a pool', (now) => now.pools);
  gauge('connections', 'Connections that are open or being opened', (now) => now.connections);
  gauge('connections_busy', 'Connections that serve a request', (now) => now.busy);
  gauge('connections_waiting', 'Requests that wait for a connection', (now) => now.waiting);
  gauge('routes', 'Routes in the table', (now) => now.routes);
  gauge('feed_connected', '1 while the route feed is connected', (now) => (now.feedConnected ? 1 : 0));
  gauge('breakers_open', 'Tenants whose circuit breaker is open', (now) => {
    let open = 0;
    for (const { breaker } of now.tenants) if (breaker.isOpen()) open += 1;
    return open;
  });
}
