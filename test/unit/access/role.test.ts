import assert from 'node:assert/strict';
import { PERMISSIONS, ROLES } from '../../../contract/access.ts';
import {
  mayUseRegion,
  requireRegion,
  visibleRegions,
  type Caller,
} from '../../../control-plane/access/caller.ts';
import { requirePermission, ROLE_PERMISSIONS } from '../../../control-plane/access/role.ts';
import { FleetError } from '../../../platform/errors.ts';

const caller = (fields: Partial<Caller>): Caller => ({
  principalId: 'p',
  name: 'alice',
  role: 'viewer',
  regions: [],
  ...fields,
});

describe('role', () => {
  it('refuses what it does not hold, naming the roles that do', () => {
    assert.throws(
      () => requirePermission(caller({ role: 'onboarder' }), 'tenant:delete'),
      (error) =>
        error instanceof FleetError && error.status === 403 && /operator or admin/.test(error.fix ?? ''),
    );
    requirePermission(caller({ role: 'onboarder' }), 'tenant:create');
  });

  it('exists for every permission; passwords go to apps only', () => {
    for (const permission of PERMISSIONS) {
      assert.ok(
        ROLES.some((role) => ROLE_PERMISSIONS[role].has(permission)),
        permission,
      );
    }
    assert.deepEqual(
      ROLES.filter((role) => ROLE_PERMISSIONS[role].has('route:read')),
      ['app'],
    );
  });
});

describe('regions of a caller', () => {
  it('are all of them when none is named', () => {
    assert.equal(mayUseRegion(caller({}), 'eu'), true);
    assert.equal(visibleRegions(caller({})), null);
  });

  it('bound what is seen and done', () => {
    const scoped = caller({ regions: ['eu'] });
    requireRegion(scoped, 'eu');
    assert.throws(() => requireRegion(scoped, 'us'), FleetError);
    assert.deepEqual(visibleRegions(scoped), ['eu']);
  });
});
