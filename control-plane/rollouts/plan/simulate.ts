/** A wave as a simulation sees it. */
export interface SimulatedWave {
  parallel: number;
  perServer: number;
  /** Indexes of the waves that must be over. */
  dependsOn: readonly number[];
  /** How long it is watched after its last target. */
  bakeMs: number;
  /** In the order in which they are begun. */
  targets: readonly { serverId: string; durationMs: number }[];
}

/**
 * When each wave is over, in milliseconds from the start, if each target takes as long as it says. Pure. Waves that
 * run side by side do not slow each other down in it.
 */
export function simulateWaves(waves: readonly SimulatedWave[]): number[] {
  const ends = new Map<number, number>();
  const endOf = (index: number): number => {
    const known = ends.get(index);
    const wave = waves[index];
    if (known !== undefined || wave === undefined) return known ?? 0;
    const begin = Math.max(0, ...wave.dependsOn.map(endOf));
    const end = begin + makespan(wave) + wave.bakeMs;
    ends.set(index, end);
    return end;
  };
  return waves.map((_wave, index) => endOf(index));
}

/** The first target that its server has room for is begun as soon as one of the slots is free. */
function makespan({ parallel, perServer, targets }: SimulatedWave): number {
  const waiting = queuesByServer(targets);
  const running: { endsAt: number; serverId: string }[] = [];
  const onServer = new Map<string, number>();
  let now = 0;
  let last = 0;
  for (;;) {
    while (running.length < parallel) {
      const next = firstWithRoom(waiting, (serverId) => (onServer.get(serverId) ?? 0) < perServer);
      if (next === undefined) break;
      onServer.set(next.serverId, (onServer.get(next.serverId) ?? 0) + 1);
      running.push({ endsAt: now + next.durationMs, serverId: next.serverId });
    }
    const ended = running.reduce((first, one) => (one.endsAt < first.endsAt ? one : first), {
      ...{ endsAt: Infinity, serverId: '' },
    });
    if (ended.endsAt === Infinity) return last;
    running.splice(running.indexOf(ended), 1);
    onServer.set(ended.serverId, (onServer.get(ended.serverId) ?? 0) - 1);
    now = ended.endsAt;
    last = Math.max(last, now);
  }
}

interface Waiting {
  index: number;
  serverId: string;
  durationMs: number;
}

/** A queue for each server: finding the next of thousands need not pass by all that wait for one. */
function queuesByServer(targets: SimulatedWave['targets']): Waiting[][] {
  const queues = new Map<string, Waiting[]>();
  for (const [index, target] of targets.entries()) {
    const queue = queues.get(target.serverId) ?? [];
    queues.set(target.serverId, queue);
    queue.push({ ...target, index });
  }
  // Taken from the end.
  return [...queues.values()].map((queue) => queue.reverse());
}

function firstWithRoom(queues: Waiting[][], hasRoom: (serverId: string) => boolean): Waiting | undefined {
  let best: Waiting[] | undefined;
  for (const queue of queues) {
    const head = queue.at(-1);
    if (head === undefined || !hasRoom(head.serverId)) continue;
    if (best === undefined || head.index < (best.at(-1)?.index ?? Infinity)) best = queue;
  }
  return best?.pop();
}
