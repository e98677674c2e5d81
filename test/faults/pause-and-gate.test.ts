import assert from 'node:assert/strict';
import { setTimeout as wait } from 'node:timers/promises';
import { pauseRollout, resumeRollout } from '../../control-plane/rollouts/verbs/pause.ts';
import { serve } from '../integration/rollouts/gates-fleet.ts';
import { ASKER, makeRolloutFleet, type RolloutFleet } from '../integration/rollouts/rollout-fleet.ts';
import { seededRandom } from '../support/random.ts';
import { say } from '../support/say.ts';

const REPETITIONS = 100;
/** Waves with a gate in one rollout; the tenants serve again in the next one. */
const GATES = 10;
const SEED = Number(process.env.FLEET_TEST_SEED ?? 20_261_121);
/**
 * Of the search for the instant at which pause and pass meet, in milliseconds: the jitter, and how far a step goes,
 * doubled as long as the same one wins: a busy machine moves that instant by tens of milliseconds.
 */
const JITTER_MS = 2;
const STEP_MS = { first: 1, most: 32 };

/** Who came first is written down under the lock of the rollout's row, that all of these take. */
const STORY = `
  CREATE TABLE story (seq bigserial, rollout uuid, what text);
  CREATE FUNCTION tell_rollout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO story (rollout, what) VALUES (NEW.id, NEW.state); RETURN NULL; END $$;
  CREATE TRIGGER tell AFTER UPDATE ON rollouts FOR EACH ROW
    WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION tell_rollout();
  CREATE FUNCTION tell_wave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO story (rollout, what) VALUES (NEW.rollout_id, 'wave ' || NEW.state); RETURN NULL; END $$;
  CREATE TRIGGER tell AFTER UPDATE ON rollout_waves FOR EACH ROW
    WHEN (OLD.state <> NEW.state) EXECUTE FUNCTION tell_wave();
  CREATE FUNCTION tell_target() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO story (rollout, what) VALUES (NEW.rollout_id, 'lease'); RETURN NULL; END $$;
  CREATE TRIGGER tell AFTER UPDATE ON rollout_targets FOR EACH ROW
    WHEN (NEW.state = 'running') EXECUTE FUNCTION tell_target()`;

describe('6: a pause at the same instant as a gate passes', function () {
  this.timeout(60_000);
  const random = seededRandom(SEED);
  let fleet: RolloutFleet;
  let page: { url: string; close(): Promise<void> };
  let id = '';
  /** Pauses that were said, with what the gate's wave had come to under the pause's own lock. */
  const said: Promise<string>[] = [];
  /** The pause comes this much after the gate's answer, in milliseconds; negative: before it. */
  let lead = 0;
  let step = STEP_MS.first;

  before(async () => {
    fleet = await makeRolloutFleet(Array.from({ length: GATES + 1 }, (_, index) => `t${100 + index}`));
    await fleet.registry.query(STORY);
    page = await serve((_request, response) => {
      const delay = lead + (random() - 0.5) * JITTER_MS;
      const wave = `gated-${said.length}`;
      said.push(wait(Math.max(0, delay)).then(() => pause(wave)));
      void wait(Math.max(0, -delay)).then(() => response.writeHead(200).end());
    });
  });
  after(async () => {
    await page.close();
    await fleet.drop();
  });

  it(`is before it or after it, ${REPETITIONS} times: nothing is leased while it stands (seed ${SEED})`, async () => {
    const won = { pause: 0, gate: 0 };
    while (won.pause + won.gate < REPETITIONS) {
      await fleet.registry.query('UPDATE databases SET schema_version = NULL');
      id = await fleet.start(waves(), { gates: { probe: { http: page.url } } });
      while ((await carry()) === 'paused') {
        await fleet.registry.transaction((tx) => resumeRollout(tx, id, ASKER));
      }
      assert.equal(said.length, GATES);
      for (const state of await Promise.all(said.splice(0))) {
        won[state === 'gating' ? 'pause' : 'gate'] += 1;
      }
      await assertOneOrder();
    }
    say(`seed ${SEED}: the pause came first ${won.pause} times, the gate ${won.gate} times`);
    assert.ok(Math.min(won.pause, won.gate) >= REPETITIONS / 10, JSON.stringify(won));
  });

  const waves = (): object[] => [
    ...Array.from({ length: GATES }, (_, index) => ({ name: `gated-${index}`, count: 1, gates: ['probe'] })),
    { name: 'last' },
  ];

  /** Drives until it rests, and everybody has said what they had to say. */
  async function carry(): Promise<string> {
    await fleet.drive(id);
    const spoken = said.length;
    await Promise.all(said);
    const { state } = await fleet.read(id);
    // A pause that came when the driver was through with the rollout, or had left it.
    return state === 'running' && said.length === spoken ? carry() : state;
  }

  async function pause(wave: string): Promise<string> {
    const state = await fleet.registry.transaction(async (tx) => {
      await pauseRollout(tx, id, ASKER);
      const { rows } = await tx.query<{ state: string }>(
        `SELECT state FROM rollout_waves WHERE rollout_id = $1 AND name = $2`,
        [id, wave],
      );
      return rows[0]?.state ?? '';
    });
    const towards = state === 'gating' ? 1 : -1;
    step = Math.sign(step) === towards ? Math.min(Math.abs(step) * 2, STEP_MS.most) : STEP_MS.first;
    step *= towards;
    lead += step;
    return state;
  }

  /** Nothing begins, is leased or passes while the rollout is paused, and the audit log tells the same story. */
  async function assertOneOrder(): Promise<void> {
    const { rows } = await fleet.registry.query<{ what: string }>(
      'SELECT what FROM story WHERE rollout = $1 ORDER BY seq',
      [id],
    );
    const story = rows.map(({ what }) => what);
    let paused = false;
    for (const [index, what] of story.entries()) {
      if (what === 'paused' || what === 'running') paused = what === 'paused';
      else assert.ok(!paused, `${what} while paused: ${story.slice(0, index + 1).join(', ')}`);
    }
    const { rows: log } = await fleet.registry.query<{ action: string }>(
      `SELECT action FROM audit_log WHERE resource = $1 ORDER BY seq`,
      [`rollout:${id}`],
    );
    const states: Record<string, string> = {
      'rollout.start': 'running',
      'rollout.pause': 'paused',
      'rollout.resume': 'running',
      'rollout.succeed': 'succeeded',
    };
    assert.deepEqual(
      log.flatMap(({ action }) => states[action] ?? []),
      story.filter((what) => Object.values(states).includes(what)),
    );
    assert.equal(story.filter((what) => what === 'lease').length, GATES + 1);
  }
});
