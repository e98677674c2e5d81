import { randomUUID } from 'node:crypto';
import type { Asker } from '../access/caller.ts';
import { auditAsked } from '../audit/audit.ts';
import { startOperation } from '../operations/operation.ts';
import type { Transaction } from '../registry/registry.ts';
import { serverSubject, type ServerRecord } from './server.ts';

export interface ServerOperation {
  /** Made ahead where the input holds it. */
  id?: string;
  definition: { kind: string; steps: { name: string }[] };
  input: object;
  /** For the audit log, which notes the operation beside `after`. */
  before?: object;
  after?: object;
}

/**
 * Starts an operation on a server that somebody has asked for, with its audit entry. Returns its id.
 * @throws FleetError 409 `operation_in_progress`
 */
export async function startOnServer(
  tx: Transaction,
  { id: serverId, name, region }: Pick<ServerRecord, 'id' | 'name' | 'region'>,
  { id = randomUUID(), definition, input, before, after }: ServerOperation,
  asker: Asker,
): Promise<string> {
  await startOperation(tx, {
    ...{ id, definition, subject: serverSubject(serverId), subjectName: name, region },
    ...{ input, caller: asker.caller, requestId: asker.requestId },
  });
  auditAsked(tx, asker, {
    action: definition.kind,
    resource: `server:${name}`,
    region,
    ...(before === undefined ? {} : { before }),
    after: { ...after, operation: id },
  });
  return id;
}
