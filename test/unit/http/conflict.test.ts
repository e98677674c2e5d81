import assert from 'node:assert/strict';
import { requireVersion, wrongState } from '../../../control-plane/http/conflict.ts';
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

describe('a verb that a state does not allow', () => {
  it('is refused by one code, with the states that do allow it', () => {
    const error = wrongState({ noun: 'server', name: 'eu-1', state: 'retired' }, 'cordon', [
      'ready',
      'draining',
    ]);
    assert.deepEqual([error.status, error.code], [409, 'wrong_state']);
    assert.match(String(error), /server eu-1 is retired: cordon needs it to be ready or draining/);
    assert.equal(error.fix, 'fleet server get eu-1');
  });
});
