import type { GateSpec } from '../../contract/gate.ts';

/** What a gate asks, and where it draws the line: `requests.error_rate over 5m, at most 0.01, 50 samples`. */
export function gateText(gate: GateSpec): string {
  return [...question(gate), ...limits(gate), ...(gate.dryRun ? ['decides nothing'] : [])].join(', ');
}

function question(gate: GateSpec): string[] {
  if ('sql' in gate) return [gate.sql.trim().replaceAll(/\s+/g, ' ')];
  if ('metric' in gate) return [`${gate.metric} over ${gate.over}`];
  if ('prometheus' in gate) return [`${gate.query} at ${gate.prometheus}`];
  if ('http' in gate) return [`${gate.http} answers ${gate.status}`];
  return [gate.check];
}

function limits(gate: GateSpec): string[] {
  if ('http' in gate) return [];
  const { max, min, equals, maxIncrease, minSamples }: Limits = gate;
  return [
    ...(max === undefined ? [] : [`at most ${max}`]),
    ...(min === undefined ? [] : [`at least ${min}`]),
    ...(equals === undefined ? [] : [`equals ${equals}`]),
    ...(maxIncrease === undefined ? [] : [`at most ${maxIncrease} times its value before`]),
    ...(minSamples === undefined || minSamples === 1 ? [] : [`${minSamples} samples`]),
  ];
}

interface Limits {
  max?: number | undefined;
  min?: number | undefined;
  equals?: number | undefined;
  maxIncrease?: number | undefined;
  minSamples?: number | undefined;
}
