import { createInterface } from 'node:readline/promises';
import { CliError, usageError } from './errors.ts';
import { EXIT } from './exit.ts';
import type { Session } from './session.ts';
import { interrupted } from './transport-errors.ts';

/**
 * A severe action wants the resource's own name: typed on a terminal, or as `--confirm NAME` in a script.
 * `--yes` is not enough. Nothing is asked for a dry run.
 */
export async function confirmName(session: Session, name: string, action: string): Promise<void> {
  const { globals } = session;
  if (globals.dryRun === true) return;
  if (globals.confirm === name) return;
  if (globals.confirm !== undefined) {
    throw usageError(`--confirm ${globals.confirm} does not name ${name}`, `to ${action}: --confirm ${name}`);
  }
  if (!mayAsk(session)) {
    throw new CliError({
      code: 'confirmation_required',
      exitCode: EXIT.usage,
      message: `to ${action} cannot be taken back and wants to be confirmed`,
      fix: `add --confirm ${name}`,
    });
  }
  const answer = await ask(session, `This will ${action} and cannot be taken back. Type ${name} to go on: `);
  if (answer.trim() !== name) throw cancelled();
}

/** A moderate action asks y/N on a terminal; scripts are never stopped, `--yes` answers. */
export async function confirmYes(session: Session, question: string): Promise<void> {
  const { globals } = session;
  if (globals.dryRun === true || globals.yes === true || !mayAsk(session)) return;
  const answer = await ask(session, `${question} [y/N] `);
  if (!/^y(es)?$/i.test(answer.trim())) throw cancelled();
}

function mayAsk({ io, globals }: Session): boolean {
  return globals.input && io.stdin.isTTY === true && io.stderr.isTTY === true;
}

async function ask({ io }: Session, question: string): Promise<string> {
  const lines = createInterface({ input: io.stdin, output: io.stderr, terminal: false });
  const closed = new AbortController();
  // Ctrl-D closes the input, and readline would wait for ever.
  lines.once('close', () => closed.abort());
  try {
    return await lines.question(question, { signal: AbortSignal.any([io.signal, closed.signal]) });
  } catch {
    throw io.signal.aborted ? interrupted('nothing was changed') : cancelled();
  } finally {
    lines.close();
  }
}

function cancelled(): CliError {
  return new CliError({ code: 'cancelled', exitCode: EXIT.usage, message: 'cancelled: nothing was changed' });
}
