import assert from 'node:assert/strict';
import { requireVersion } from '../../../control-plane/http/conflict.ts';
import { FleetError } from '../../../platform/errors.ts';

describe('If-Match', () => {
  it('is only heeded when given', () => {
    const tenant = { noun: 'tenant', name: 'acme', version: 3 } as const;
    requireVersion(tenant, undefined);
    requireVersion(tenant, 3);
    assert.throws(
      () => requireVersion(tenant, 2),
      (error) => error instanceof FleetError && error.status === 412 && error.code === 'version_conflict',
    );
  });
});
