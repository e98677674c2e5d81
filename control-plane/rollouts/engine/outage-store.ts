import type { WaveState } from '../../../contract/rollout.ts';
import type { Queryable } from '../../../platform/pg.ts';
import { targetAfter, targetSources } from '../rollout.ts';

/** SQL of `rollout_outages`, and of the targets that wait for a server. */
export interface Outage {
  serverId: string;
  server: string;
  since: Date;
  tries: number;
  nextTryAt: Date;
  /** When a try failed that was the last: its targets are unreachable. */
  givenUpAt: Date | null;
  /** Ordinals of the waves of which a target waits for it. */
  waves: number[];
}

export async function listOutages(db: Queryable, rolloutId: string): Promise<Outage[]> {
  const { rows } = await db.query<Outage>(
    `SELECT o.server_id AS "serverId", s.name AS server, o.since, o.tries, o.next_try_at AS "nextTryAt",
            o.given_up_at AS "givenUpAt",
            array(SELECT DISTINCT t.wave FROM rollout_targets t
                   WHERE t.rollout_id = o.rollout_id AND t.server_id = o.server_id
                     AND t.state IN ('pending', 'unreachable')) AS waves
       FROM rollout_outages o JOIN servers s ON s.id = o.server_id WHERE o.rollout_id = $1`,
    [rolloutId],
  );
  return rows;
}

/**
 * Notes that the server was not reached; answers whether that is new. What was in flight when it went tells the same
 * story many times: only a try after `next_try_at` counts as another one. The pause doubles, with a quarter of jitter
 * to either side, so that rollouts of several fleets do not knock together. A try that fails after `giveUpMs` is the
 * last one.
 */
export async function noteOutage(
  db: Queryable,
  rolloutId: string,
  serverId: string,
  pause: { firstMs: number; maxMs: number; giveUpMs: number },
): Promise<boolean> {
  const { rows } = await db.query<{ tries: number }>(
    `INSERT INTO rollout_outages AS o (rollout_id, server_id, next_try_at)
     VALUES ($1, $2, now() + $3 * (0.75 + random() / 2) * interval '1 millisecond')
     ON CONFLICT (rollout_id, server_id) DO UPDATE
       SET tries = o.tries + 1,
           next_try_at = now() + least($4, $3 * power(2, least(o.tries, 30))) * (0.75 + random() / 2)
                                 * interval '1 millisecond',
           given_up_at = CASE WHEN now() >= o.since + $5 * interval '1 millisecond' THEN now() END
       WHERE o.next_try_at <= now() AND o.given_up_at IS NULL
     RETURNING tries`,
    [rolloutId, serverId, pause.firstMs, pause.maxMs, pause.giveUpMs],
  );
  return rows[0]?.tries === 1;
}

/** The server is back, or a person wants it to be tried at once (`serverId` null: every one). Answers their ids. */
export async function endOutages(
  db: Queryable,
  rolloutId: string,
  serverId: string | null,
): Promise<string[]> {
  const { rows } = await db.query<{ serverId: string }>(
    `DELETE FROM rollout_outages WHERE rollout_id = $1 AND ($2::uuid IS NULL OR server_id = $2)
     RETURNING server_id AS "serverId"`,
    [rolloutId, serverId],
  );
  return rows.map((row) => row.serverId);
}

/** A person wants these servers to be tried at once; the time that they may be away begins anew. */
export async function hurryOutages(
  db: Queryable,
  rolloutId: string,
  serverIds: readonly string[],
): Promise<void> {
  await db.query(
    `UPDATE rollout_outages SET next_try_at = now(), since = now(), given_up_at = NULL
      WHERE rollout_id = $1 AND server_id = ANY($2)`,
    [rolloutId, serverIds],
  );
}

/**
 * Lets the unreachable targets of a server run again, in waves that run their targets: a wave that has borne them is
 * over, and nobody would take them up there before a person says so.
 */
export async function recallTargets(db: Queryable, rolloutId: string, serverId: string): Promise<void> {
  await db.query(
    `UPDATE rollout_targets SET state = $3, error = NULL, finished_at = NULL
      WHERE rollout_id = $1 AND server_id = $2 AND state = 'unreachable'
        AND wave IN (SELECT ordinal FROM rollout_waves WHERE rollout_id = $1 AND state = ANY ($4))`,
    [rolloutId, serverId, targetAfter('retry'), WITH_TARGETS],
  );
}

/** One that has failed runs on as soon as its rollout does. */
const WITH_TARGETS: readonly WaveState[] = ['running', 'failed'];

/** Gives up a server: what waits for it in the wave is unreachable. Answers how many that are. */
export async function loseTargets(
  db: Queryable,
  rolloutId: string,
  wave: number,
  serverId: string,
): Promise<number> {
  const { rowCount } = await db.query(
    `UPDATE rollout_targets SET state = $4, reason = 'its server does not answer', finished_at = now()
      WHERE rollout_id = $1 AND wave = $2 AND server_id = $3 AND state = ANY($5) AND state = 'pending'`,
    [rolloutId, wave, serverId, targetAfter('lose'), targetSources('lose')],
  );
  return rowCount ?? 0;
}
