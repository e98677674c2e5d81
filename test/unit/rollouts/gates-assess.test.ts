import assert from 'node:assert/strict';
import { durationSeconds } from '../../../contract/duration.ts';
import type { MeasurementOutcome } from '../../../contract/gate.ts';
import { RolloutSpec, type WaveState } from '../../../contract/rollout.ts';
import { assess, type Assessment, type Standing } from '../../../control-plane/rollouts/gates/assess.ts';
import { gatesOf, type Gate } from '../../../control-plane/rollouts/gates/gate.ts';
import type { GateTarget, MeasurementRow } from '../../../control-plane/rollouts/gates/store.ts';

const START = new Date('2026-11-21T12:00:00Z');

function at(seconds: number): Date {
  return new Date(START.getTime() + seconds * 1_000);
}

function gate(fields: object, bake?: string, wave = 'eu'): Gate {
  const spec = RolloutSpec.parse({
    release: 'r',
    gates: { probe: { http: 'http://x.example/', ...fields } },
    waves: [{ name: wave, gates: ['probe'], ...(bake === undefined ? {} : { bake }) }],
  });
  const [found] = gatesOf(spec, { name: wave, bakeSeconds: durationSeconds(bake) });
  assert.ok(found);
  return found;
}

function row(seconds: number, outcome: MeasurementOutcome = 'success', databaseId?: string): MeasurementRow {
  const tenant = { id: 't', slug: 'acme', region: 'eu' };
  return {
    gate: 'probe',
    outcome,
    measuredAt: at(seconds),
    databaseId: databaseId ?? null,
    tenant,
    message: 'words',
  };
}

function target(databaseId: string, startedAt = -60): GateTarget {
  return {
    ...{ databaseId, tenant: { id: databaseId, slug: databaseId, region: 'eu' }, serverId: 's', server: 's' },
    ...{
      serverMajor: 18,
      database: 'd',
      ownerRole: 'o',
      rwRole: 'w',
      logins: [],
      wave: 0,
      state: 'verified',
    },
    ...{ startedAt: at(startedAt), finishedAt: at(startedAt + 1) },
  };
}

interface Situation {
  state?: WaveState;
  rows?: readonly MeasurementRow[];
  since?: Date;
  hasVerified?: boolean;
  verified?: GateTarget[];
  idleUntil?: Date;
}

/** A wave that began a minute before START, and whose targets were through at START where it is watched. */
function assessAt(which: Gate, seconds: number, situation: Situation = {}): Assessment {
  const { state = 'gating', rows = [], since, hasVerified = true, verified = [], idleUntil } = situation;
  const standing: Standing = {
    clock: {
      ...{ state, rolloutStartedAt: at(-120), startedAt: at(-60), hasVerified, now: at(seconds) },
      doneAt: state === 'running' ? null : START,
      since: new Map(since === undefined ? [] : [['probe', since]]),
    },
    rows: new Map([['probe', rows]]),
    verified,
    idleUntil: new Map(idleUntil === undefined ? [] : [['probe', idleUntil]]),
  };
  return assess(which, standing, at(seconds));
}

/** State, whether to measure now, whether the wave may pass, and when to look again in seconds. */
function brief({ judgement, due, satisfied }: Assessment) {
  const next = judgement.nextAt === null ? null : (judgement.nextAt.getTime() - START.getTime()) / 1_000;
  return [judgement.state, due, satisfied, next];
}

