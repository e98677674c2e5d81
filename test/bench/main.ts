import { benchBackfill } from './backfill.ts';
import { benchProvision } from './provision.ts';
import { benchRollout } from './rollout.ts';
import { benchRolloutPeer } from './rollout-peer.ts';
import { benchRouting } from './routing.ts';
import { benchRoutes } from './routes.ts';
import { benchTakeover } from './takeover.ts';
import { startTestClusters } from '../support/clusters.ts';
import { closeTestRun, openTestRun } from '../support/test-run.ts';

const BENCHES: Record<string, () => Promise<void>> = {
  rollout: benchRollout,
  'rollout-peer': benchRolloutPeer,
  provision: benchProvision,
  routing: benchRouting,
  routes: benchRoutes,
  takeover: benchTakeover,
  backfill: benchBackfill,
};

const names = process.argv.slice(2);
const unknown = names.filter((name) => BENCHES[name] === undefined);
if (names.length === 0 || unknown.length > 0) {
  process.stderr.write(
    `usage: npm run bench -- NAME…   with NAME one of ${Object.keys(BENCHES).join(', ')}\n`,
  );
  process.exit(2);
}

// Benchmarks run on clusters with the settings of a real start: flushing to disk, no statement log.
openTestRun();
try {
  await startTestClusters({});
  for (const name of names) await BENCHES[name]?.();
} finally {
  await closeTestRun();
}
