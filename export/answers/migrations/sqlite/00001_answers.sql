-- +goose Up
-- Answers of the noised modes, encrypted. They are only ever added: another answer to the same question would be a
-- second draw.
CREATE TABLE answers (
    digest BLOB PRIMARY KEY,
    key_id BLOB NOT NULL, -- tells which key it is sealed with, and nothing about the key
    sealed BLOB NOT NULL
);
-- +goose StatementBegin
CREATE TRIGGER answers_fixed BEFORE UPDATE ON answers BEGIN SELECT RAISE(ABORT, 'answers do not change'); END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER answers_kept BEFORE DELETE ON answers BEGIN SELECT RAISE(ABORT, 'answers are kept'); END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE answers;
