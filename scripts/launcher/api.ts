import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Operation } from '../../contract/operation.ts';
import { createClient, path, type Client } from '../../fleet-cli/client.ts';
import { FleetError } from '../../platform/errors.ts';

/** A server takes 2–4 s to make, a tenant well under one; a minute means that something is wrong. */
const OPERATION_TIMEOUT_MS = 60_000;
const POLL_MS = 100;

/** The API with the admin's key, as the CLI uses it. */
export function adminClient(url: string, tokenFile: string, signal: AbortSignal): Client {
  return createClient({ url, token: readFileSync(tokenFile, 'utf8').trim(), signal });
}

/** Waits until the operation is over. @throws FleetError with the operation's own error when it failed. */
export async function waitForOperation(client: Client, id: string): Promise<void> {
  const deadline = Date.now() + OPERATION_TIMEOUT_MS;
  for (;;) {
    const { body } = await client.get(path`/api/v1/operations/${id}`, Operation);
    if (body.state === 'succeeded') return;
    if (body.state === 'failed' || body.state === 'cancelled' || Date.now() > deadline) {
      throw new FleetError({
        code: body.error?.code ?? 'operation_not_over',
        status: 500,
        message: `${body.kind} of ${body.subjectName} is ${body.state}: ${body.error?.message ?? 'no error is known'}`,
        fix: `npx fleet operation get ${id}`,
      });
    }
    await delay(POLL_MS);
  }
}
