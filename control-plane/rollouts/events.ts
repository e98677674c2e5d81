import type { Request, Response } from 'express';
import type { Channel } from '../http/channel.ts';
import { openEventStream } from '../http/sse.ts';
import type { Registry } from '../registry/registry.ts';
import { RESTING_STATES } from './rollout.ts';
import { readProgress } from './view.ts';

/**
 * Follows one rollout: `event: rollout` with its progress now and after each change, `event: end` when nothing more
 * will happen before a person acts. Changes that come while one is read are told together. Of other regions than
 * `regions` (null: all) nothing is told.
 * @throws FleetError 404 `rollout_not_found`, before the first byte
 */
export async function streamRollout(
  deps: { registry: Registry; changes: Channel; regions: string[] | null },
  id: string,
  http: { request: Request; response: Response },
): Promise<void> {
  await readProgress(deps.registry, id, deps.regions);
  const stream = openEventStream(http.request, http.response);
  let wanted = true;
  let reading = false;
  let last = '';

  const tell = async (): Promise<void> => {
    if (reading) return;
    reading = true;
    try {
      while (wanted) {
        wanted = false;
        const progress = await readProgress(deps.registry, id, deps.regions);
        const text = JSON.stringify(progress);
        if (text !== last) stream.send('rollout', progress);
        last = text;
        if (!RESTING_STATES.includes(progress.state)) continue;
        stream.send('end', { id, state: progress.state });
        stream.close();
        return;
      }
    } finally {
      reading = false;
    }
  };
  const onChange = (payload: string): void => {
    if (payload !== '' && payload !== id) return;
    wanted = true;
    // The registry is away: the client sees the end of the stream and comes back.
    tell().catch(() => stream.close());
  };
  const leave = await deps.changes.subscribe(onChange);
  stream.onClose(leave);
  onChange(id);
  await stream.closed;
}
