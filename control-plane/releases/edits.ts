import type { Migration } from './release.ts';
import { migrationChecksum, releaseChecksum } from './release.ts';
import type { ReleaseRecord } from './store.ts';

/** Something published that is no longer what it was. Only a change by hand in the registry does that. */
export interface Edit {
  /** The migration; or the first and the last of those of which one was edited, left out or moved. */
  name: string;
  /** Place in the list from which on it counts. */
  ordinal: number;
  /** Checksum that was noted when it was published, and that of what is there now. */
  published: string;
  now: string;
}

/**
 * Holds published migrations against their checksums: each against its own, and all together against the chains of
 * the releases. Pure.
 * @param releases those that end within `migrations`, the oldest first
 */
export function findEdits(
  migrations: readonly Migration[],
  releases: readonly Pick<ReleaseRecord, 'name' | 'headOrdinal' | 'checksum'>[],
): Edit[] {
  const edited = migrations.flatMap(({ name, ordinal, checksum: published, upSql, downSql }) => {
    const now = migrationChecksum(upSql, downSql);
    return now === published ? [] : [{ name, ordinal, published, now }];
  });
  return edited.length > 0 ? edited : brokenChain(migrations, releases);
}

/** Each row agrees with itself, but not with a release: one came, went, moved, or was edited with its checksum. */
function brokenChain(
  migrations: readonly Migration[],
  releases: readonly Pick<ReleaseRecord, 'name' | 'headOrdinal' | 'checksum'>[],
): Edit[] {
  let sound = 0;
  for (const { name, headOrdinal, checksum: published } of releases) {
    const now = releaseChecksum(migrations.slice(0, headOrdinal));
    if (now !== published) {
      const suspects = migrations.slice(sound, headOrdinal).map((one) => one.name);
      const [first, last] = [suspects[0], suspects.at(-1)];
      const among = first === last ? first : `${first} to ${last}`;
      return [{ name: among ?? `release ${name}`, ordinal: sound + 1, published, now }];
    }
    sound = headOrdinal;
  }
  return [];
}
