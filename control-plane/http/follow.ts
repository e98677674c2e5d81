import { coalesced, type Channel } from './channel.ts';
import type { StreamCall } from './route.ts';
import { openEventStream } from './sse.ts';

/** A resource whose changes are told on a channel by its id. */
export interface Followed<T extends { state: string }> {
  id: string;
  channel: Channel;
  /** Name of the event that carries it. */
  event: string;
  /** As the caller may see it now. What it throws the first time is the answer. */
  read: () => Promise<T>;
  /** Whether nothing more will happen by itself. */
  isOver: (value: T) => boolean;
  /** What is told one by one, with ids to resume behind, before the resource itself. */
  changes?: Changes;
}

export interface Changes {
  /** Name of their event. */
  event: string;
  /** Id of the last that the client has; undefined for none. */
  after: string | undefined;
  /** Those after it, in their order. */
  read: (after: string | undefined) => Promise<{ id: string }[]>;
}

/**
 * Streams the resource now and after each change, until it is over or the client leaves; then, as the last event,
 * `end` with its state. Changes that come while one is read are told together. Settles with the stream.
 */
export async function follow<T extends { state: string }>(
  { request, response }: Pick<StreamCall<unknown, unknown>, 'request' | 'response'>,
  { id, channel, event, read, isOver, changes }: Followed<T>,
): Promise<void> {
  await read();
  // The first notification may come before there is a stream to tell it to.
  let refresh = (): void => undefined;
  const leave = await channel.subscribe((payload) => {
    if (payload === id || payload === '') refresh();
  });
  const stream = openEventStream(request, response);
  stream.onClose(() => void leave());
  let shown = '';
  let after = changes?.after;
  refresh = coalesced(
    async () => {
      // Read before the changes: whatever has led to this state is among them.
      const value = await read();
      for (const change of (await changes?.read(after)) ?? []) {
        stream.send(changes?.event ?? event, change, change.id);
        after = change.id;
      }
      const text = JSON.stringify(value);
      if (text !== shown) stream.send(event, value);
      shown = text;
      if (!isOver(value)) return;
      stream.send('end', { id, state: value.state });
      stream.close();
    },
    // The registry is away: the client connects again and gets the reason as a proper answer.
    () => stream.close(),
  );
  refresh();
  await stream.closed;
}
