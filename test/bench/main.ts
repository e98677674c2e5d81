import { benchBackfill } from './backfill.ts';
import { benchHistory } from './history.ts';
import { benchProvision } from './provision.ts';
import { benchRollout } from './rollout.ts';
import { benchRolloutPeer } from './rollout-peer.ts';
import { benchRotation } from './rotation.ts';
import { benchRouting } from './routing.ts';
import { benchRoutes } from './routes.ts';
import { benchTakeover } from './takeover.ts';
import { benchTraffic } from './traffic.ts';
import { benchUpToDate } from './up-to-date.ts';
import { startTestClusters } from '../support/clusters.ts';
import { openTestRun, removeTestRun, stopServers } from '../support/test-run.ts';

/** Each takes what stands behind the colon of its name, if anything. */
const BENCHES: Record<string, (argument: string) => Promise<void>> = {
  rollout: benchRollout,
  'rollout-peer': benchRolloutPeer,
  provision: benchProvision,
  routing: benchRouting,
  routes: benchRoutes,
  takeover: benchTakeover,
  backfill: benchBackfill,
  history: benchHistory,
  traffic: benchTraffic,
  rotation: benchRotation,
  'up-to-date': benchUpToDate,
};

const asked = process.argv.slice(2).map((word) => {
  const [name = '', ...argument] = word.split(':');
  return { bench: BENCHES[name], argument: argument.join(':') };
});
if (asked.length === 0 || asked.some(({ bench }) => bench === undefined)) {
  process.stderr.write(
    `usage: npm run bench -- NAME…   with NAME one of ${Object.keys(BENCHES).join(', ')};\n` +
      '       history:FOLDER takes the folder of a history of migrations\n',
  );
  process.exit(2);
}

// Benchmarks run on clusters with the settings of a real start: flushing to disk, no statement log.
openTestRun();
try {
  await startTestClusters({});
  for (const { bench, argument } of asked) await bench?.(argument);
} finally {
  await stopServers();
  removeTestRun();
}
