import { loadConfig, dataFiles, type Config } from '../platform/config.ts';
import { CliError } from '../fleet-cli/errors.ts';
import { FleetError } from '../platform/errors.ts';
import { redactText } from '../platform/logging.ts';
import { adminClient } from './launcher/api.ts';
import { makeDemoFleet, makeRegionServers, publishFirstRelease } from './launcher/first-fleet.ts';
import { launchFleet, type Fleet } from './launcher/launch.ts';
import { summary } from './launcher/summary.ts';

/** `npm start`: boots a whole fleet on this machine and keeps it running until Ctrl-C. */
const stopping = new AbortController();

function say(line: string): void {
  process.stderr.write(`flotilla: ${redactText(line)}\n`);
}

/** Ctrl-C arrives twice under npm: from the terminal, and passed on by npm. */
function onSignal(): void {
  if (stopping.signal.aborted) return;
  say('stopping');
  stopping.abort();
}

/** Time between two looks whether npm still lives: `kill -9` of it tells us nothing else. */
const PARENT_POLL_MS = 1_000;

function stopWithNpm(): void {
  if (process.env.npm_lifecycle_event === undefined) return;
  const parent = process.ppid;
  setInterval(() => (process.ppid === parent ? undefined : onSignal()), PARENT_POLL_MS).unref();
}

async function main(): Promise<void> {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, onSignal);
  stopWithNpm();
  const started = performance.now();
  const config = loadConfig(process.env);
  const fleet = await launchFleet({ config, say, signal: stopping.signal });
  try {
    await fillFleet(fleet, config);
    fleet.announce();
    process.stdout.write(`${summary(fleet, config, (performance.now() - started) / 1000)}\n`);
    await untilStopped();
  } finally {
    await fleet.stop();
    say('everything is stopped; the data is kept');
  }
}

async function fillFleet(fleet: Fleet, config: Config): Promise<void> {
  const client = adminClient(fleet.url, dataFiles(config.dataDir).adminToken, stopping.signal);
  say('making sure that each region has a server and the tenants a schema');
  await Promise.all([makeRegionServers(client, config.regions), publishFirstRelease(client)]);
  if (!config.demo || config.regions.length === 0) return;
  say('making sure of the demo tenants (FLEET_DEMO=off leaves them out)');
  await makeDemoFleet(client, config.dataDir, config.regions);
}

async function untilStopped(): Promise<void> {
  if (stopping.signal.aborted) return;
  await new Promise((resolve) => stopping.signal.addEventListener('abort', resolve, { once: true }));
}

function explain(error: unknown): string {
  if (!(error instanceof FleetError || error instanceof CliError))
    return error instanceof Error ? (error.stack ?? error.message) : String(error);
  const details = (error.errors ?? []).map((item) => `\n  ${item.path}: ${item.message}`).join('');
  return `${error.message}${details}${error.fix === undefined ? '' : `\n  fix: ${error.fix}`}`;
}

main().catch((error: unknown) => {
  if (stopping.signal.aborted) {
    say('stopped before everything was up; the next start goes on from there');
    return;
  }
  say(explain(error));
  process.exitCode = 1;
});
