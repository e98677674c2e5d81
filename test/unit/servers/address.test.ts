import assert from 'node:assert/strict';
import { parseServerUrl } from '../../../control-plane/servers/address.ts';
import { FleetError } from '../../../platform/errors.ts';

describe('server URL', () => {
  it('is read with its user, password, database and protection', () => {
    assert.deepEqual(
      parseServerUrl('postgres://ad%20min:p%40ss@db.example.com:6000/main?sslmode=verify-full'),
      {
        host: 'db.example.com',
        port: 6000,
        database: 'main',
        user: 'ad min',
        password: 'p@ss',
        tls: 'verify-full',
      },
    );
    assert.equal(parseServerUrl('postgresql://a:b@[::1]').host, '::1');
    assert.equal(parseServerUrl('postgres://a:b@localhost').tls, 'disable');
  });

  for (const [what, url] of [
    ['nonsense', 'hunter2'],
    ['another protocol', 'mysql://a:hunter2@h/db'],
    ['a bad port', 'postgres://a:hunter2@h:99999/db'],
    ['port 0', 'postgres://a:hunter2@localhost:0/db'],
    ['a broken escape', 'postgres://a:hunter2%zz@localhost/db'],
    ['no user', 'postgres://:hunter2@localhost/db'],
    ['no password', 'postgres://hunter2@localhost/db'],
    ['no host', 'postgres:///db'],
    ['silence about protection on the way to another machine', 'postgres://a:hunter2@db.example.com/db'],
    ['an sslmode that may fall back to plain text', 'postgres://a:hunter2@db.example.com/db?sslmode=prefer'],
  ] as const) {
    it(`refuses ${what} without repeating the URL`, () => {
      assert.throws(
        () => parseServerUrl(url),
        (error) =>
          error instanceof FleetError &&
          error.code === 'bad_server_url' &&
          error.fix !== undefined &&
          !JSON.stringify({ ...error, message: error.message, stack: error.stack }).includes('hunter2') &&
          error.cause === undefined,
      );
    });
  }
});
