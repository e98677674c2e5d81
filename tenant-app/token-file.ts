import { readFileSync, statSync } from 'node:fs';

/**
 * The token in the file, as it stands there when it is asked for: whoever rotates the key replaces the file, and nothing
 * has to be restarted. A file that cannot be read for a moment does not take away what was read before.
 * @throws when the file cannot be read at first
 */
export function tokenFrom(file: string): () => string {
  let known = { stamp: stampOf(file), token: read(file) };
  return () => {
    try {
      const stamp = stampOf(file);
      if (stamp !== known.stamp) known = { stamp, token: read(file) };
    } catch {
      // Still the old one; the next request looks again.
    }
    return known.token;
  };
}

/** Another one for each replacement, whatever the clock does. */
function stampOf(file: string): string {
  const { mtimeNs, ino, size } = statSync(file, { bigint: true });
  return `${mtimeNs} ${ino} ${size}`;
}

function read(file: string): string {
  return readFileSync(file, 'utf8').trim();
}
