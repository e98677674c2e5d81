import assert from 'node:assert/strict';
import { confirmName, confirmYes } from '../../../fleet-cli/confirm.ts';
import type { Globals } from '../../../fleet-cli/globals.ts';
import type { Session } from '../../../fleet-cli/session.ts';
import { screenIo, terminalIo } from './harness.ts';

function session(globals: Partial<Globals>, io: Session['io']): Session {
  return { io, globals: { output: 'table', color: false, input: true, ...globals } } as Session;
}

describe('confirmation of a severe action', () => {
  const { io } = screenIo(false, {});
  const remove = (globals: Partial<Globals>, on = io) =>
    confirmName(session(globals, on), 'acme', 'delete tenant acme');

  it('takes --confirm with the right name, and nothing for a dry run', async () => {
    await remove({ confirm: 'acme' });
    await remove({ dryRun: true });
  });

  it('refuses another name, --yes alone, and a script that says nothing', async () => {
    await assert.rejects(remove({ confirm: 'other' }), { exitCode: 2 });
    await assert.rejects(remove({ yes: true }), { code: 'confirmation_required', fix: 'add --confirm acme' });
    await assert.rejects(remove({}), { code: 'confirmation_required', exitCode: 2 });
  });

  it('asks on a terminal for the name', async () => {
    await remove({}, terminalIo('acme'));
    await assert.rejects(remove({}, terminalIo('acmee')), { code: 'cancelled', exitCode: 2 });
    await assert.rejects(remove({}, terminalIo(undefined)), { code: 'cancelled' });
    await assert.rejects(remove({ input: false }, terminalIo('acme')), { code: 'confirmation_required' });
  });
});

describe('confirmation of a moderate action', () => {
  const suspend = (globals: Partial<Globals>, io: Session['io']) =>
    confirmYes(session(globals, io), 'Suspend?');

  it('never stops a script', async () => {
    await suspend({}, screenIo(false, {}).io);
  });

  it('asks y/N on a terminal, unless --yes', async () => {
    await suspend({}, terminalIo('y'));
    await suspend({ yes: true }, terminalIo('n'));
    await assert.rejects(suspend({}, terminalIo('n')), { code: 'cancelled' });
    await assert.rejects(suspend({}, terminalIo('')), { code: 'cancelled' });
  });
});
