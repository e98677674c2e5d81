import Table from 'cli-table3';
import pc from 'picocolors';
import type { Config } from '../../platform/config.ts';
import type { Fleet } from './launch.ts';

/** What a person wants to see when the fleet is up: where it is, and what to try next. */
export function summary(fleet: Fleet, config: Config, seconds: number): string {
  const table = new Table({ chars: NO_LINES, style: { head: [], border: [], compact: true } });
  table.push(['  control plane', fleet.url]);
  for (const [region, app] of fleet.apps) table.push([`  tenant app ${region}`, app.publicUrl]);
  table.push(['  data and logs', config.dataDir]);
  const commands = nextCommands(fleet, config).map((command) => `  ${pc.cyan(command)}`);
  return [
    '',
    `${pc.bold('Flotilla is running')} (ready after ${seconds.toFixed(1)} s)`,
    '',
    table.toString(),
    '',
    'Next, from a second shell in this folder:',
    '',
    ...commands,
    '',
    'Ctrl-C stops everything and keeps the data.',
    '',
  ].join('\n');
}

function nextCommands(fleet: Fleet, config: Config): string[] {
  const region = config.regions[0] ?? '';
  const address = fleet.apps.get(region)?.publicUrl.replace('://', '://acme.') ?? '';
  return [
    'npx fleet status',
    'npx fleet tenant list',
    `npx fleet tenant create acme --region ${region} --tier premium --wait`,
    `curl ${address}/api/v1/whoami`,
    'npx fleet tenant get acme',
  ];
}

const NO_LINES = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};
