import { existsSync } from 'node:fs';
import pc from 'picocolors';
import { redactText } from '../platform/logging.ts';
import { awsEnvironment, ownServer, secretsOnAws, serversOnAws, startAws } from './demo/aws.ts';
import { chapter, claim, expect } from './demo/stage.ts';
import { canary, halt, kill, provision, route, verifyAudit } from './demo/story.ts';
import { demoConfig, removeFolder, type World } from './demo/world.ts';
import { launchFleet } from './launcher/launch.ts';
import type { Moto } from './launcher/moto.ts';
import { stopClusters } from './launcher/registry-cluster.ts';

/**
 * `npm run demo`: the whole story on a fleet of its own. Whatever it prints with ✔ it has checked. With `--aws` the
 * fleet has its secrets and keys on an emulated AWS, and a tenant a server of its own there.
 */
const onAws = process.argv.includes('--aws');
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => stopping.abort(new Error('interrupted')));
}

/** A run takes well under half of this on two cores; then it hangs, and says so. */
const DEMO_TIMEOUT_MS = 180_000;

async function play(): Promise<void> {
  const moto = onAws ? await startAws() : undefined;
  if (moto !== undefined) Object.assign(process.env, awsEnvironment(moto));
  const config = demoConfig(process.env);
  let world: World | undefined;
  try {
    chapter('1. An empty folder becomes a fleet');
    await claim('registry, two regions, control plane and tenant apps are up', async () => {
      if (moto !== undefined) Object.assign(process.env, await serversOnAws(moto, config));
      const fleet = await launchFleet({ config, say: () => undefined, signal: stopping.signal });
      world = { folder: config.dataDir, config, fleet };
      expect((await fetch(`${fleet.url}/readyz`)).ok, 'the control plane is not ready');
    });
    if (world !== undefined) await Promise.race([tell(world, moto), interruption()]);
  } finally {
    await world?.fleet.stop();
    await moto?.stop();
    // What stands for RDS runs before the fleet does.
    await stopClusters(config.dataDir);
    removeFolder(config);
  }
  await claim('nothing is left: every process is gone, and the folder too', async () => {
    expect(!existsSync(config.dataDir), `${config.dataDir} is still there`);
    const answers = await fetch(`${world?.fleet.url}/healthz`).then(
      () => true,
      () => false,
    );
    expect(!answers, 'the control plane still answers');
  });
}

async function tell(world: World, moto: Moto | undefined): Promise<void> {
  for (const part of [provision, route, canary, halt, kill, verifyAudit]) await part(world);
  if (moto !== undefined) {
    chapter('8. Secrets and servers on AWS');
    await secretsOnAws(world, moto);
    await ownServer(world, moto);
  }
  chapter(`${moto === undefined ? 8 : 9}. And everything is cleaned up`);
}

function interruption(): Promise<never> {
  return new Promise((_resolve, reject) => {
    const timer = setTimeout(
      () => reject(new Error(`not over after ${DEMO_TIMEOUT_MS / 1000} s`)),
      DEMO_TIMEOUT_MS,
    );
    timer.unref();
    stopping.signal.addEventListener('abort', () => reject(new Error('interrupted')));
  });
}

const started = performance.now();
play().then(
  () => {
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    process.stdout.write(`\n${pc.green('Everything above is so.')} It took ${seconds} s.\n`);
    process.exit(0);
  },
  (error: unknown) => {
    const text = error instanceof Error ? error.message : String(error);
    process.stderr.write(`\n${pc.red('The demo failed:')} ${redactText(text)}\n`);
    process.exit(1);
  },
);
