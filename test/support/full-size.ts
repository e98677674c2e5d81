/** Whether this run is `npm run test:full`, which has minutes for what `npm test` does in seconds. */
export const isFullSize = process.env.FLEET_TEST_SIZE === 'full';

/** How many of something a test takes: the same story with fewer in `npm test`, all of them in `npm run test:full`. */
export function sized<T>(few: T, all: T): T {
  return isFullSize ? all : few;
}
