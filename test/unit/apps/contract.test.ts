import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { AppInstance } from '../../../control-plane/apps/app.ts';
import {
  contractSteps,
  findBlockers,
  isBlocked,
  type TenantSchema,
} from '../../../control-plane/apps/contract.ts';

const RUNS = { numRuns: 1_000, seed: 20_261_121 };

const LIST = [
  { name: '001_base', ordinal: 1, phase: 'expand' },
  { name: '002_expand', ordinal: 2, phase: 'expand' },
  { name: '003_fill', ordinal: 3, phase: 'migrate' },
  { name: '004_drop', ordinal: 4, phase: 'contract', requiresApp: '2.4.0' },
  { name: '005_drop', ordinal: 5, phase: 'contract' },
  { name: '006_more', ordinal: 6, phase: 'expand' },
] as const;
const NAMES = LIST.map(({ name }) => name);

function instance(version: string, max: string | null = null, min: string | null = null): AppInstance {
  const id = `${version} ${max}`;
  return { id, region: 'eu', version, acceptsSchema: { min, max }, lastSeen: new Date(0) };
}

function tenant(slug: string, ordinal: number, state = 'active'): TenantSchema {
  return { tenant: slug, region: 'eu', state, schemaVersion: NAMES[ordinal - 1] ?? null, ordinal };
}

function blockers(missing: string[], instances: AppInstance[], tenants: TenantSchema[] = []) {
  const ordinalOf = (name: string) => LIST.find((each) => each.name === name)?.ordinal;
  return findBlockers(contractSteps(LIST, missing), { instances, tenants, ordinalOf });
}

describe('contract steps', () => {
  it('are those among what is missing, each behind the last migration that is none', () => {
    assert.deepEqual(contractSteps(LIST, ['003_fill', '006_more']), []);
    assert.deepEqual(
      contractSteps(LIST, ['004_drop', '005_drop']).map(({ name, after }) => [name, after?.name]),
      [
        ['004_drop', '003_fill'],
        ['005_drop', '003_fill'],
      ],
    );
  });

  it('wait for every instance that is older than they ask for', () => {
    const found = blockers(['004_drop'], [instance('2.3.9'), instance('2.4.0'), instance('2.4.0-rc.1')]);
    assert.deepEqual(
      found.instances.map(({ appVersion, reason }) => [appVersion, reason]),
      [
        ['2.3.9', '004_drop requires 2.4.0'],
        ['2.4.0-rc.1', '004_drop requires 2.4.0'],
      ],
    );
    assert.deepEqual(blockers(['005_drop'], [instance('0.0.0')]).instances, [], 'it asks for none');
  });

  it('wait for every instance that works with what was before only', () => {
    const found = blockers(
      ['005_drop'],
      ['003_fill', '004_drop', '005_drop', '006_more', '007_not_published'].map((max) =>
        instance('9.0.0', max),
      ),
    );
    assert.deepEqual(
      found.instances.map(({ acceptsSchema, reason }) => [acceptsSchema.max, reason]),
      [
        ['003_fill', 'works with schemas up to 003_fill, which is before 005_drop'],
        ['004_drop', 'works with schemas up to 004_drop, which is before 005_drop'],
      ],
    );
    assert.deepEqual(blockers(['005_drop'], [instance('9.0.0', null, '006_more')]).instances, []);
  });

  it('wait for every tenant that lacks what comes before them, suspended ones too', () => {
    const fleet = [tenant('new', 0), tenant('half', 2, 'suspended'), tenant('ready', 3), tenant('done', 5)];
    assert.deepEqual(
      blockers(['004_drop', '005_drop'], [], fleet).tenants.map((each) => [
        each.tenant,
        each.state,
        each.needs,
      ]),
      [
        ['new', 'active', '003_fill'],
        ['half', 'suspended', '003_fill'],
      ],
    );
  });

  it('of any fleet run only where none is behind', () => {
    const version = fc.constantFrom('2.3.0', '2.4.0', '3.0.0');
    const max = fc.constantFrom(null, ...NAMES);
    fc.assert(
      fc.property(
        fc.subarray([...NAMES]),
        fc.array(fc.tuple(version, max), { maxLength: 4 }),
        fc.array(fc.nat(6), { maxLength: 4 }),
        (missing, apps, ordinals) => {
          const instances = apps.map(([app, bound]) => instance(app, bound));
          const tenants = ordinals.map((ordinal, index) => tenant(`t${index}`, ordinal));
          const steps = LIST.filter(({ name, phase }) => phase === 'contract' && missing.includes(name));
          const clear = steps.every(
            (step) =>
              apps.every(
                ([app, bound]) =>
                  (step.name !== '004_drop' || app !== '2.3.0') &&
                  (bound === null || NAMES.indexOf(bound) + 1 >= step.ordinal),
              ) && ordinals.every((ordinal) => ordinal >= 3),
          );
          assert.equal(isBlocked(blockers(missing, instances, tenants)), !clear);
        },
      ),
      RUNS,
    );
  });
});
