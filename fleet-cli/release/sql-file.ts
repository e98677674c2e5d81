import type { RenderedMigration } from '../../contract/release.ts';
import { readDirectives } from './directives.ts';
import { invalid } from './invalid.ts';

/**
 * Cuts a `.sql` file with Up and Down markers exactly as node-pg-migrate 9 does (its getActions): each part
 * begins at its marker and ends at the other; without markers the whole file is the up part.
 * @throws FleetError `migration_invalid` for a Down marker without an Up marker: node-pg-migrate runs such a
 *   file whole, its down part too.
 */
export function renderSqlFile(name: string, file: string, text: string): RenderedMigration {
  const up = text.search(marker('up'));
  const down = text.search(marker('down'));
  if (up < 0 && down >= 0) {
    throw invalid(
      `${file}:${markerLine(text, down)}`,
      'has a `-- Down Migration` marker but no `-- Up Migration`: put that before the up part',
    );
  }
  const upSql = up < 0 ? text : text.slice(up, down < up ? undefined : down);
  const downSql = down < 0 ? null : text.slice(down, up < down ? undefined : up);
  return {
    name,
    file,
    upSql,
    downSql,
    upLine: lineOf(text, Math.max(up, 0)),
    ...(downSql === null ? {} : { downLine: lineOf(text, down) }),
    ...readDirectives(file, text),
  };
}

/** A migration whose up and down parts are files of their own. */
export function renderSqlPair(
  name: string,
  file: string,
  upSql: string,
  down: string | null,
): RenderedMigration {
  // node-pg-migrate takes an empty down file for none.
  const downSql = down === '' ? null : down;
  return { name, file, upSql, downSql, upLine: 1, ...readDirectives(file, upSql) };
}

function marker(direction: 'up' | 'down'): RegExp {
  return new RegExp(`^\\s*--[\\s-]*${direction}\\s+migration`, 'im');
}

/** The marker's pattern may begin at the empty lines before it. */
function markerLine(text: string, offset: number): number {
  return lineOf(text, offset + text.slice(offset).search(/\S/));
}

function lineOf(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}
