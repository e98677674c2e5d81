import assert from 'node:assert/strict';
import { tenantUrls } from '../../../control-plane/tenants/view.ts';

describe('the URLs of a tenant', () => {
  const row = { slug: 'acme', state: 'active', region_domain: 'eu.example.com', domains: ['acme.com'] };

  it("take scheme and port from the region's app", () => {
    assert.deepEqual(tenantUrls({ ...row, region_app_url: 'http://127.0.0.1:4700' }), [
      'http://acme.eu.example.com:4700',
      'http://acme.com:4700',
    ]);
    assert.deepEqual(tenantUrls({ ...row, region_app_url: 'https://eu.example.com' }), [
      'https://acme.eu.example.com',
      'https://acme.com',
    ]);
  });

  it('are HTTPS while the app is not known, and none after deletion', () => {
    assert.deepEqual(tenantUrls({ ...row, region_app_url: null, domains: [] }), [
      'https://acme.eu.example.com',
    ]);
    assert.deepEqual(tenantUrls({ ...row, region_app_url: null, state: 'deleted' }), []);
  });
});
