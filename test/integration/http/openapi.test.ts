import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { projectRoot } from '../../../platform/project.ts';
import { describedRoutes, OPENAPI_FILE, renderOpenApi } from '../../../scripts/openapi.ts';

interface Document {
  paths: Record<string, Record<string, { operationId: string; responses: object; security?: object[] }>>;
  components: { schemas: Record<string, { properties?: Record<string, unknown> }> };
}

describe('OpenAPI document', () => {
  const text = renderOpenApi();
  const document = JSON.parse(text) as Document;
  const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));

  it('is the committed docs/reference/openapi.json', () => {
    const committed = readFileSync(OPENAPI_FILE, 'utf8');
    assert.ok(committed === text, 'routes or schemas have changed: run `npx tsx scripts/openapi.ts`');
  });

  it('has every route, under ids that differ', () => {
    const ids = operations.map((operation) => operation.operationId);
    assert.equal(new Set(ids).size, ids.length);
    for (const slice of describedRoutes()) {
      for (const { id } of slice.routes) assert.ok(ids.includes(id), id);
    }
  });

  it('names no secret of this machine', () => {
    for (const local of [projectRoot(), tmpdir(), 'nobody@']) assert.ok(!text.includes(local), local);
  });

  it('refers only to components that are there, and keeps null where the contract has it', () => {
    const references = [...text.matchAll(/"\$ref": "#\/components\/(\w+)\/(\w+)"/g)];
    const components = document.components as unknown as Record<string, Record<string, unknown>>;
    for (const [, kind = '', name = ''] of references) assert.ok(components[kind]?.[name], name);
    const { schemas } = document.components;
    const nullable = (name: string) => ({
      anyOf: [{ $ref: `#/components/schemas/${name}` }, { type: 'null' }],
    });
    assert.deepEqual(schemas.Operation?.properties?.error, nullable('StoredError'));
    assert.deepEqual(schemas.ApiKey?.properties?.expiresAt, nullable('Instant'));
    assert.deepEqual(schemas.Tenant?.properties?.placement, nullable('PlacementReport'));
    assert.deepEqual(schemas.ApiKey?.properties?.createdAt, { $ref: '#/components/schemas/Instant' });
  });
});
