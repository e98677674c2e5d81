import assert from 'node:assert/strict';
import type { AppReport } from '../../../contract/app.ts';
import { AppReport as AppReportSchema, REPORT_DATABASES_MAX } from '../../../contract/app.ts';
import { ControlPlaneError } from '../../../tenant-app/routing/control-plane.ts';
import { startReporter, type Reporter } from '../../../tenant-app/routing/reporter.ts';
import { quietLogger } from '../../support/registry.ts';
import { until } from '../../support/until.ts';

const id = (number: number): string => `00000000-0000-4000-8000-${String(number).padStart(12, '0')}`;

/** A control plane that notes what it gets, and does what `behave` says: throw, hang, or nothing. */
function controlPlane() {
  const got: AppReport[] = [];
  const plane = {
    got,
    behave: async (_report: AppReport, _signal: AbortSignal): Promise<void> => undefined,
    report: async (report: AppReport, signal: AbortSignal) => {
      await plane.behave(report, signal);
      got.push(structuredClone(AppReportSchema.parse(report)));
      return { counted: true, ignored: [] };
    },
    traffic: () => got.flatMap(({ databases }) => databases),
    requests: () =>
      plane.traffic().reduce((all, { latency }) => all + latency.reduce((sum, count) => sum + count, 0), 0),
  };
  return plane;
}

describe('reporter of a tenant app', () => {
  let plane: ReturnType<typeof controlPlane>;
  let reporter: Reporter;
  let acknowledged: string | null;
  const start = (times: { everyMs: number; windowMs: number }): void => {
    reporter = startReporter({
      controlPlane: plane,
      appVersion: '1.2.3',
      acceptsSchema: { min: '001_a', max: null },
      acknowledged: () => acknowledged,
      logger: quietLogger,
      ...times,
    });
  };
  beforeEach(() => {
    plane = controlPlane();
    acknowledged = null;
  });
  afterEach(() => reporter.stop());

  it('says at once that it runs, and at the end that it does not', async () => {
    start({ everyMs: 60_000, windowMs: 60_000 });
    await until('it has reported', async () => plane.got.length > 0);
    assert.deepEqual(
      [plane.got[0]?.appVersion, plane.got[0]?.acceptsSchema, plane.got[0]?.stopping],
      ['1.2.3', { min: '001_a', max: null }, false],
    );
    reporter.count(id(1), 12, false);
    reporter.count(id(1), 900, true);
    await reporter.stop();
    assert.equal(plane.got.at(-1)?.stopping, true);
    assert.deepEqual(
      plane.traffic().map(({ database, errors }) => ({ database, errors })),
      [{ database: id(1), errors: 1 }],
    );
    assert.equal(plane.requests(), 2);
  });

  it('numbers its reports and sends each request once, while the control plane comes and goes', async () => {
    let calls = 0;
    plane.behave = async () => {
      calls += 1;
      if (calls % 3 !== 0) throw new TypeError('fetch failed');
    };
    start({ everyMs: 5, windowMs: 20 });
    for (let request = 0; request < 100; request += 1) {
      reporter.count(id(request % 7), request, request % 10 === 0);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await until('all have come', async () => plane.requests() === 100);
    const sequences = plane.got.map(({ sequence }) => sequence);
    assert.deepEqual(
      sequences,
      [...sequences].sort((a, b) => a - b),
    );
    assert.equal(new Set(sequences).size, sequences.length);
    assert.equal(
      plane.traffic().reduce((sum, { errors }) => sum + errors, 0),
      10,
    );
  });

  it('sends the same again after an answer that got lost', async () => {
    const seen: AppReport[] = [];
    plane.behave = async (report) => {
      seen.push(structuredClone(report));
      if (seen.length <= 2) throw new ControlPlaneError('reports', 503);
    };
    start({ everyMs: 5, windowMs: 60_000 });
    reporter.count(id(1), 1, false);
    await until('it got through', async () => plane.got.length > 0);
    assert.deepEqual(seen[1], seen[0]);
    assert.deepEqual(seen[2], seen[0]);
  });

  it('keeps the last windows, and no more, while the control plane is down', async () => {
    plane.behave = async () => Promise.reject(new TypeError('fetch failed'));
    start({ everyMs: 60_000, windowMs: 10 });
    const windows = new Set<number>();
    await until('40 windows have passed', async () => {
      reporter.count(id(1), 1, false);
      windows.add(Math.floor(Date.now() / 10));
      return windows.size >= 40;
    });
    plane.behave = async () => undefined;
    await reporter.stop();
    assert.ok(plane.got.length > 1 && plane.got.length <= 11, `${plane.got.length} reports`);
    const from = Math.min(...plane.got.map(({ window }) => Date.parse(window.from)));
    assert.ok(from > Math.min(...windows) * 10, 'the oldest are given up');
  });

  it('does not send for ever what is refused', async () => {
    const refused = new Set<number>();
    plane.behave = async ({ sequence }) => {
      if (sequence > 1) return;
      refused.add(sequence);
      throw new ControlPlaneError('reports', 422);
    };
    start({ everyMs: 5, windowMs: 60_000 });
    await until('others come through', async () => plane.got.length > 0);
    assert.deepEqual([...refused], [1]);
  });

  it('cuts what is too much for one report', async () => {
    start({ everyMs: 60_000, windowMs: 60_000 });
    await until('it has reported', async () => plane.got.length > 0);
    const tenants = REPORT_DATABASES_MAX + 3;
    for (let tenant = 0; tenant < tenants; tenant += 1) reporter.count(id(tenant), 1, false);
    await reporter.stop();
    assert.equal(new Set(plane.traffic().map(({ database }) => database)).size, tenants);
    assert.deepEqual(
      plane.got.slice(-2).map(({ stopping, databases }) => [stopping, databases.length]),
      [
        [false, REPORT_DATABASES_MAX],
        [true, 3],
      ],
    );
  });

  it('ends in time though the control plane does not answer', async () => {
    plane.behave = (_report, signal) =>
      new Promise((_resolve, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')));
      });
    start({ everyMs: 60_000, windowMs: 60_000 });
    const begun = performance.now();
    await reporter.stop();
    assert.ok(performance.now() - begun < 2_500);
  });
});
