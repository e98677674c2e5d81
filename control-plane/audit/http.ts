import { z } from 'zod';
import { AuditEntry, AuditVerification } from '../../contract/audit.ts';
import { PageQuery, pageOf } from '../../contract/page.ts';
import { visibleRegions } from '../access/caller.ts';
import { decodeCursor, pageOfRows } from '../http/cursor.ts';
import { route, type Answer, type Call, type SliceRoutes } from '../http/route.ts';
import type { Registry } from '../registry/registry.ts';
import type { ChainedEntry } from './audit.ts';
import { listEntries } from './store.ts';
import { verifyChain } from './verify.ts';

const AuditFilter = z.object({
  ...PageQuery.shape,
  resource: z.string().max(300).optional(),
  actor: z.string().max(100).optional(),
  action: z.string().max(100).optional(),
});
type AuditFilter = z.infer<typeof AuditFilter>;

const Position = z.object({ seq: z.int().positive() });

/** The audit log: listed by region and verified as a whole. */
export function auditRoutes(deps: { registry: Registry }): SliceRoutes {
  return {
    routes: [
      route({
        method: 'get',
        path: '/api/v1/audit',
        id: 'listAudit',
        summary: 'List what was done, newest first',
        tag: 'audit',
        permission: 'audit:read',
        query: AuditFilter,
        status: 200,
        response: pageOf(AuditEntry),
        handle: list,
      }),
      route({
        method: 'get',
        path: '/api/v1/audit/verify',
        id: 'verifyAudit',
        summary: 'Check the whole hash chain and name the first entry that breaks it',
        tag: 'audit',
        permission: 'audit:read',
        status: 200,
        response: AuditVerification,
        handle: async () => ({ body: await verifyChain(deps.registry) }),
      }),
    ],
  };
}

async function list(call: Call<unknown, AuditFilter, unknown>): Promise<Answer> {
  const { limit, cursor, ...filter } = call.query;
  const entries = await listEntries(call.tx, {
    ...filter,
    regions: visibleRegions(call.caller),
    before: decodeCursor(cursor, Position)?.seq,
    limit: limit + 1,
  });
  return { body: pageOfRows(entries, limit, ({ seq }) => ({ seq }), toAuditEntry) };
}

function toAuditEntry({ prevHash: _prevHash, ...entry }: ChainedEntry): AuditEntry {
  return entry;
}
