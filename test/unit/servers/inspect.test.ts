import assert from 'node:assert/strict';
import { assertUsable } from '../../../control-plane/servers/inspect.ts';

describe('what a server must bring', () => {
  const facts = {
    version: 180_004,
    maxConnections: 100,
    superuser: false,
    mayCreateDatabases: true,
    mayCreateRoles: true,
    managedBy: null,
  };

  it('is PostgreSQL 15 or later, and the rights to make databases and roles', () => {
    assertUsable(facts, 'admin');
    assertUsable({ ...facts, version: 150_000 }, 'admin');
    assert.throws(() => assertUsable({ ...facts, version: 149_999 }, 'admin'), {
      code: 'server_too_old',
      message: /runs PostgreSQL 14/,
    });
    assert.throws(() => assertUsable({ ...facts, mayCreateRoles: false }, 'admin'), {
      code: 'server_admin_too_weak',
      fix: 'as a superuser there: ALTER ROLE admin CREATEROLE',
    });
    assert.throws(
      () => assertUsable({ ...facts, mayCreateRoles: false, mayCreateDatabases: false }, 'admin'),
      { fix: 'as a superuser there: ALTER ROLE admin CREATEDB CREATEROLE' },
    );
  });
});
