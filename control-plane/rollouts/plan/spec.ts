import type { RolloutSpec } from '../../../contract/rollout.ts';
import { FleetError, type FieldError } from '../../../platform/errors.ts';
import { createCalendar } from './calendar.ts';

/**
 * What a schema cannot say: names that lead nowhere, waves that wait for each other in a ring, windows that never
 * open.
 * @throws FleetError 400 `spec_invalid` with all findings, 400 `calendar_invalid`
 */
export function checkSpec(spec: RolloutSpec): void {
  const findings = [...unknownNames(spec), ...cycles(spec)];
  if (findings.length > 0) {
    throw new FleetError({
      code: 'spec_invalid',
      status: 400,
      message: `the rollout cannot be planned: ${findings.map(({ message }) => message).join('; ')}`,
      fix: 'correct the names; a wave waits for the one before unless dependsOn says otherwise',
      errors: findings,
    });
  }
  createCalendar(spec.calendar ?? []);
}

function unknownNames(spec: RolloutSpec): FieldError[] {
  const waves = spec.waves ?? [];
  const known = new Set(waves.map((wave) => wave.name));
  const gates = new Set(Object.keys(spec.gates ?? {}));
  return waves.flatMap((wave, index) => [
    ...(wave.dependsOn ?? [])
      .filter((name) => !known.has(name))
      .map((name) => ({
        path: `waves.${index}.dependsOn`,
        message: `wave ${wave.name} depends on ${name}, and there is no such wave`,
      })),
    ...(wave.gates ?? [])
      .filter((name) => !gates.has(name))
      .map((name) => ({
        path: `waves.${index}.gates`,
        message: `wave ${wave.name} has the gate ${name}, and there is no such gate`,
      })),
  ]);
}

/** Peels off waves that wait for nothing any more; what is left waits for itself. */
function cycles(spec: RolloutSpec): FieldError[] {
  const waves = spec.waves ?? [];
  let left = waves.map((wave, index) => ({
    name: wave.name,
    index,
    waitsFor: wave.dependsOn ?? waves.slice(Math.max(0, index - 1), index).map((before) => before.name),
  }));
  for (let size = -1; size !== left.length;) {
    size = left.length;
    const names = new Set(left.map((wave) => wave.name));
    left = left.filter((wave) => wave.waitsFor.some((name) => names.has(name)));
  }
  const [first] = left;
  if (first === undefined) return [];
  const names = left.map((wave) => wave.name).join(', ');
  return [
    { path: `waves.${first.index}.dependsOn`, message: `waves wait for each other in a ring: ${names}` },
  ];
}
