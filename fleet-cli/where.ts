import { InvalidArgumentError } from 'commander';
import { Match } from '../contract/rollout.ts';
import { checkInput } from './session.ts';

const KEYS = ['region', 'tier', 'server'] as const;
const LABEL = 'label.';

/** Conditions on tenants as `--where` collects them, one `key=value` after the other. */
export type Where = Record<string, string[]>;

/** Collects `region=eu`, `tier=premium`, `server=eu-1` and `label.canary=true`; all must hold, one value of each key. */
export function collectWhere(text: string, earlier: Where | undefined): Where {
  const [, key, value] = /^([^=]+)=(.+)$/.exec(text) ?? [];
  const known = KEYS.some((name) => name === key) || (key?.startsWith(LABEL) === true && key !== LABEL);
  if (key === undefined || value === undefined || !known) {
    throw new InvalidArgumentError('Give it as region=, tier=, server= or label.KEY= and a value.');
  }
  return { ...earlier, [key]: [...(earlier?.[key] ?? []), value] };
}

/** The tenants meant by `--where` and `--tenant`, in the API's form. @throws CliError exit 2 */
export function matchOf(where: Where | undefined, tenants: string[] | undefined): Match {
  const labels: Record<string, string> = {};
  const match: Record<string, unknown> = {};
  for (const [key, values] of Object.entries(where ?? {})) {
    if (key.startsWith(LABEL)) labels[key.slice(LABEL.length)] = values.at(-1) ?? '';
    else match[key] = values;
  }
  const chosen = {
    ...match,
    ...(Object.keys(labels).length === 0 ? {} : { labels }),
    ...(tenants === undefined ? {} : { tenants }),
  };
  return checkInput(Match, chosen, 'the choice of tenants');
}
