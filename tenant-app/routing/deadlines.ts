/** What can have a deadline. The fields belong to Deadlines. */
export interface Timed {
  end: number;
  older: Timed | undefined;
  newer: Timed | undefined;
}

/**
 * Deadlines of many things that all get the same time: on one timer, and chained through the things themselves,
 * as adding and deleting happen for every request and must allocate nothing.
 */
export interface Deadlines<T extends Timed> {
  add(item: T): void;
  /** Harmless when it is not in. */
  delete(item: T): void;
}

/** Calls `onDue` for each item that was not deleted within `ms` milliseconds. */
export function createDeadlines<T extends Timed>(ms: number, onDue: (item: T) => void): Deadlines<T> {
  // The ends of the chain in one: `newer` is the first that is due, `older` the last.
  const chain: Timed = { end: 0, older: undefined, newer: undefined };
  chain.older = chain;
  chain.newer = chain;
  let timer: NodeJS.Timeout | undefined;

  const check = (): void => {
    timer = undefined;
    const now = performance.now();
    for (let item = chain.newer; item !== undefined && item !== chain; item = chain.newer) {
      if (item.end > now) {
        timer = setTimeout(check, item.end - now).unref();
        return;
      }
      unlink(item);
      onDue(item as T);
    }
  };
  return {
    add: (item) => {
      item.end = performance.now() + ms;
      item.newer = chain;
      item.older = chain.older;
      if (chain.older !== undefined) chain.older.newer = item;
      chain.older = item;
      timer ??= setTimeout(check, ms).unref();
    },
    delete: unlink,
  };
}

function unlink(item: Timed): void {
  if (item.older !== undefined) item.older.newer = item.newer;
  if (item.newer !== undefined) item.newer.older = item.older;
  item.older = undefined;
  item.newer = undefined;
}