describe('gates of a wave', () => {
  it('are those that it names and those that no wave names', () => {
    const probe = { http: 'http://x.example/' };
    const spec = RolloutSpec.parse({
      release: 'r',
      gates: { a: probe, b: { ...probe, on: 'target' }, c: probe, d: { ...probe, on: 'wave' } },
      waves: [{ name: 'one', gates: ['a', 'b'] }, { name: 'two' }],
    });
    const shape = (wave: string) =>
      gatesOf(spec, { name: wave, bakeSeconds: 0 }).map(({ name, scope }) => `${name} ${scope}`);
    assert.deepEqual(shape('one'), ['a wave', 'b target', 'c fleet', 'd wave']);
    assert.deepEqual(shape('two'), ['c fleet', 'd wave']);
    assert.deepEqual(shape('rest'), ['c fleet', 'd wave']);
  });

  it('measure as often as fits into the bake, the last time at its end', () => {
    assert.equal(gate({}).rules.count, 1);
    assert.equal(gate({}, '29s').rules.count, 1);
    assert.equal(gate({}, '60s').rules.count, 3);
    assert.equal(gate({ interval: '10s', initialDelay: '30s' }, '60s').rules.count, 4);
    assert.equal(gate({ initialDelay: '5m' }, '60s').rules.count, 1);
    assert.equal(gate({ count: 7 }, '60s').rules.count, 7);
    assert.equal(gate({ on: 'fleet' }, '60s').rules.count, null);
  });

  it('give traffic two minutes before they look at it', () => {
    const metric = { metric: 'requests.error_rate', max: 1 };
    const spec = RolloutSpec.parse({
      release: 'r',
      gates: { m: metric, n: { ...metric, initialDelay: '0s' } },
    });
    assert.deepEqual(
      gatesOf(spec, { name: 'all', bakeSeconds: 0 }).map(({ delayMs }) => delayMs),
      [120_000, 0],
    );
  });
});

describe('a gate of a wave', () => {
  it('says nothing while targets run, and nothing of a wave that migrated no database', () => {
    assert.deepEqual(brief(assessAt(gate({}), 0, { state: 'running' })), ['waiting', false, true, null]);
    assert.deepEqual(brief(assessAt(gate({}), 0, { hasVerified: false })), ['waiting', false, true, null]);
  });

  it('measures from the end of the targets on, after its delay, and passes by its rows', () => {
    assert.deepEqual(brief(assessAt(gate({}), 1)), ['waiting', true, false, 0]);
    const delayed = gate({ initialDelay: '20s' });
    assert.deepEqual(brief(assessAt(delayed, 19)), ['waiting', false, false, 20]);
    assert.deepEqual(brief(assessAt(delayed, 20)), ['waiting', true, false, 20]);
    assert.deepEqual(brief(assessAt(gate({}), 2, { rows: [row(1)] })), ['passed', false, true, null]);
  });

  it('goes on within a bake from its rows, wherever a restart falls', () => {
    const watch = gate({ interval: '10s' }, '60s');
    const rows = [0, 10, 20, 30, 40, 50, 60].map((seconds) => row(seconds));
    for (let restart = 0; restart < rows.length; restart += 1) {
      const so = { state: 'baking', rows: rows.slice(0, restart) } as const;
      const state = restart === 0 ? 'waiting' : 'measuring';
      assert.deepEqual(brief(assessAt(watch, restart * 10, so)), [state, true, false, restart * 10]);
    }
    assert.deepEqual(brief(assessAt(watch, 60, { state: 'baking', rows })), ['passed', false, true, null]);
  });

  it('does not pass a bake of a minute that nobody watched for five', () => {
    const watch = gate({ interval: '10s' }, '60s');
    const rows = [row(0), row(10), row(20)];
    const back = assessAt(watch, 320, { state: 'baking', rows });
    assert.deepEqual(brief(back), ['inconclusive', false, false, null]);
    assert.ok(back.judgement.counts.missed > 20);
    // Nor when it was measured again before anybody judged.
    const again = [...rows, row(320), row(330), row(340), row(350)];
    assert.equal(assessAt(watch, 350, { state: 'baking', rows: again }).judgement.state, 'inconclusive');
    // A person lets it go on: it is measured anew, from then on, in full.
    const anew = { state: 'baking', rows: again, since: at(400) } as const;
    assert.deepEqual(brief(assessAt(watch, 400, anew)), ['waiting', true, false, 400]);
  });

  it('counts nothing from before the targets were through, and names the tenant that stopped it', () => {
    const failed = assessAt(gate({}), 5, { rows: [row(-10, 'failure'), row(1, 'failure')] });
    assert.equal(failed.judgement.counts.failure, 1);
    assert.deepEqual([failed.lastMessage, failed.first], ['words', { tenant: 'acme', region: 'eu' }]);
  });
});

