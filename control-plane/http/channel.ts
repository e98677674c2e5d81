import type { Registry, Subscription } from '../registry/registry.ts';

/** Notifications of one channel for any number of streams over one registry connection. */
export interface Channel {
  /**
   * Calls `onNotify` with each payload, and with '' whenever notifications may have been missed: read the
   * state again then, and once after subscribing. Returns the way out, which settles when nothing is left open
   * for this subscriber and never rejects.
   */
  subscribe(onNotify: (payload: string) => void): Promise<() => Promise<void>>;
}

/** A connection per stream would use up PostgreSQL's 100 with a few open consoles; one per channel serves all. */
export function sharedChannel(registry: Pick<Registry, 'listen'>, name: string): Channel {
  const listeners = new Set<(payload: string) => void>();
  let open: Promise<Subscription> | undefined;

  const leave = async (listener: (payload: string) => void): Promise<void> => {
    if (!listeners.delete(listener) || listeners.size > 0) return;
    const last = open;
    open = undefined;
    // A connection that never came up has nothing to close; its failure was told to its subscriber.
    await last?.then((subscription) => subscription.close()).catch(() => undefined);
  };
  return {
    subscribe: async (onNotify) => {
      const listener = (payload: string): void => onNotify(payload);
      listeners.add(listener);
      open ??= registry.listen(name, (payload) => {
        for (const each of [...listeners]) each(payload);
      });
      const mine = open;
      try {
        await mine;
      } catch (error) {
        listeners.delete(listener);
        if (open === mine) open = undefined;
        throw error;
      }
      return () => leave(listener);
    },
  };
}

/**
 * Makes a trigger for `work` that never runs twice at once: called during a run, it runs once more after it.
 * `onError` ends it: afterwards the trigger does nothing.
 */
export function coalesced(work: () => Promise<void>, onError: (error: unknown) => void): () => void {
  let state: 'idle' | 'running' | 'again' | 'failed' = 'idle';
  const run = async (): Promise<void> => {
    do {
      state = 'running';
      await work();
    } while (wantsAgain());
    state = 'idle';
  };
  const wantsAgain = (): boolean => state === 'again';
  return () => {
    if (state === 'failed') return;
    if (state !== 'idle') {
      state = 'again';
      return;
    }
    run().catch((error: unknown) => {
      state = 'failed';
      onError(error);
    });
  };
}
