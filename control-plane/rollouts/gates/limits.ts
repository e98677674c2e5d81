import type { GateSpec } from '../../../contract/gate.ts';
import type { Thresholds } from './reading.ts';
import { REPLICATION_LAG_MAX_S } from './server-source.ts';

/** What a gate asks for, in a few words: `requests.error_rate: at most 0.01, over 5m`. */
export function limitsText(gate: GateSpec): string {
  if ('http' in gate) return `answers ${gate.status}`;
  if ('prometheus' in gate) return thresholdsText(gate);
  if ('sql' in gate) return thresholdsText(gate);
  if ('check' in gate) return checkText(gate);
  const increase = gate.maxIncrease === undefined ? '' : `at most ${gate.maxIncrease}x of before`;
  const said = [thresholdsText(gate), increase].filter((part) => part !== '').join(', ');
  return `${gate.metric}: ${said}, over ${gate.over}`;
}

function thresholdsText({ max, min, equals }: Thresholds): string {
  const said = [
    ...(equals === undefined ? [] : [`equal to ${equals}`]),
    ...(min === undefined ? [] : [`at least ${min}`]),
    ...(max === undefined ? [] : [`at most ${max}`]),
  ];
  return said.join(', ');
}

function checkText({ check, max }: Extract<GateSpec, { check: string }>): string {
  if (check === 'schema') return "schema equal to the canary's";
  if (check === 'replication_lag') return `replicas at most ${max ?? REPLICATION_LAG_MAX_S} s behind`;
  return `at most ${max ?? 0} ${check.replace('_', ' ')}`;
}
