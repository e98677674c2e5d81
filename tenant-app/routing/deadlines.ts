/** Deadlines of many things that all get the same time, on one timer: a timer each would cost more than a look-up. */
export interface Deadlines<T> {
  add(item: T): void;
  delete(item: T): void;
}

/** Calls `onDue` for each item that was not deleted within `ms` milliseconds. */
export function createDeadlines<T>(ms: number, onDue: (item: T) => void): Deadlines<T> {
  // In the order of adding, which is the order of their ends.
  const ends = new Map<T, number>();
  let timer: NodeJS.Timeout | undefined;

  const check = (): void => {
    timer = undefined;
    const now = performance.now();
    for (const [item, end] of ends) {
      if (end > now) {
        timer = setTimeout(check, end - now).unref();
        return;
      }
      ends.delete(item);
      onDue(item);
    }
  };
  return {
    add: (item) => {
      ends.set(item, performance.now() + ms);
      timer ??= setTimeout(check, ms).unref();
    },
    delete: (item) => {
      ends.delete(item);
    },
  };
}
