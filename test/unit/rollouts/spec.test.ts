import assert from 'node:assert/strict';
import { RolloutSpec } from '../../../contract/rollout.ts';
import { checkSpec } from '../../../control-plane/rollouts/plan/spec.ts';

function findings(waves: object[], more: object = {}): string[] {
  try {
    checkSpec(RolloutSpec.parse({ release: 'r', waves, ...more }));
    return [];
  } catch (error) {
    const { errors } = error as { errors: { path: string; message: string }[] };
    return errors.map(({ path, message }) => `${path}: ${message}`);
  }
}

describe('rollout spec', () => {
  it('takes waves that depend on earlier and later ones, as long as there is a first', () => {
    assert.deepEqual(findings([{ name: 'a' }, { name: 'b' }, { name: 'c', dependsOn: ['a'] }]), []);
    assert.deepEqual(
      findings([
        { name: 'a', dependsOn: ['b'] },
        { name: 'b', dependsOn: [] },
      ]),
      [],
    );
  });

  it('refuses names that lead nowhere', () => {
    assert.deepEqual(findings([{ name: 'a', dependsOn: ['x'] }]), [
      'waves.0.dependsOn: wave a depends on x, and there is no such wave',
    ]);
    assert.deepEqual(findings([{ name: 'a', gates: ['y'] }]), [
      'waves.0.gates: wave a has the gate y, and there is no such gate',
    ]);
  });

  it('refuses waves that wait for each other, also where one waits for the one before by default', () => {
    const ring = (names: string) => `waves wait for each other in a ring: ${names}`;
    assert.deepEqual(findings([{ name: 'a', dependsOn: ['a'] }]), [`waves.0.dependsOn: ${ring('a')}`]);
    assert.deepEqual(findings([{ name: 'a', dependsOn: ['b'] }, { name: 'b' }]), [
      `waves.0.dependsOn: ${ring('a, b')}`,
    ]);
  });
});
