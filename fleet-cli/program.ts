import tab from '@bomb.sh/tab/commander';
import { Command } from 'commander';
import { productVersion } from '../platform/project.ts';
import { addApiCommand } from './commands/api.ts';
import { addAuditCommands } from './commands/audit.ts';
import { addContextCommands } from './commands/context.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addDriftCommands } from './commands/drift.ts';
import { addKeyCommands } from './commands/key.ts';
import { addOperationCommands } from './commands/operation.ts';
import { addRegionCommands } from './commands/region.ts';
import { addReleaseCommands } from './commands/release.ts';
import { addRolloutCommands } from './commands/rollout.ts';
import { addRotationCommands } from './commands/rotation.ts';
import { addSecretCommands } from './commands/secret.ts';
import { addServerCommands } from './commands/server.ts';
import { addStatusCommand } from './commands/status.ts';
import { addTenantCommands } from './commands/tenant.ts';
import { addVersionCommand } from './commands/version.ts';
import { addGlobalOptions } from './globals.ts';
import type { Io } from './io.ts';
import { sessionOpener } from './session.ts';

/** Help for a pipe is as wide as a plain terminal. */
const PLAIN_WIDTH = 80;

/** The whole command tree: `fleet <noun> <verb> [NAME] [flags]`. Errors are thrown, never printed from here. */
export function createProgram(io: Io): Command {
  const program = new Command('fleet')
    .description('Operate a fleet of PostgreSQL databases, one for each tenant.')
    .version(productVersion(), '-V, --version', 'print the version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void io.stdout.write(text),
      writeErr: () => undefined,
      getOutHelpWidth: () => io.stdout.columns ?? PLAIN_WIDTH,
    })
    .configureHelp({ showGlobalOptions: true })
    .helpCommand(false);
  addGlobalOptions(program);
  const open = sessionOpener(program, io);
  addStatusCommand(program, open);
  addTenantCommands(program, open);
  addReleaseCommands(program, open);
  addRolloutCommands(program, open);
  addDriftCommands(program, open);
  addOperationCommands(program, open);
  addRegionCommands(program, open);
  addServerCommands(program, open);
  addSecretCommands(program, open);
  addRotationCommands(program, open);
  addAuditCommands(program, open);
  addKeyCommands(program, open);
  addContextCommands(program, open);
  addDoctorCommand(program, open);
  addApiCommand(program, open);
  addVersionCommand(program, open);
  tab(program, { completionCommandName: 'completion' });
  return program;
}
