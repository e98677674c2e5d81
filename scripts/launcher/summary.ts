import pc from 'picocolors';
import type { Config } from '../../platform/config.ts';
import type { Fleet } from './launch.ts';

/** What a person wants to see when the fleet is up: where it is, and what to try next. */
export function summary(fleet: Fleet, config: Config, seconds: number): string {
  const addresses = [
    ['control plane', fleet.url],
    ...[...fleet.apps].map(([region, app]) => [`tenant app ${region}`, app.publicUrl]),
    ['data and logs', config.dataDir],
  ];
  const commands = nextCommands(fleet, config).map((command) => `  ${pc.cyan(command)}`);
  return [
    '',
    `${pc.bold('Flotilla is running')} (ready after ${seconds.toFixed(1)} s)`,
    '',
    ...addresses.map(([what, where]) => `  ${what?.padEnd(LABEL_WIDTH)}${where}`),
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

/** The longest label, `tenant app <region>`, and a gap. */
const LABEL_WIDTH = 18;
