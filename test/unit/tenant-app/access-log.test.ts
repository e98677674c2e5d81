import assert from 'node:assert/strict';
import { createAccessLog } from '../../../tenant-app/access-log.ts';

const RECORD = {
  requestId: 'request-1',
  tenant: 'acme',
  method: 'GET',
  path: '/api/v1/projects',
  status: 200,
  durationMs: 1.23456,
  aborted: false,
};

describe('access log', () => {
  function lines(...records: object[]): Record<string, unknown>[] {
    let text = '';
    const log = createAccessLog({ write: (chunk) => (text += chunk) }, 'tenant-app');
    for (const record of records) log.write({ ...RECORD, ...record });
    log.flush();
    return text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  it('is one JSON object a request, with tenant and request ids', () => {
    const [first, second] = lines({}, { tenant: undefined, status: 404, aborted: true });
    assert.equal(first?.['tenant'], 'acme');
    assert.equal(first?.['requestId'], 'request-1');
    assert.equal(first?.['durationMs'], 1.23);
    assert.ok(!('aborted' in (first ?? {})));
    assert.equal(second?.['aborted'], true);
    assert.ok(!('tenant' in (second ?? {})));
  });

  it('holds any path as it is, but no secret in it', () => {
    const [odd, secret] = lines({ path: '/a"b\\c\u2028\u0007' }, { path: '/x/flt_0123456789ab_abcDEF-_123' });
    assert.equal(odd?.['path'], '/a"b\\c\u2028\u0007');
    assert.equal(secret?.['path'], '/x/flt_[redacted]');
  });
});
