-- Accounts and sessions of the sign-in, in the database llng, owned by the role of that name. May be run again at any time.
BEGIN;

CREATE TABLE IF NOT EXISTS account (
    login text PRIMARY KEY CHECK (login ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    -- crypt(3), SHA-512: what "openssl passwd -6" makes.
    password text NOT NULL CHECK (password LIKE '$6$%'),
    name text NOT NULL,
    mail text,
    enabled boolean NOT NULL DEFAULT true,
    -- The password was given by somebody else: its owner sets a new one before the first session.
    must_change boolean NOT NULL DEFAULT false,
    made timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS account_role (
    login text NOT NULL REFERENCES account ON DELETE CASCADE,
    role text NOT NULL CHECK (role IN ('admin', 'radiologist', 'technician', 'referring', 'machine')),
    PRIMARY KEY (login, role)
);

-- What the sign-in sees: enabled accounts only.
CREATE OR REPLACE VIEW account_v AS
    SELECT login, password, name, mail, must_change,
           coalesce((SELECT string_agg(role, '; ' ORDER BY role) FROM account_role r WHERE r.login = a.login), '') AS roles
    FROM account a WHERE enabled;

-- Sessions need not outlive a crash; second factors and histories (psessions) must.
CREATE UNLOGGED TABLE IF NOT EXISTS sessions (id varchar(64) PRIMARY KEY, a_session jsonb);
CREATE TABLE IF NOT EXISTS psessions (id varchar(64) PRIMARY KEY, a_session jsonb);
CREATE INDEX IF NOT EXISTS sessions_who ON sessions ((a_session ->> '_whatToTrace'));
CREATE INDEX IF NOT EXISTS sessions_kind ON sessions ((a_session ->> '_session_kind'));
CREATE INDEX IF NOT EXISTS sessions_time ON sessions (cast(a_session ->> '_utime' AS bigint));
CREATE INDEX IF NOT EXISTS psessions_who ON psessions ((a_session ->> '_session_uid'));

-- The time step of the last code that each person signed in with: none is taken twice (RFC 6238, section 5.2).
CREATE TABLE IF NOT EXISTS used_code (login text PRIMARY KEY, step bigint NOT NULL);

CREATE OR REPLACE FUNCTION end_sessions(who text) RETURNS void LANGUAGE sql AS
    $$ DELETE FROM sessions WHERE a_session ->> '_whatToTrace' = who $$;

-- Whoever changes an account by whatever way: a session that was opened under the old state ends.
CREATE OR REPLACE FUNCTION account_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'account' AND TG_OP = 'UPDATE' THEN
        IF NEW.password IS DISTINCT FROM OLD.password THEN NEW.must_change := false; END IF;
        IF NEW.password IS NOT DISTINCT FROM OLD.password AND NEW.enabled = OLD.enabled THEN RETURN NEW; END IF;
    END IF;
    PERFORM end_sessions(coalesce(OLD.login, NEW.login));
    IF TG_OP = 'DELETE' THEN
        IF TG_TABLE_NAME = 'account' THEN
            DELETE FROM psessions WHERE a_session ->> '_session_uid' = OLD.login;
            DELETE FROM used_code WHERE login = OLD.login;
        END IF;
        RETURN OLD;
    END IF;
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER account_changed BEFORE UPDATE OR DELETE ON account FOR EACH ROW EXECUTE FUNCTION account_changed();
CREATE OR REPLACE TRIGGER account_role_changed BEFORE INSERT OR UPDATE OR DELETE ON account_role
    FOR EACH ROW EXECUTE FUNCTION account_changed();

-- Which text of this file was run last.
CREATE TABLE IF NOT EXISTS schema_edition (edition text NOT NULL);
DELETE FROM schema_edition;
INSERT INTO schema_edition VALUES (:'edition');

COMMIT;
