import assert from 'node:assert/strict';
import fc from 'fast-check';
import { RESERVED_SLUGS, Slug, TENANT_STATES, type TenantState } from '../../../contract/tenant.ts';
import { FleetError } from '../../../platform/errors.ts';
import {
  requireTransition,
  statesBefore,
  TENANT_EVENTS,
  transition,
  type TenantEvent,
} from '../../../control-plane/tenants/tenant.ts';

/** Fixed, so that a failure is the same on every machine; 2,000 is twice what the acceptance asks for. */
const RUNS = { seed: 20_261_121, numRuns: 2_000 };

const events = fc.array(fc.constantFrom(...TENANT_EVENTS), { maxLength: 30 });

/** Walks through the events; those without meaning in a state change nothing. */
function walk(start: TenantState, path: TenantEvent[]): TenantState[] {
  const states = [start];
  for (const event of path) {
    const last = states.at(-1) ?? start;
    states.push(transition(last, event) ?? last);
  }
  return states;
}

describe('the states of a tenant', () => {
  it('answer every event in every state with a known state or none', () => {
    fc.assert(
      fc.property(fc.constantFrom(...TENANT_STATES), fc.constantFrom(...TENANT_EVENTS), (state, event) => {
        const next = transition(state, event);
        return next === undefined || TENANT_STATES.includes(next);
      }),
      RUNS,
    );
  });

  it('never leave deleted, and reach it only through offboarding', () => {
    fc.assert(
      fc.property(events, (path) => {
        const states = walk('provisioning', path);
        const end = states.indexOf('deleted');
        if (end === -1) return true;
        return states[end - 1] === 'offboarding' && states.slice(end).every((state) => state === 'deleted');
      }),
      RUNS,
    );
  });

  it('lead back from offboarding to no state that serves', () => {
    fc.assert(
      fc.property(events, (path) => {
        const states = walk('active', path);
        const left = states.indexOf('offboarding');
        return (
          left === -1 || states.slice(left).every((state) => state === 'offboarding' || state === 'deleted')
        );
      }),
      RUNS,
    );
  });

  it('become active only from where a database stands or is being made', () => {
    fc.assert(
      fc.property(events, (path) => {
        const states = walk('provisioning', path);
        return states.every(
          (state, index) =>
            state !== 'active' ||
            ['active', 'provisioning', 'suspended', 'moving'].includes(states[index - 1] ?? ''),
        );
      }),
      RUNS,
    );
  });

  it('all have a way to deleted', () => {
    for (const state of TENANT_STATES) {
      const reached = new Set<TenantState>([state]);
      for (const one of reached) {
        for (const event of TENANT_EVENTS) {
          const next = transition(one, event);
          if (next !== undefined) reached.add(next);
        }
      }
      assert.ok(reached.has('deleted'), state);
    }
  });

  it('refuse an event with the states that allow it', () => {
    assert.equal(requireTransition({ slug: 'acme', state: 'active' }, 'suspend'), 'suspended');
    assert.deepEqual(statesBefore('offboard').toSorted(), ['active', 'failed', 'suspended']);
    assert.throws(
      () => requireTransition({ slug: 'acme', state: 'moving' }, 'suspend'),
      (error) => error instanceof FleetError && error.status === 409 && error.code === 'wrong_state',
    );
  });
});

describe('a slug', () => {
  it('is a DNS label that cannot be taken for something else', () => {
    for (const good of ['abc', 'a1c', 'acme-corp-2', 'a'.repeat(40)])
      assert.ok(Slug.safeParse(good).success, good);
    const bad = [
      ...['', 'ab', 'a'.repeat(41), '1abc', '-abc', 'abc-', 'a--b', 'xn--bcher-kva', 'Acme', 'acme.eu'],
      ...['ac me', 'acme\n', 'ácme', 'аcme', 'a_b_c', 'x"; DROP ROLE a; --', '../etc', 'a%00b', '$$abc'],
      ...RESERVED_SLUGS,
    ];
    for (const slug of bad) assert.ok(!Slug.safeParse(slug).success, JSON.stringify(slug));
  });

  it("that is accepted is always safe in a host name and within the registry's own check", () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[a-z0-9-]{1,45}$/)), (text) => {
        if (!Slug.safeParse(text).success) return true;
        return /^[a-z][a-z0-9-]{1,38}[a-z0-9]$/.test(text) && !text.includes('--');
      }),
      RUNS,
    );
  });
});
