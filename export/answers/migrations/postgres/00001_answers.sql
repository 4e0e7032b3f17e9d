-- +goose Up
-- Answers of the noised modes, encrypted. They are only ever added: another answer to the same question would be a
-- second draw.
CREATE TABLE answers (
    digest BYTEA PRIMARY KEY,
    key_id BYTEA NOT NULL, -- tells which key it is sealed with, and nothing about the key
    sealed BYTEA NOT NULL
);
-- +goose StatementBegin
CREATE FUNCTION answers_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'answers are kept and do not change'; END $$;
-- +goose StatementEnd
CREATE TRIGGER answers_kept BEFORE UPDATE OR DELETE ON answers FOR EACH ROW EXECUTE FUNCTION answers_refuse();

-- +goose Down
DROP TABLE answers;
DROP FUNCTION answers_refuse();
