import assert from 'node:assert/strict';
import fc from 'fast-check';
import { GateSpec } from '../../../contract/gate.ts';
import type { Reading } from '../../../control-plane/rollouts/gates/gate.ts';
import {
  combine,
  noAnswer,
  noData,
  readCount,
  readValue,
} from '../../../control-plane/rollouts/gates/reading.ts';

const RUNS = { numRuns: 1_000, seed: 20261121 };

function part(slug: string, reading: Reading): Reading {
  return { ...reading, tenant: { id: slug, slug, region: 'eu' } };
}

describe('reading a value', () => {
  it('holds it against every limit', () => {
    const outcomes = [0, 1, 2, 3].map((value) => readValue(value, { min: 1, max: 2 }).outcome);
    assert.deepEqual(outcomes, ['failure', 'success', 'success', 'failure']);
    assert.equal(readValue(1, { equals: 1 }).outcome, 'success');
    assert.equal(readValue(1.5, { equals: 1 }).message, 'not 1');
    assert.equal(readCount(1, {}, 'ruins').message, 'more than 0 ruins');
  });

  it('takes what is no finite number for no data', () => {
    for (const value of [null, NaN, Infinity, -Infinity]) {
      assert.equal(readValue(value, { max: 1 }).outcome, 'inconclusive');
    }
  });
});

describe('reading many databases', () => {
  const kinds = {
    success: readValue(0, { max: 0 }),
    failure: readValue(3, { max: 0 }),
    error: noAnswer('no answer: ECONNREFUSED'),
    inconclusive: noData('no value'),
  };
  const rank = ['failure', 'error', 'inconclusive', 'success'] as const;

  it('lets the worst decide, and names the first of its kind', () => {
    const anyParts = fc.array(fc.constantFrom(...rank), { minLength: 1, maxLength: 12 });
    fc.assert(
      fc.property(anyParts, (outcomes) => {
        const parts = outcomes.map((outcome, index) => part(`t${index}`, kinds[outcome]));
        const found = combine(parts, { one: 'database', minSamples: 1 });
        const worst = rank.find((outcome) => outcomes.includes(outcome));
        assert.equal(found.outcome, worst);
        assert.equal(found.tenant?.slug, `t${outcomes.findIndex((outcome) => outcome === worst)}`);
        assert.doesNotMatch(found.message, /t[0-9]/);
        assert.equal(found.samples, outcomes.filter((one) => one === 'success' || one === 'failure').length);
      }),
      RUNS,
    );
  });

  it('never succeeds without enough of them', () => {
    const enough = { one: 'database', minSamples: 2 } as const;
    assert.equal(combine([], { one: 'database', minSamples: 1 }).outcome, 'inconclusive');
    assert.equal(combine([kinds.success], enough).message, '1 database to look at, at least 2 needed');
    assert.equal(combine([kinds.success, kinds.success], enough).outcome, 'success');
  });
});

describe('the form of a gate', () => {
  const refused: [object, string][] = [
    [{ sql: 'select 1' }, 'compares with nothing'],
    [{ metric: 'requests.error_rate' }, 'compares with nothing'],
    [{ metric: 'requests.error_rate', max: 1, on: 'target' }, 'has no traffic yet'],
    [{ metric: 'requests.error_rate', max: 1, over: '90s' }, 'looks back less than two minutes'],
    [{ prometheus: 'http://prom.example', query: 'up' }, 'compares with nothing'],
    [{ http: 'http://user:secret@x.example/' }, 'shows a password to all readers'],
    [{ http: 'file:///etc/passwd' }, 'is no web address'],
    [{ http: 'http://x.example/', minSamples: 5 }, 'asks for samples where there is one'],
    [{ http: 'http://x.example/', interval: '0s' }, 'never rests'],
    [{ http: 'http://x.example/', sql: 'select 1' }, 'is two gates'],
    [{ check: 'weather' }, 'is not known'],
  ];
  for (const [gate, why] of refused) {
    it(`is refused where it ${why}`, () => {
      assert.equal(GateSpec.safeParse(gate).success, false);
    });
  }

  it('is taken with its defaults filled in', () => {
    const gate = GateSpec.parse({ metric: 'requests.latency_p95', maxIncrease: 1.5 });
    assert.deepEqual(gate, {
      ...{ metric: 'requests.latency_p95', maxIncrease: 1.5, over: '5m', minSamples: 1, interval: '30s' },
      ...{ failureLimit: 0, inconclusiveLimit: 0, consecutiveErrorLimit: 4, dryRun: false },
    });
  });
});
