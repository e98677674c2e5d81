import { z } from 'zod';
import { Operation } from '../contract/operation.ts';
import { path, type ApiRequest, type Reply } from './client.ts';
import { CliError } from './errors.ts';
import { EXIT } from './exit.ts';
import { follow } from './follow.ts';
import { operationView } from './output/operation-view.ts';
import type { Session } from './session.ts';

/** Any body: for answers that nothing is taken from. */
export const AnyBody = z.unknown();

/** Fields whose values never reach the screen: a server's URL holds the admin's password. */
const HIDDEN_FIELDS = new Set(['url', 'token', 'password']);

/** Sends a change, or with --dry-run prints what would be sent and answers undefined. */
export async function change<T>(
  session: Session,
  request: ApiRequest,
  schema: z.ZodType<T>,
): Promise<Reply<T> | undefined> {
  if (session.globals.dryRun !== true) return await session.client().send(request, schema);
  const { method, ifMatch } = request;
  const body = shownBody(request.body);
  const data = {
    dryRun: true,
    method,
    path: request.path,
    ...(request.query === undefined ? {} : { query: request.query }),
    ...(ifMatch === undefined ? {} : { ifMatch }),
    ...(body === undefined ? {} : { body }),
  };
  const text = `${method} ${request.path}${body === undefined ? '' : `\n${JSON.stringify(body, null, 2)}`}`;
  session.out.text(text, data);
  session.out.note('dry run: nothing was sent');
  return undefined;
}

/**
 * Waits for the operation behind an answer, unless --no-wait; then prints the result with `show`. Without waiting
 * the operation itself is printed, as that is what a script needs to go on.
 * @throws CliError exit 5 when the operation did not succeed.
 */
export async function settle(
  session: Session,
  reply: Reply<unknown> | undefined,
  show: () => Promise<void>,
): Promise<void> {
  if (reply === undefined) return;
  if (reply.operationId === undefined) return await show();
  if (session.globals.wait === false) {
    const operation = await session.client().get(operationPath(reply.operationId), Operation);
    session.out.one(operation.body, operationView);
    session.out.note(`not waiting; look again: fleet operation get ${reply.operationId}`);
    return;
  }
  await waitForOperation(session, reply.operationId);
  await show();
}

/** Follows an operation to its end and prints each step on stderr as it finishes. */
export async function waitForOperation(session: Session, id: string): Promise<Operation> {
  const operation = await follow(session, {
    path: operationPath(id),
    schema: Operation,
    over: (state) => ['succeeded', 'failed', 'cancelled'].includes(state.state),
    onUpdate: stepReporter(session),
    subject: `operation ${id}`,
    again: `fleet operation get ${id}`,
  });
  if (operation.state === 'succeeded') return operation;
  throw operationError(operation);
}

/** Shows what was waited for also when it ended unhealthy; then that error goes on, and with it exit code 5. */
export async function showAtEnd<T>(wait: () => Promise<unknown>, show: () => Promise<T>): Promise<T> {
  try {
    await wait();
  } catch (error) {
    if (error instanceof CliError && error.exitCode === EXIT.unhealthy) await show();
    throw error;
  }
  return await show();
}

function operationError(operation: Operation): CliError {
  const failedStep = operation.steps.find((step) => step.error !== null);
  const at = failedStep === undefined ? '' : ` at step ${failedStep.name}`;
  return new CliError({
    code: operation.error?.code ?? `operation_${operation.state}`,
    exitCode: EXIT.unhealthy,
    message:
      operation.error?.message ?? `${operation.kind} of ${operation.subjectName} ended as ${operation.state}`,
    why: `operation ${operation.id} ended as ${operation.state}${at}`,
    fix:
      operation.error?.fix ??
      `fleet operation get ${operation.id}, then fleet operation retry ${operation.id}`,
    requestId: operation.requestId ?? undefined,
  });
}

function stepReporter({ out }: Session): (operation: Operation) => void {
  const told = new Set<string>();
  const once = (key: string, line: string) => {
    if (told.has(key)) return;
    told.add(key);
    out.note(line);
  };
  return (operation) => {
    once('begin', `${operation.kind} ${operation.subjectName} (operation ${operation.id})`);
    for (const step of operation.steps) {
      if (step.state === 'done') once(`${step.name} done`, `  ${out.notePaint('good', '✔')} ${step.name}`);
      if (step.state === 'undone')
        once(`${step.name} undone`, `  ${out.notePaint('warn', '↩')} ${step.name} undone`);
      if (step.state === 'failed') {
        once(
          `${step.name} failed`,
          `  ${out.notePaint('bad', '✖')} ${step.name}: ${step.error?.message ?? 'failed'}`,
        );
      } else if (step.error !== null && step.state === 'running') {
        const again = `  ${out.notePaint('warn', '!')} ${step.name}, try ${step.tries}: ${step.error.message}`;
        once(`${step.name} try ${step.tries}`, again);
      }
    }
    const { waiting } = operation;
    if (waiting !== null)
      once(`waiting ${waiting.for}`, `  ${out.notePaint('dim', '…')} waiting: ${waiting.for}`);
  };
}

function operationPath(id: string): string {
  return path`/api/v1/operations/${id}`;
}

function shownBody(body: unknown): unknown {
  if (typeof body !== 'object' || body === null) return body;
  return Object.fromEntries(
    Object.entries(body).map(([name, value]) => [name, HIDDEN_FIELDS.has(name) ? '[hidden]' : value]),
  );
}