describe('a gate of the fleet', () => {
  const watch = gate({ on: 'fleet' }, '60s');

  it('measures from the beginning of the wave on, and holds nothing up while targets run', () => {
    assert.deepEqual(brief(assessAt(watch, -50, { state: 'running' })), ['waiting', true, true, -60]);
    const running = { state: 'running', rows: [row(-60)] } as const;
    assert.deepEqual(brief(assessAt(watch, -50, running)), ['measuring', false, true, -30]);
  });

  it('wants one success after the last target, and goes on through the bake', () => {
    const rows = [row(-60), row(-30)];
    assert.deepEqual(brief(assessAt(watch, 0, { rows })), ['measuring', true, false, 0]);
    const passed = [...rows, row(0)];
    assert.deepEqual(brief(assessAt(watch, 0, { rows: passed })), ['passed', false, true, 30]);
    const bad = [...passed, row(30, 'failure')];
    assert.deepEqual(brief(assessAt(watch, 30, { rows: bad })), ['failed', false, true, null]);
  });

  it('holds no gap against it, and rests where it found nothing to look at', () => {
    assert.equal(assessAt(watch, 500, { state: 'running', rows: [row(-60)] }).due, true);
    const idle = assessAt(watch, -50, { state: 'running', idleUntil: at(-20) });
    assert.deepEqual(brief(idle), ['waiting', false, true, -20]);
  });
});

describe('a gate of each target', () => {
  const each = gate({ on: 'target' });
  const pending = (assessment: Assessment) => assessment.pending.map(({ databaseId }) => databaseId);

  it('leaves to the end of the wave what was not asked, and asks again before it what gave no answer', () => {
    const verified = [target('a'), target('b')];
    const running = { state: 'running', verified, rows: [row(-30, 'error', 'b')] } as const;
    const early = assessAt(each, -21, running);
    assert.deepEqual([pending(early), early.judgement.nextAt], [[], at(-20)]);
    assert.deepEqual(pending(assessAt(each, -20, running)), ['b']);
    assert.deepEqual(pending(assessAt(each, 0, { ...running, state: 'gating' })), ['a', 'b']);
  });

  it('is satisfied when every target has an answer since it was migrated', () => {
    const verified = [target('a'), target('b', -10)];
    const rows = [row(-30, 'success', 'a'), row(-30, 'success', 'b')];
    const open = assessAt(each, 0, { verified, rows });
    assert.deepEqual([pending(open), open.satisfied], [['b'], false]);
    const done = assessAt(each, 1, { verified, rows: [...rows, row(0, 'success', 'b')] });
    assert.deepEqual(brief(done), ['passed', false, true, null]);
  });

  it('asks again only those that failed, when it is begun anew', () => {
    const verified = [target('a'), target('b')];
    const rows = [row(-30, 'success', 'a'), row(-29, 'failure', 'b')];
    assert.equal(assessAt(each, 0, { verified, rows }).judgement.state, 'failed');
    const anew = assessAt(each, 10, { verified, rows, since: at(5) });
    assert.deepEqual([pending(anew), anew.judgement.state], [['b'], 'waiting']);
  });

  it('takes a failure that is borne for an answer', () => {
    const bearing = gate({ on: 'target', failureLimit: 1 });
    const one = assessAt(bearing, 0, { verified: [target('a')], rows: [row(-30, 'failure', 'a')] });
    assert.deepEqual([pending(one), one.satisfied], [[], true]);
  });
});
