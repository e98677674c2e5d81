import type { Command } from 'commander';
import { productVersion } from '../../platform/project.ts';
import type { OpenSession } from '../session.ts';

export function addVersionCommand(program: Command, open: OpenSession): void {
  program
    .command('version')
    .description('print the versions of fleet and Node')
    .action(() => {
      const versions = { fleet: productVersion(), node: process.versions.node };
      open().out.text(`fleet ${versions.fleet} (node ${versions.node})`, versions, versions.fleet);
    });
}
