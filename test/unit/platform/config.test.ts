import assert from 'node:assert/strict';
import { loadConfig } from '../../../platform/config.ts';
import { FleetError } from '../../../platform/errors.ts';

describe('configuration', () => {
  it('listens on this machine only, unless told otherwise', () => {
    assert.equal(loadConfig({}).host, '127.0.0.1');
    assert.equal(loadConfig({ FLEET_HOST: '0.0.0.0' }).host, '0.0.0.0');
  });

  it('makes the regions named, or none', () => {
    assert.deepEqual(loadConfig({ FLEET_REGIONS: 'eu, ap-1' }).regions, ['eu', 'ap-1']);
    assert.deepEqual(loadConfig({ FLEET_REGIONS: 'none' }).regions, []);
    assert.throws(() => loadConfig({ FLEET_REGIONS: '' }), FleetError);
    assert.throws(() => loadConfig({ FLEET_REGIONS: 'eu,' }), FleetError);
  });
});

describe('the rotation policy', () => {
  const DAY_MS = 86_400_000;
  const policyOf = (text: string) => loadConfig({ FLEET_ROTATION_POLICY: text }).rotationPolicy;

  it('is one for all tiers, or one for each that is named, or none', () => {
    assert.deepEqual(loadConfig({}).rotationPolicy.enterprise, 90 * DAY_MS);
    assert.deepEqual(policyOf('12h'), {
      standard: DAY_MS / 2,
      premium: DAY_MS / 2,
      enterprise: DAY_MS / 2,
    });
    assert.deepEqual(policyOf('premium=30d, enterprise=7d'), {
      premium: 30 * DAY_MS,
      enterprise: 7 * DAY_MS,
    });
    assert.deepEqual(policyOf('off'), {});
  });

  it('is refused with a tier or a time that there is not', () => {
    for (const text of ['', '90', 'gold=90d', 'premium=off', 'premium=30m', 'premium']) {
      assert.throws(() => policyOf(text), FleetError, text);
    }
  });
});

describe('settings of the secret store', () => {
  function complaints(env: NodeJS.ProcessEnv): string[] {
    try {
      loadConfig(env);
      return [];
    } catch (error) {
      const { errors = [] } = error as { errors?: { path: string; message: string }[] };
      return errors.map(({ path, message }) => `${path}: ${message}`);
    }
  }

  it('are local without any', () => {
    const { secretStore, fleetName, awsRegions } = loadConfig({});
    assert.deepEqual(
      { secretStore, fleetName, awsRegions },
      {
        secretStore: 'local',
        fleetName: 'flotilla',
        awsRegions: {},
      },
    );
  });

  it('map each region to one of AWS', () => {
    const env = { FLEET_SECRET_STORE: 'aws', FLEET_AWS_REGIONS: 'eu=eu-central-1, us=us-gov-west-1' };
    assert.deepEqual(loadConfig(env).awsRegions, { eu: 'eu-central-1', us: 'us-gov-west-1' });
  });

  it('name the regions that have none', () => {
    const env = { FLEET_SECRET_STORE: 'aws', FLEET_AWS_REGIONS: 'eu=eu-central-1' };
    const [complaint = '', ...more] = complaints(env);
    assert.match(complaint, /^FLEET_AWS_REGIONS: .*missing: us$/);
    assert.deepEqual(more, []);
  });

  it('refuse what is no pair, no region of AWS, or said twice', () => {
    for (const text of ['eu', 'eu=', 'eu=Frankfurt', 'eu=eu-central', 'eu=eu-central-1,eu=eu-west-1']) {
      assert.equal(complaints({ FLEET_AWS_REGIONS: text }).length, 1, text);
    }
    assert.equal(complaints({ FLEET_SECRET_STORE: 'vault' }).length, 1);
  });
});
