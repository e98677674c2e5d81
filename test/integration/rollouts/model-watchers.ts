/** The registry itself watches every change: what is seen only between two commands would be missed otherwise. */
export const WATCHERS = `
  CREATE TABLE breaches (breach text);
  CREATE FUNCTION watch_targets() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO breaches
    SELECT 'claimed in a rollout that is ' || r.state || ', in a wave that is ' || w.state
      FROM after a JOIN before b USING (rollout_id, database_id)
      JOIN rollouts r ON r.id = a.rollout_id
      JOIN rollout_waves w ON w.rollout_id = a.rollout_id AND w.ordinal = a.wave
     WHERE a.state = 'running' AND b.state <> 'running' AND (r.state <> 'running' OR w.state <> 'running');
    INSERT INTO breaches
    SELECT 'more than parallel in flight in ' || w.name
      FROM rollout_waves w
      JOIN rollout_targets t ON t.rollout_id = w.rollout_id AND t.wave = w.ordinal AND t.state = 'running'
     WHERE w.rollout_id IN (SELECT rollout_id FROM after)
     GROUP BY w.rollout_id, w.ordinal HAVING count(*) > w.parallel;
    INSERT INTO breaches
    SELECT 'more than perServer in flight in ' || w.name
      FROM rollout_waves w
      JOIN rollout_targets t ON t.rollout_id = w.rollout_id AND t.wave = w.ordinal AND t.state = 'running'
     WHERE w.rollout_id IN (SELECT rollout_id FROM after)
     GROUP BY w.rollout_id, w.ordinal, t.server_id HAVING count(*) > w.per_server;
    INSERT INTO breaches
    SELECT 'claimed a fresh target over the budget of ' || w.name
      FROM after a JOIN before b USING (rollout_id, database_id)
      JOIN rollout_waves w ON w.rollout_id = a.rollout_id AND w.ordinal = a.wave
     WHERE a.state = 'running' AND b.state = 'pending' AND a.tries = 1
       AND (SELECT count(*) FROM rollout_targets f
             WHERE f.rollout_id = w.rollout_id AND f.wave = w.ordinal AND f.state = 'failed'
               AND (w.forgiven_at IS NULL OR f.finished_at > w.forgiven_at)) > (w.budget ->> 'failures')::int;
    INSERT INTO breaches
    SELECT 'claimed a fresh target over the budget of all waves'
      FROM after a JOIN before b USING (rollout_id, database_id)
      JOIN rollouts r ON r.id = a.rollout_id
     WHERE a.state = 'running' AND b.state = 'pending' AND a.tries = 1
       AND (SELECT count(*) FROM rollout_targets f
             WHERE f.rollout_id = r.id AND f.state = 'failed'
               AND (r.forgiven_at IS NULL OR f.finished_at > r.forgiven_at)) > (r.spec #>> '{budget,failures}')::int;
    INSERT INTO breaches
    SELECT 'more failed in ' || w.name || ' than its budget and what was in flight'
      FROM rollout_waves w
      JOIN rollout_targets f ON f.rollout_id = w.rollout_id AND f.wave = w.ordinal AND f.state = 'failed'
     WHERE w.rollout_id IN (SELECT rollout_id FROM after) AND w.forgiven_at IS NULL
     GROUP BY w.rollout_id, w.ordinal HAVING count(*) > (w.budget ->> 'failures')::int + w.parallel;
    RETURN NULL;
  END $$;
  CREATE TRIGGER watch_targets AFTER UPDATE ON rollout_targets
    REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION watch_targets();
  CREATE FUNCTION watch_waves() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO breaches
    SELECT NEW.name || ' began before ' || d.name || ' had passed'
      FROM rollout_waves d
     WHERE d.rollout_id = NEW.rollout_id AND d.ordinal = ANY (NEW.depends_on)
       AND (d.state <> 'passed' OR d.approve AND d.approved_at IS NULL);
    RETURN NULL;
  END $$;
  CREATE TRIGGER watch_waves AFTER UPDATE ON rollout_waves FOR EACH ROW
    WHEN (OLD.state = 'pending' AND NEW.state = 'running') EXECUTE FUNCTION watch_waves();`;
