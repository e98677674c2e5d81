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
