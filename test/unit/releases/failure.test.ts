import assert from 'node:assert/strict';
import { migrationFailure } from '../../../control-plane/releases/failure.ts';
import type { Migration } from '../../../control-plane/releases/release.ts';
import { ConnectionLostError } from '../../../platform/errors.ts';

const MIGRATION = { name: '0001_m', upSql: 'SELECT 1' } as Migration;

/** SQLSTATE → what becomes of a target: its code, and whether the same may be tried again. */
const STATES: [state: string, code: 'migration_failed' | 'migration_unknown', retryable: boolean][] = [
  // The connection: nobody knows whether the last statement was committed.
  ['08000', 'migration_unknown', true],
  ['08003', 'migration_unknown', true],
  ['08006', 'migration_unknown', true],
  ['08P01', 'migration_unknown', true],
  ['57P01', 'migration_unknown', true],
  ['57P02', 'migration_unknown', true],
  ['57P03', 'migration_unknown', true],
  ['57P04', 'migration_unknown', false],
  // Others are in the way for a while.
  ['40001', 'migration_failed', true],
  ['40P01', 'migration_failed', true],
  ['53300', 'migration_failed', true],
  ['55P03', 'migration_failed', true],
  // The migration itself, its data, or the machine: every try ends alike.
  ['22001', 'migration_failed', false],
  ['22003', 'migration_failed', false],
  ['22P02', 'migration_failed', false],
  ['23502', 'migration_failed', false],
  ['23503', 'migration_failed', false],
  ['23505', 'migration_failed', false],
  ['23514', 'migration_failed', false],
  ['25001', 'migration_failed', false],
  ['25P02', 'migration_failed', false],
  ['2BP01', 'migration_failed', false],
  ['40002', 'migration_failed', false],
  ['42501', 'migration_failed', false],
  ['42601', 'migration_failed', false],
  ['42703', 'migration_failed', false],
  ['42883', 'migration_failed', false],
  ['42P01', 'migration_failed', false],
  ['42P07', 'migration_failed', false],
  ['53100', 'migration_failed', false],
  ['53200', 'migration_failed', false],
  ['55000', 'migration_failed', false],
  ['55006', 'migration_failed', false],
  ['57014', 'migration_failed', false],
  ['P0001', 'migration_failed', false],
  ['XX000', 'migration_failed', false],
];

describe('failure of a migration', () => {
  for (const [state, code, retryable] of STATES) {
    it(`with SQLSTATE ${state} is ${code} and ${retryable ? 'worth a repeat' : 'final'}`, () => {
      const failure = migrationFailure(Object.assign(new Error('no'), { code: state }), MIGRATION);
      assert.deepEqual([failure.code, failure.retryable], [code, retryable]);
    });
  }

  it('with a connection that just ended has an unknown outcome, and is worth a repeat', () => {
    const failure = migrationFailure(new ConnectionLostError(new Error('ended')), MIGRATION);
    assert.deepEqual([failure.code, failure.retryable], ['migration_unknown', true]);
  });
});
